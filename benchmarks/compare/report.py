"""The report of a comparison: JSON, Markdown and the page."""

from __future__ import annotations

from pathlib import Path

from hpi.benchmarks.compare.cells import (
    CHOICE,
    HEADINGS,
    STARTS,
    cells_of,
    choice_cells,
    markdown,
    stages_cells,
    stages_headings,
    start_cells,
    summary_of,
)
from hpi.benchmarks.compare.findings import Findings
from hpi.benchmarks.compare.page import page
from hpi.evaluation.report import write_report
from hpi.io.files import write_whole


def write_compared(stem: Path, protocol: str, findings: Findings) -> None:
    """Write ``stem.json``, ``stem.md`` and ``stem.html``.

    Args:
        stem: path without a suffix.
        protocol: how it was measured, in words.
        findings: with at least one row.
    """
    starts = [[one.model, *start_cells(one)] for one in findings.entrants.values()]
    parts = [
        summary_of(findings),
        markdown(CHOICE, map(choice_cells, findings.picks)),
        markdown(("model", *STARTS), starts),
    ]
    if findings.breakdowns:
        lines = map(stages_cells, findings.breakdowns)
        parts.append(f"Stages, ms (median):\n\n{markdown(stages_headings(findings.breakdowns), lines)}")
    more = "\n\n".join(parts) + "\n"
    write_report(stem, "Runtimes compared", protocol, HEADINGS, cells_of(findings), findings.as_json(), more)
    write_whole(stem.with_suffix(".html"), page(protocol, findings).encode())
