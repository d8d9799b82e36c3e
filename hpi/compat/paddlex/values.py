"""Parsing values of PaddleX's command lines."""

from __future__ import annotations

import ast
from typing import Any

_JSON = {"true": True, "false": False, "null": None}
_WORDS = {
    "": None, "None": None, "null": None,
    "TRUE": True, "True": True, "true": True, "T": True, "t": True,
    "FALSE": False, "False": False, "false": False, "F": False, "f": False,
}  # fmt: skip


def read_literal(text: str) -> Any:
    """Parse a Python literal, which may contain JSON's true, false and null.

    Raises:
        ValueError: it is neither Python nor JSON.

    Example:
        >>> read_literal("{'backend': 'openvino', 'auto_config': true}")
        {'backend': 'openvino', 'auto_config': True}
    """
    try:
        tree = _JsonWords().visit(ast.parse(text.strip(), mode="eval"))
        return ast.literal_eval(tree)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"neither a Python literal nor JSON: {error}") from error


def read_score(text: str) -> float:
    """Parse a number from 0 to 1.

    Raises:
        ValueError: it is something else.

    Example:
        >>> read_score("0.5")
        0.5
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r}: give a number from 0 to 1")
    return value


class _JsonWords(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(_JSON[node.id]), node) if node.id in _JSON else node


def read_value(text: Any) -> Any:
    """Parse the value of an option such as ``-o Predict.batch_size=2``; what is not a literal stays text.

    Example:
        >>> [read_value(text) for text in ("2", "None", "T", "[1, 2]", "output/best_model")]
        [2, None, True, [1, 2], 'output/best_model']
    """
    if not isinstance(text, str):
        return text
    if text in _WORDS:
        return _WORDS[text]
    try:
        return read_literal(text)
    except ValueError:
        return text
