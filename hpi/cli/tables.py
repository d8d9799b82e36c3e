"""Tables for terminals of any width: long cells are wrapped, never cut."""

from __future__ import annotations

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
