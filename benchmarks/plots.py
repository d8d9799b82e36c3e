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
    places, left = range(len(rows)), [0.0] * len(rows)
    axes.set_yticks(places, [f"{row['photos'][0]}\n{row['people']} people" for row in rows])
    for stage in rows[0]["stages"]:
        widths = [row["stages"][stage] for row in rows]
        axes.barh(places, widths, left=left, label=stage)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.3), frameon=False)
    figure.savefig(path, dpi=120)


def save_memory(path: Path, images: Sequence[int], megabytes: Sequence[float]) -> None:
    """Resident memory over the images that were processed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.plot(images, megabytes)
    axes.set_ylim(0, 1.2 * max(megabytes))
    axes.set_xlabel("images")
    axes.set_ylabel("resident memory, MB")
    figure.savefig(path, dpi=120)
