"""Pictures of results, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def save_stages(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar for each row, made of its stages.

    Args:
        path: where to save the picture.
        rows: each with ``photos``, ``people`` and ``stages``, a name and milliseconds of each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.7 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    names = [f"{row['photos'][0]}\n{row['people']} people" for row in rows]
    stack_stages(axes, names, [row["stages"] for row in rows])
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.3), frameon=False)
    figure.savefig(path, dpi=120)


def stack_stages(
    axes: Any, names: Sequence[str], stages: Sequence[Mapping[str, float]], colors: Sequence[str] | None = None
) -> None:
    """A horizontal bar for each name, made of its stages.

    Args:
        axes: of Matplotlib.
        names: from top to bottom.
        stages: milliseconds of each, all with the same stages.
        colors: of the stages, in turn; None: Matplotlib's.
    """
    places, left = range(len(names)), [0.0] * len(names)
    for number, stage in enumerate(stages[0]):
        widths = [one[stage] for one in stages]
        color = colors[number % len(colors)] if colors else None
        axes.barh(places, widths, 0.6, left, color=color, label=stage)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel("ms")


def save_memory(path: Path, step: int, megabytes: Sequence[float]) -> None:
    """Resident memory over the work that was done: images or requests.

    Args:
        path: where to save the picture.
        step: how much work there is between two figures.
        megabytes: after each step.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.plot(range(step, step * len(megabytes) + 1, step), megabytes)
    axes.set_ylim(0, 1.2 * max(megabytes))
    axes.set_xlabel("images")
    axes.set_ylabel("resident memory, MB")
    figure.savefig(path, dpi=120)


def save_clients(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Throughput and the slowest percent over the number of clients, a line for each server.

    Args:
        path: where to save the picture.
        rows: each with ``clients``, ``who``, ``throughput`` (a second) and ``p99_ms``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained", facecolor="white")
    clients = sorted({row["clients"] for row in rows})
    plots = (("throughput", "answers a second", "linear"), ("p99_ms", "p99, ms", "log"))
    for axes, (name, label, scale) in zip(figure.subplots(1, 2), plots, strict=True):
        for who in dict.fromkeys(row["who"] for row in rows):
            points = [(row["clients"], row[name]) for row in rows if row["who"] == who]
            axes.plot(*zip(*points, strict=True), marker="o", label=who)
        axes.set_xscale("log", base=2)
        axes.set_xticks(clients, [str(count) for count in clients])
        axes.set_yscale(scale)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("clients")
        axes.set_ylabel(label)
    figure.axes[0].set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
