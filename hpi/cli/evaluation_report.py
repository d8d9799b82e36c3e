"""The report of ``hpi evaluate``: a table in the terminal, a Markdown file and a JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from hpi.errors import ConfigError
from hpi.evaluation.predictions import Dataset, Figures
from hpi.evaluation.report import write_report


@dataclass(frozen=True)
class Column:
    """The figures of one runtime in one precision.

    Attributes:
        title: of the column.
        models: what the models ran on; see :func:`hpi.evaluation.report.describe_models`.
        figures: percent, and whole numbers.
        flip: whether predictions were averaged with those of the mirrored crop.
        photos: how many images were predicted; the name is that of the key in the JSON.
        people: how many annotated people were looked at one by one; None if nobody was.
        failed: a sentence for each image that could not be used.
        warnings: about the figures, a sentence each.
        predictions: name of the journal.
        worst: a row for each picture of the people with the largest errors.
    """

    title: str
    models: list[dict[str, Any]]
    figures: Figures
    flip: bool
    photos: int
    people: int | None
    failed: list[str]
    warnings: list[str]
    predictions: str | None
    worst: list[dict[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """The figures of all columns.

    Attributes:
        title: what was evaluated.
        columns: at least one.
        published: the published value of a figure and its source, by the name of the figure.
    """

    title: str
    columns: Sequence[Column]
    published: Mapping[str, tuple[str, str]]

    @property
    def headings(self) -> list[str]:
        """The column headings of the table."""
        return ["%", "published", *(column.title for column in self.columns)]

    @property
    def cells(self) -> list[list[str]]:
        """The table's rows: one per figure."""
        return [
            [name, self.published.get(name, ("", ""))[0], *(_written(column.figures[name]) for column in self.columns)]
            for name in self.columns[0].figures
        ]

    def table(self) -> Table:
        """The table for the terminal."""
        first, *others = self.headings
        table = Table(first, box=SIMPLE, pad_edge=False)
        for heading in others:
            table.add_column(heading, justify="right")
        for row in self.cells:
            table.add_row(*row)
        return table

    def write(self, stem: Path, dataset: Dataset) -> None:
        """Write ``stem.md`` and ``stem.json``.

        Raises:
            ConfigError: they cannot be written.
        """
        rows = [{**vars(column), "failed": list(column.failed), "left_out": dataset.counts} for column in self.columns]
        protocol = f"{dataset.protocol}\n"
        try:
            write_report(stem, self.title, protocol, self.headings, self.cells, rows, self._remarks())
        except OSError as error:
            raise ConfigError(f"{stem.parent}: cannot be written: {error.strerror or error}") from error

    def _remarks(self) -> str:
        """The text below the table: sources, the number of images and people, and the largest errors."""
        first = self.columns[0]
        people = "" if first.people is None else f", {first.people} annotated people"
        lines = [f"{metric}: published by {source}" for metric, (_, source) in self.published.items()]
        lines += [f"{first.photos} images{people}", *first.warnings]
        lines += [
            f"{one.title}: images that could not be used: {len(one.failed)}" for one in self.columns if one.failed
        ]
        text = "\n".join(f"- {line}" for line in lines)
        if not first.worst:
            return f"{text}\n"
        pictures = "\n\n".join(f"![number {rank}]({one['picture']})" for rank, one in enumerate(first.worst, 1))
        return f"{text}\n\n## Largest errors of {first.title}\n\n{pictures}\n\n## Environment\n"


def _written(value: float | None) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if value is None else f"{value:.2f}"
