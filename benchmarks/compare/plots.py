"""Plots as inline SVG that takes its colours from the page, and so goes with light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpi.benchmarks.compare.findings import Breakdown, Entrant, Pick, candidate_of
from hpi.benchmarks.plots import stack_stages
from hpi.selection.priors import Prior

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID, PAPER = "#010101", "#020202", "#030303"
SERIES = [f"#0{number}0405" for number in range(9)]
_COLOURS = {INK: "currentColor", GRID: "var(--grid)", PAPER: "var(--paper)"} | {
    stand_in: f"var(--series-{number})" for number, stand_in in enumerate(SERIES)
}
"""Colours that matplotlib is given, and what the page has in their place."""
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv"
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
}


def scatter(rows: Sequence[Prior], entrants: Mapping[str, Entrant], picks: Sequence[Pick]) -> str:
    """AP, or without one the deviation, over the time of the smallest batch; empty where neither is known.

    Args:
        rows: of one model.
        entrants: its candidates by name.
        picks: the automatic choices for it.
    """
    batch = min(row.batch for row in rows)
    by_ap = any(entrant.ap is not None for entrant in entrants.values())
    points = [
        (row, height)
        for row in rows
        if row.batch == batch and (height := entrants[candidate_of(row)].ap if by_ap else row.deviation_px) is not None
    ]
    if len(points) < 2:  # of a detector only the reference's own deviation is known
        return ""
    chosen = {pick.auto for pick in picks if pick.batch == batch}
    looks = _looks(rows)
    with _settings():
        figure, axes = _figure()
        for row, height in points:
            name = candidate_of(row)
            axes.plot(row.p50_ms, height, ls="none", ms=7, label=name, clip_on=False, **looks[name].mark)
            if name in chosen:
                _ring(axes, row.p50_ms, height)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"p50 of a batch of {batch}, ms")
        axes.set_ylabel("AP, %" if by_ap else "deviation, px of the crop")
        if not by_ap:
            axes.set_yscale("symlog", linthresh=1e-3)
            axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=2)
        return _inline(figure)


def scaling(rows: Sequence[Prior], picks: Sequence[Pick]) -> str:
    """Throughput over the batch size, a line for each candidate of one model, the automatic choices ringed."""
    rates = {(candidate_of(row), row.batch): row.items_per_second for row in rows}
    batches = sorted({row.batch for row in rows})
    with _settings():
        figure, axes = _figure()
        for name, look in _looks(rows).items():
            points = [(batch, rates[name, batch]) for batch in batches if (name, batch) in rates]
            axes.plot(*zip(*points, strict=True), ls=look.dashes, lw=1.5, ms=6, label=name, **look.mark)
        for pick in picks:
            _ring(axes, pick.batch, rates[pick.auto, pick.batch])
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("batch")
        axes.set_ylabel("a second")
        figure.legend(loc="outside lower center", ncols=2)
        return _inline(figure)


def stages(breakdowns: Sequence[Breakdown]) -> str:
    """A bar for each runtime, made of the pipeline's stages."""
    with _settings():
        figure, axes = _figure(1.4 + 0.4 * len(breakdowns))
        stack_stages(axes, [one.asked for one in breakdowns], [one.stages for one in breakdowns], SERIES)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=5)
        return _inline(figure)


@dataclass(frozen=True)
class _Look:
    """The colour stands for the runtime, marker and dashes for how it splits batches; hollow is not FP32."""

    colour: str
    shape: int
    hollow: bool

    @property
    def mark(self) -> dict[str, Any]:
        marker = _MARKERS[self.shape % len(_MARKERS)]
        return {"color": self.colour, "marker": marker, "mfc": PAPER if self.hollow else self.colour}

    @property
    def dashes(self) -> str:
        return _DASHES[self.shape % len(_DASHES)]


def _looks(rows: Sequence[Prior]) -> dict[str, _Look]:
    """The look of each candidate by name."""
    runtimes = list(dict.fromkeys(row.backend for row in rows))
    splits = list(dict.fromkeys(replace(row.variant, precision="fp32") for row in rows))
    return {
        candidate_of(row): _Look(
            SERIES[runtimes.index(row.backend) % len(SERIES)],
            splits.index(replace(row.variant, precision="fp32")),
            row.precision != "fp32",
        )
        for row in rows
    }


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.plot(x, y, "o", ms=13, mfc="none", mec=INK, mew=1, clip_on=False)


def _settings() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    context: AbstractContextManager[None] = rc_context(_SETTINGS)
    return context


def _figure(height: float = 4) -> tuple[Figure, Axes]:
    """A figure as wide as the screen of a phone, so that its text stays readable there; inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, height), layout="constrained")
    return figure, figure.subplots()


def _inline(figure: Figure) -> str:
    """The figure's ``<svg>`` element, in the colours of the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[\w.]+">', "<g>", text)  # the figures of a page have the same ones
    for stand_in, colour in _COLOURS.items():
        text = text.replace(stand_in, colour)
    return text
