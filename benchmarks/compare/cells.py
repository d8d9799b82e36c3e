"""The figures of a comparison as cells of tables, for Markdown, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from hpi.benchmarks.compare.findings import Breakdown, Entrant, Findings, Pick, candidate_of
from hpi.evaluation.report import markdown_table
from hpi.selection.priors import Prior

CHOICE = ("model", "batch", "auto takes", "ms", "best of this run", "ms", "regret")
TIMES = ("candidate", "batch", "p50 ms", "p90 ms", "p99 ms", "a second", "MB")
HEADINGS = ("model", *TIMES)
STARTS = ("candidate", "start, empty cache, s", "start, warm cache, s", "px off", "AP, %", "parity gate", "version")


@dataclass(frozen=True)
class Tagged:
    """A name in a table, with words such as ``best`` or ``refused`` behind it."""

    name: str
    tags: Sequence[str] = ()


Cell = Tagged | str | float | None


def summary_of(findings: Findings) -> str:
    """How good the automatic choice is, in a sentence."""
    regrets = [pick.regret for pick in findings.picks]
    if not regrets:
        return "auto cannot be compared: not all was measured, or no FP32 candidate gives the right results."
    over = "1 batch size" if len(regrets) == 1 else f"{len(regrets)} models and batch sizes"
    return f"Regret of auto over {over}: median {median(regrets):.3f}, worst {max(regrets):.3f}."


def cells_of(findings: Findings) -> list[list[str]]:
    """The figures of each candidate at each batch size, as text."""
    return [[row.model, *map(as_text, times_cells(row, findings))] for row in findings.rows]


def times_cells(row: Prior, findings: Findings) -> list[Cell]:
    """A row under :data:`TIMES`."""
    figures = (row.batch, row.p50_ms, row.p90_ms, row.p99_ms, row.throughput, row.memory_mb)
    return [Tagged(candidate_of(row), _tags(row, findings)), *figures]


def _tags(row: Prior, findings: Findings) -> list[str]:
    """What distinguishes a candidate at a batch size, in single words."""
    name = candidate_of(row)
    picks = [pick for pick in findings.picks if (pick.model, pick.batch) == (row.model, row.batch)]
    said = {
        "auto": name in [pick.auto for pick in picks],
        "best": name in [pick.best for pick in picks],
        "refused": not findings.entrants[row.model, name].verdict.passed,
    }
    return [word for word, is_so in said.items() if is_so]


def start_cells(one: Entrant) -> list[Cell]:
    """A row under :data:`STARTS`."""
    refused = () if one.verdict.passed else ("refused",)
    start = (None, None) if one.start is None else (one.start.empty, one.start.warm)
    return [Tagged(one.candidate, refused), *start, one.verdict.pixels, one.ap, one.verdict.summary, one.version]


def choice_cells(pick: Pick) -> list[Cell]:
    """A row under :data:`CHOICE`."""
    return [pick.model, pick.batch, pick.auto, pick.auto_ms, pick.best, pick.best_ms, pick.regret]


def stages_headings(breakdowns: Sequence[Breakdown]) -> list[str]:
    """The headings above :func:`stages_cells`."""
    return ["asked for", *breakdowns[0].stages, "sum", "detector, keypoint model"]


def stages_cells(one: Breakdown) -> list[Cell]:
    """The stages of one runtime, ms, their sum, and what ran."""
    return [one.asked, *one.stages.values(), sum(one.stages.values()), ", ".join(one.runs_on)]


def markdown(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Rows of cells as a table in Markdown."""
    return markdown_table(headings, ([as_text(cell) for cell in row] for row in rows))


def as_text(cell: Cell) -> str:
    """A cell without any markup.

    Example:
        >>> as_text(Tagged("openvino fp32", ["auto"])), as_text(12.3456), as_text(None)
        ('openvino fp32 (auto)', '12.3', '-')
    """
    if isinstance(cell, Tagged):
        return f"{cell.name} ({', '.join(cell.tags)})" if cell.tags else cell.name
    return cell if isinstance(cell, str) else figure(cell)


def figure(value: float | None) -> str:
    """Three digits, without an exponent for what is large; a dash where there is none.

    Example:
        >>> figure(0.01234), figure(1234.5), figure(8), figure(None)
        ('0.0123', '1234', '8', '-')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
