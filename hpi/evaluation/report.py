"""Writing a result as JSON and as Markdown, with the environment that it was measured in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpi import Predictor
from hpi.evaluation.environment import describe_environment
from hpi.io.files import write_whole


def describe_models(predictor: Predictor) -> list[dict[str, Any]]:
    """What a predictor's models ran on, without the places of files.

    Returns:
        For each model ``model``, ``backend``, ``variant``, ``version``, ``device``, ``threads`` and ``notes``.
    """
    names = ("model", "backend", "variant", "version", "device", "threads", "notes")
    return [{name: model[name] for name in names} for model in predictor.describe()["models"]]


def write_report(
    stem: Path,
    title: str,
    protocol: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    data: Any,
    more: str = "",
) -> None:
    """Write ``stem.json`` with the data and ``stem.md`` with a table, both with the environment.

    Args:
        stem: path without a suffix.
        title: of the Markdown.
        protocol: how it was measured, in words.
        headings: of the table.
        cells: its rows.
        data: what JSON takes; becomes ``rows``.
        more: Markdown below the table.

    Raises:
        OSError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stem = Path(folder, "speed")
        ...     write_report(stem, "Speed", "Median of 100 runs.", ["model", "ms"], [["mine", "1.5"]], [{"ms": 1.5}])
        ...     json.loads(stem.with_suffix(".json").read_text())["rows"], stem.with_suffix(".md").read_text()[:7]
        ([{'ms': 1.5}], '# Speed')
    """
    environment = describe_environment()
    report = {"protocol": protocol, "environment": environment, "rows": data}
    write_whole(stem.with_suffix(".json"), f"{json.dumps(report, indent=1)}\n".encode())
    text = f"# {title}\n\n{protocol}\n{markdown_table(headings, cells)}\n\n{more}\n{markdown_list(environment)}\n"
    write_whole(stem.with_suffix(".md"), text.encode())


def markdown_table(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Cells as a table in Markdown.

    Example:
        >>> print(markdown_table(["model", "ms"], [["mine", "1.5"]]))
        | model | ms |
        | --- | --- |
        | mine | 1.5 |
    """
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, ["---"] * len(headings), *cells])


def markdown_list(facts: Mapping[str, str]) -> str:
    """Facts with their names as a list in Markdown.

    Example:
        >>> markdown_list({"cores": "4"})
        '- cores: 4'
    """
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
