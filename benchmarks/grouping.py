"""Grouping of keypoints to people, milliseconds an image, beside a plain loop over keypoints and people.

``group`` is from peaks to people, as HigherHRNet's head does it after the network; ``decode`` is all that the head
does: with reading the tags, refinement and the search for missing keypoints in maps of 512x704. The people stand in
random places; of each keypoint but the first one in ten is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi.assignment import load_assign
from hpi.benchmarks import plain_grouping
from hpi.benchmarks.options import Output, Rounds, TurnSeconds
from hpi.benchmarks.peers.loop import times
from hpi.benchmarks.pipeline import ROUNDS
from hpi.evaluation.report import write_report
from hpi.heads.tags import TagsHead
from hpi.kernels.grouping import group

HEADINGS = ("people", "what", "who", "ms an image (p50)", "p99", "times hpi")
SIZE = (704, 512)
KEYPOINTS = 17
PEAKS = 30
MISSING = 0.1


def main(
    people: Annotated[list[int] | None, typer.Option(help="People in the image; repeat for several.")] = None,
    seconds: TurnSeconds = 0.5,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time the grouping."""
    rows = [row for count in people or (1, 9, 30) for row in _measure(count, seconds, rounds)]
    cells = [_cells(row) for row in rows]
    Console().print(*(" | ".join(line) for line in cells), sep="\n")
    if output is not None:
        write_report(output, "Grouping", __doc__ or "", HEADINGS, cells, rows)


def _measure(people: int, seconds: float, rounds: int) -> list[dict[str, Any]]:
    runs = _runs(people)
    taken: dict[tuple[str, str], list[float]] = {one: [] for one in runs}
    for _ in track(range(rounds), description=f"{people} people", console=Console(stderr=True)):
        for one, run in runs.items():
            taken[one] += times(run, seconds)
    return [_row(people, what, who, of_one, taken[what, "hpi"]) for (what, who), of_one in taken.items()]


def _runs(people: int) -> dict[tuple[str, str], Callable[[], object]]:
    """What is timed, and whose it is."""
    heatmaps, tagmaps, heats, cells = _planted(people)
    tags = np.take_along_axis(tagmaps.reshape(KEYPOINTS, -1, 1), cells[..., None], axis=1)
    head, assign = TagsHead(), load_assign("to group keypoints to people", "cpu")
    outputs = [output[None] for output in (heatmaps, tagmaps, heats, cells)]
    return {
        ("group", "hpi"): lambda: group(heats, tags, assign),
        ("group", "plain loop"): lambda: plain_grouping.group(heats, tags),
        ("decode", "hpi"): lambda: head.decode(outputs, 1, SIZE),
        ("decode", "plain loop"): lambda: plain_grouping.decode(heatmaps, tagmaps, heats, cells),
    }


def _planted(people: int) -> tuple[Any, Any, Any, Any]:
    """Heatmaps, tags, and the heights and cells of the peaks of so many people."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    heatmaps = np.zeros((KEYPOINTS, height, width), np.float32)
    tagmaps = rng.normal(0, 0.1, (*heatmaps.shape, 1)).astype(np.float32)
    heats, cells = np.zeros((KEYPOINTS, PEAKS), np.float32), np.zeros((KEYPOINTS, PEAKS), np.int64)
    for keypoint in range(KEYPOINTS):
        there = np.flatnonzero((rng.random(people) > MISSING) | (keypoint == 0))[:PEAKS]
        order = np.argsort(-rng.uniform(0.3, 1, len(there)))
        cells[keypoint, : len(there)] = rng.choice(height * width, len(there), replace=False)
        heats[keypoint, : len(there)] = np.sort(rng.uniform(0.3, 1, len(there)))[::-1]
        at = cells[keypoint, : len(there)]
        heatmaps[keypoint].flat[at] = heats[keypoint, : len(there)]
        tagmaps[keypoint].flat[at] += 2.0 * there[order] + 1
    return heatmaps, tagmaps, heats, cells


def _row(people: int, what: str, who: str, taken: list[float], ours: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(taken, [50, 99])
    times_hpi = p50 / float(np.median(ours))
    return {"people": people, "what": what, "who": who, "p50_ms": p50, "p99_ms": p99, "times_hpi": times_hpi}


def _cells(row: dict[str, Any]) -> list[str]:
    figures = (f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['times_hpi']:.1f}")
    return [str(row["people"]), row["what"], row["who"], *figures]
