"""The report of ``compare``: Markdown and JSON, and a page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import median
from string import Template

from hpi.benchmarks.compare_plots import candidate_of, scaling, scatter, stages
from hpi.benchmarks.comparison import Breakdown, Entrant, Findings, Pick
from hpi.evaluation.environment import describe_environment
from hpi.evaluation.report import markdown_table, write_report
from hpi.io.files import write_whole
from hpi.selection.priors import Prior

CHOICE = ("model", "batch", "auto takes", "ms", "best of this run", "ms", "regret")
TIMES = ("candidate", "batch", "p50 ms", "p90 ms", "p99 ms", "a second", "MB")
HEADINGS = ("model", *TIMES)
STARTS = ("candidate", "start, empty cache, s", "start, warm cache, s", "px off", "AP, %", "parity gate", "version")
RING = "The ring is what auto takes."
LONG = 60
"""Characters from which a text in a table is broken into lines."""


@dataclass(frozen=True)
class _Tagged:
    """A name in a table, with words of praise or blame behind it."""

    name: str
    tags: Sequence[str] = ()


_Cell = _Tagged | str | float | None


@dataclass(frozen=True)
class _Section:
    id: str
    title: str
    content: str

    @property
    def html(self) -> str:
        return f'<section id="{self.id}"><h2>{escape(self.title)}</h2>\n{self.content}\n</section>'


def write_compared(stem: Path, protocol: str, findings: Findings) -> None:
    """Write ``stem.json``, ``stem.md`` and ``stem.html``.

    Args:
        stem: path without a suffix.
        protocol: how it was measured, in words.
        findings: with at least one row.
    """
    starts = [[one.model, *_start_cells(one)] for one in findings.entrants.values()]
    parts = [
        summary_of(findings),
        _markdown(CHOICE, map(_choice_cells, findings.picks)),
        _markdown(("model", *STARTS), starts),
    ]
    if findings.breakdowns:
        lines = map(_stages_cells, findings.breakdowns)
        parts.append(f"Stages, ms (median):\n\n{_markdown(_stages_headings(findings.breakdowns), lines)}")
    more = "\n\n".join(parts) + "\n"
    write_report(stem, "Runtimes compared", protocol, HEADINGS, cells_of(findings), findings.as_json(), more)
    write_whole(stem.with_suffix(".html"), page(protocol, findings).encode())


def summary_of(findings: Findings) -> str:
    """How good the automatic choice is, in a sentence."""
    regrets = [pick.regret for pick in findings.picks]
    if not regrets:
        return "Nothing is said of what auto takes: not all was measured, or no FP32 candidate gives the right results."
    over = "1 batch size" if len(regrets) == 1 else f"{len(regrets)} models and batch sizes"
    return f"Regret of auto over {over}: median {median(regrets):.3f}, worst {max(regrets):.3f}."


def cells_of(findings: Findings) -> list[list[str]]:
    """The figures of each candidate at each batch size, as text."""
    return [[row.model, *map(_text, _times_cells(row, findings))] for row in findings.rows]


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
    told = f"{where['processor']}, {where['cores']} cores, {first.threads} threads, {first.date}"
    return f'<h1>Runtimes compared</h1>\n<p class="quiet">{escape(told)}</p>\n<p>{escape(summary_of(findings))}</p>'


def _contents(sections: Iterable[_Section]) -> str:
    links = (f'<a href="#{section.id}">{escape(section.title)}</a>' for section in sections)
    return f"<nav>{' '.join(links)}</nav>"


def _choices(picks: Sequence[Pick]) -> str:
    note = "Regret: the time of the choice over that of the best FP32 candidate of this run. 1 is perfect."
    return f'<p class="quiet">{note}</p>\n{_table("What auto takes", CHOICE, map(_choice_cells, picks))}'


def _model(model: str, findings: Findings) -> str:
    rows = [row for row in findings.rows if row.model == model]
    entrants = {name: one for (of_one, name), one in findings.entrants.items() if of_one == model}
    picks = [pick for pick in findings.picks if pick.model == model]
    plots = _plot(scaling(rows, picks), f"Throughput over the batch size. {RING}")
    if accuracy := scatter(rows, entrants, picks):
        plots += _plot(accuracy, f"Accuracy against time: further left is faster. {RING}")
    times, starts = [_times_cells(row, findings) for row in rows], map(_start_cells, entrants.values())
    return (
        f'<div class="plots">{plots}</div>\n'
        f"<h3>Time and memory</h3>\n{_table(f'{model}: time and memory', TIMES, times)}\n"
        f"<h3>Start and accuracy</h3>\n{_table(f'{model}: start and accuracy', STARTS, starts)}"
    )


def _stages(breakdowns: Sequence[Breakdown]) -> str:
    plot = _plot(stages(breakdowns), "One photo, from the encoded file to the picture of the result.")
    table = _table("Stages, ms (median)", _stages_headings(breakdowns), map(_stages_cells, breakdowns))
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


def _times_cells(row: Prior, findings: Findings) -> list[_Cell]:
    figures = (row.batch, row.p50_ms, row.p90_ms, row.p99_ms, row.throughput, row.memory_mb)
    return [_Tagged(candidate_of(row), _tags(row, findings)), *figures]


def _tags(row: Prior, findings: Findings) -> list[str]:
    """What there is to say of a candidate at a batch size, in single words."""
    name = candidate_of(row)
    picks = [pick for pick in findings.picks if (pick.model, pick.batch) == (row.model, row.batch)]
    said = {
        "auto": name in [pick.auto for pick in picks],
        "best": name in [pick.best for pick in picks],
        "refused": not findings.entrants[row.model, name].verdict.passed,
    }
    return [word for word, is_so in said.items() if is_so]


def _start_cells(one: Entrant) -> list[_Cell]:
    refused = () if one.verdict.passed else ("refused",)
    start = (None, None) if one.start is None else (one.start.empty, one.start.warm)
    return [_Tagged(one.candidate, refused), *start, one.verdict.pixels, one.ap, one.verdict.said, one.version]


def _choice_cells(pick: Pick) -> list[_Cell]:
    return [pick.model, pick.batch, pick.auto, pick.auto_ms, pick.best, pick.best_ms, pick.regret]


def _stages_headings(breakdowns: Sequence[Breakdown]) -> list[str]:
    return ["asked for", *breakdowns[0].stages, "sum", "detector, keypoint model"]


def _stages_cells(one: Breakdown) -> list[_Cell]:
    return [one.asked, *one.stages.values(), sum(one.stages.values()), ", ".join(one.runs_on)]


def _table(label: str, headings: Sequence[str], rows: Iterable[Sequence[_Cell]]) -> str:
    """A table that scrolls by itself, also with the keyboard, and is sorted by its headings."""
    lines = list(rows)
    columns = zip(headings, *lines, strict=True)
    head = "".join(_th(name, cells) for name, *cells in columns)
    body = "\n".join(map(_tr, lines))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _th(heading: str, cells: Iterable[_Cell]) -> str:
    kind = "text" if any(isinstance(cell, (str, _Tagged)) for cell in cells) else "figure"
    return f'<th class="{kind}"><button type="button">{escape(heading)}</button></th>'


def _tr(cells: Sequence[_Cell]) -> str:
    tags = [tag for cell in cells if isinstance(cell, _Tagged) for tag in cell.tags]
    return f'<tr class="{" ".join(tags)}">{"".join(map(_td, cells))}</tr>'


def _td(cell: _Cell) -> str:
    if isinstance(cell, _Tagged):
        tags = "".join(f' <span class="tag {tag}">{tag}</span>' for tag in cell.tags)
        return f'<td class="text">{escape(cell.name)}{tags}</td>'
    if isinstance(cell, str):
        return f'<td class="{"text long" if len(cell) > LONG else "text"}">{escape(cell)}</td>'
    return f'<td data-value="{"" if cell is None else cell}">{_figure(cell)}</td>'


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[_Cell]]) -> str:
    return markdown_table(headings, ([_text(cell) for cell in row] for row in rows))


def _text(cell: _Cell) -> str:
    if isinstance(cell, _Tagged):
        return f"{cell.name} ({', '.join(cell.tags)})" if cell.tags else cell.name
    return cell if isinstance(cell, str) else _figure(cell)


def _figure(value: float | None) -> str:
    """Three digits, without an exponent for what is large; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
