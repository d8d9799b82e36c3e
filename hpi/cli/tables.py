"""Tables for terminals of any width: long cells are wrapped, never cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def new_table(*headings: str, title: str | None = None) -> Table:
    """An empty table whose cells wrap.

    Example:
        >>> table = new_table("model", "ms", title="Speed")
        >>> table.add_row("PP-TinyPose_128x96", "1.5")
        >>> [column.header for column in table.columns], table.row_count
        (['model', 'ms'], 1)
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def threads_of(model: Mapping[str, Any]) -> str:
    """The threads of a model that a predictor describes, in words.

    Example:
        >>> threads_of({"threads": 2, "workers": 1}), threads_of({"threads": 1, "workers": 2})
        ('2 threads', '2 workers of 1 thread')
    """
    threads = "1 thread" if model["threads"] == 1 else f"{model['threads']} threads"
    return threads if model["workers"] == 1 else f"{model['workers']} workers of {threads}"
