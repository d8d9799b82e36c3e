"""Rewrite: HardSwish as one operator, where an export has written it as several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpi.backends.graph.protobuf import drop_unread, import_onnx
from hpi.backends.graph.reading import copy_at_opset

OPSET = 14
"""The first with the operator HardSwish."""
_DEFAULTS = {"alpha": 0.2, "beta": 0.5}
"""Of the operator HardSigmoid."""


def fuse_hard_swish(model: Any) -> tuple[Any, int]:
    """Write ``x * clip(x + 3, 0, 6) / 6`` as ``HardSwish(x)``, however an export has spelled it.

    paddle2onnx writes ``x * HardSigmoid(x)``; others write the Clip, and divide by 6 or multiply by 1/6 anywhere. Some
    runtimes have a fast kernel for HardSwish and a slow one for these, in another memory layout than the convolutions
    around them. Inner results that something else reads are kept.

    Args:
        model: a graph of :func:`hpi.backends.graph.read_graph`.

    Returns:
        The graph, of opset 14 at least, and how many it has been written in; the same graph and 0 where there is none,
        or where the graph cannot be brought to this opset.

    Example:
        >>> header = '<ir_version: 8, opset_import: ["": 13]>'
        >>> text = "g (float[4] x) => (float[4] y) { z = HardSigmoid <alpha = 0.16666667> (x) y = Mul(x, z) }"
        >>> fused, count = fuse_hard_swish(import_onnx().parser.parse_model(f"{header} {text}"))
        >>> [node.op_type for node in fused.graph.node], count
        (['HardSwish'], 1)
    """
    if not _swishes(model.graph):
        return model, 0
    fused = copy_at_opset(model, OPSET)
    if fused is None:
        return model, 0
    found = _swishes(fused.graph)
    for node in fused.graph.node:
        if node.output[0] in found:
            node.op_type = "HardSwish"
            node.input[:] = [found[node.output[0]]]
            del node.attribute[:]
    drop_unread(fused.graph)
    return fused, len(found)


@dataclass(frozen=True)
class _Form:
    """A value as ``scale * clip(x + 3, 0, 6)``, also times ``x`` where it is a product."""

    x: str
    scale: float
    is_product: bool = False


def _swishes(graph: Any) -> dict[str, str]:
    """The values that are HardSwish of others: name of the result, name of ``x``."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    forms: dict[str, _Form] = {}
    sums: dict[str, str] = {}
    for node in graph.node:
        if (summed := _plus_three(node, constants)) is not None:
            sums[node.output[0]] = summed
        elif (form := _form(node, forms, sums, constants)) is not None:
            forms[node.output[0]] = form
    return {name: form.x for name, form in forms.items() if form.is_product and _is(form.scale, 1 / 6)}


def _plus_three(node: Any, constants: Mapping[str, Any]) -> str | None:
    """The value to which a node adds 3."""
    value, added = _by_constant(node, constants) if node.op_type == "Add" else (None, 0.0)
    return value if _is(added, 3) else None


def _form(node: Any, forms: Mapping[str, _Form], sums: Mapping[str, str], constants: Mapping[str, Any]) -> _Form | None:
    """What a node makes of the values before it; None where that is nothing of HardSwish."""
    if node.op_type == "HardSigmoid":
        given = _DEFAULTS | {attribute.name: attribute.f for attribute in node.attribute}
        return _Form(node.input[0], 1 / 6) if _is(given["alpha"], 1 / 6) and _is(given["beta"], 1 / 2) else None
    if node.op_type == "Clip" and node.input[0] in sums:
        return _Form(sums[node.input[0]], 1) if _limits(node, constants) == (0, 6) else None
    if node.op_type not in {"Mul", "Div"}:
        return None
    value, factor = _by_constant(node, constants)
    if (scaled := forms.get(value or "")) is not None and factor:
        return replace(scaled, scale=scaled.scale * factor if node.op_type == "Mul" else scaled.scale / factor)
    for x, other in [node.input, reversed(node.input)] if node.op_type == "Mul" else []:
        if (form := forms.get(other)) is not None and form.x == x and not form.is_product:
            return replace(form, is_product=True)
    return None


def _by_constant(node: Any, constants: Mapping[str, Any]) -> tuple[str | None, float]:
    """The value and the number that a node of two inputs joins; no value where neither input is a number."""
    first, second = node.input
    if (number := _number(constants, second)) is not None:
        return first, number
    if node.op_type != "Div" and (number := _number(constants, first)) is not None:
        return second, number
    return None, 0.0


def _limits(node: Any, constants: Mapping[str, Any]) -> tuple[float | None, ...]:
    """The limits of a Clip, which are inputs from opset 11 on and attributes before."""
    if len(node.input) == 3:
        return tuple(_number(constants, name) for name in node.input[1:])
    given = {attribute.name: attribute.f for attribute in node.attribute}
    return given.get("min"), given.get("max")


def _number(constants: Mapping[str, Any], name: str) -> float | None:
    """The value of a constant that is a single floating-point number."""
    if name not in constants or list(constants[name].dims) not in ([], [1]):
        return None
    array = import_onnx().numpy_helper.to_array(constants[name])
    return float(array.reshape(())) if array.dtype.kind == "f" else None


def _is(value: float, wanted: float) -> bool:
    """Whether a number is the wanted one, but for the rounding to float32 of what an export has computed."""
    return math.isclose(value, wanted, rel_tol=1e-6)
