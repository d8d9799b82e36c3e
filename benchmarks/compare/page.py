"""The page: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from hpi.benchmarks.compare.cells import (
    CHOICE,
    STARTS,
    TIMES,
    Cell,
    Tagged,
    choice_cells,
    figure,
    stages_cells,
    stages_headings,
    start_cells,
    summary_of,
    times_cells,
)
from hpi.benchmarks.compare.findings import Breakdown, Findings, Pick
from hpi.benchmarks.compare.plots import scaling, scatter, stages
from hpi.evaluation.environment import describe_environment

RING = "The ring is what auto takes."
LONG = 60
"""Characters from which a text in a table is broken into lines."""


@dataclass(frozen=True)
class _Section:
    id: str
    title: str
    content: str

    @property
    def html(self) -> str:
        return f'<section id="{self.id}"><h2>{escape(self.title)}</h2>\n{self.content}\n</section>'


def page(protocol: str, findings: Findings) -> str:
    """The report as one HTML file, with nothing to load from anywhere.

    Args:
        protocol: how it was measured, in words.
        findings: with at least one row.
    """
    models = list(dict.fromkeys(row.model for row in findings.rows))
    sections = [_Section("auto", "What auto takes", _choices(findings.picks))]
    sections += [_Section(f"model-{number}", model, _model(model, findings)) for number, model in enumerate(models)]
    if findings.breakdowns:
        sections.append(_Section("stages", "Stages of the pipeline", _stages(findings.breakdowns)))
    if findings.failures:
        sections.append(_Section("failures", "Not measured", _failures(findings.failures)))
    sections.append(_Section("about", "Machine and method", _about(protocol)))
    template = (files("hpi.benchmarks") / "templates" / "compare.html").read_text(encoding="utf-8")
    body = "\n".join([_head(findings), _contents(sections), *(section.html for section in sections)])
    return Template(template).substitute(title=escape(f"Runtimes compared: {', '.join(models)}"), body=body)


def _head(findings: Findings) -> str:
    where, first = describe_environment(), findings.rows[0]
    facts = f"{where['processor']}, {where['cores']} cores, {first.threads} threads, {first.date}"
    return f'<h1>Runtimes compared</h1>\n<p class="quiet">{escape(facts)}</p>\n<p>{escape(summary_of(findings))}</p>'


def _contents(sections: Iterable[_Section]) -> str:
    links = (f'<a href="#{section.id}">{escape(section.title)}</a>' for section in sections)
    return f"<nav>{' '.join(links)}</nav>"


def _choices(picks: Sequence[Pick]) -> str:
    note = "Regret: the time of the choice over that of the best FP32 candidate of this run. 1 is perfect."
    return f'<p class="quiet">{note}</p>\n{_table("What auto takes", CHOICE, map(choice_cells, picks))}'


def _model(model: str, findings: Findings) -> str:
    rows = [row for row in findings.rows if row.model == model]
    entrants = {name: one for (of_one, name), one in findings.entrants.items() if of_one == model}
    picks = [pick for pick in findings.picks if pick.model == model]
    plots = _plot(scaling(rows, picks), f"Throughput over the batch size. {RING}")
    if accuracy := scatter(rows, entrants, picks):
        plots += _plot(accuracy, f"Accuracy against time: further left is faster. {RING}")
    times, starts = [times_cells(row, findings) for row in rows], map(start_cells, entrants.values())
    return (
        f'<div class="plots">{plots}</div>\n'
        f"<h3>Time and memory</h3>\n{_table(f'{model}: time and memory', TIMES, times)}\n"
        f"<h3>Start and accuracy</h3>\n{_table(f'{model}: start and accuracy', STARTS, starts)}"
    )


def _stages(breakdowns: Sequence[Breakdown]) -> str:
    plot = _plot(stages(breakdowns), "One image, from the encoded file to the picture of the result.")
    table = _table("Stages, ms (median)", stages_headings(breakdowns), map(stages_cells, breakdowns))
    return f"{plot}\n<h3>Milliseconds, median</h3>\n{table}"


def _failures(failures: Iterable[tuple[str, str, str]]) -> str:
    return _table("Not measured", ("model", "candidate", "reason"), failures)


def _about(protocol: str) -> str:
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in protocol.strip().split("\n\n"))
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in describe_environment().items())
    return f"{paragraphs}\n<dl>{facts}</dl>"


def _plot(svg: str, caption: str) -> str:
    named = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
    return f"<figure>{named}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(label: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that scrolls by itself, also with the keyboard, and is sorted by its headings."""
    lines = list(rows)
    columns = zip(headings, *lines, strict=True)
    head = "".join(_th(name, cells) for name, *cells in columns)
    body = "\n".join(map(_tr, lines))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _th(heading: str, cells: Iterable[Cell]) -> str:
    kind = "text" if any(isinstance(cell, (str, Tagged)) for cell in cells) else "figure"
    return f'<th class="{kind}"><button type="button">{escape(heading)}</button></th>'


def _tr(cells: Sequence[Cell]) -> str:
    tags = [tag for cell in cells if isinstance(cell, Tagged) for tag in cell.tags]
    return f'<tr class="{" ".join(tags)}">{"".join(map(_td, cells))}</tr>'


def _td(cell: Cell) -> str:
    if isinstance(cell, Tagged):
        tags = "".join(f' <span class="tag {tag}">{tag}</span>' for tag in cell.tags)
        return f'<td class="text">{escape(cell.name)}{tags}</td>'
    if isinstance(cell, str):
        return f'<td class="{"text long" if len(cell) > LONG else "text"}">{escape(cell)}</td>'
    return f'<td data-value="{"" if cell is None else cell}">{figure(cell)}</td>'
