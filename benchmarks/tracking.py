"""Trackers alone, milliseconds a frame: people who walk on lanes of their own, at 25 frames a second.

Boxes and keypoints jitter by a pixel, everybody is 100 pixels tall and has an embedding of 128 numbers. One in ten is
not found in a frame, and one in ten scores low.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi.benchmarks.options import Output, Rounds, TurnSeconds
from hpi.benchmarks.peers.loop import times
from hpi.benchmarks.pipeline import ROUNDS
from hpi.evaluation.report import write_report
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.instances import Instances
from hpi.skeletons import load_skeleton
from hpi.tracking.base import TRACKERS, Tracking
from hpi.tracking.make import make_tracker

HEADINGS = ("people", "tracker", "ms a frame (p50)", "p99")
RATE = 25
FRAMES = 250
MISSED = LOW = 0.1
SIZE = (40, 100)


def main(
    people: Annotated[list[int] | None, typer.Option(help="People in the frame; repeat for several.")] = None,
    seconds: TurnSeconds = 0.5,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time the trackers."""
    rows = [row for count in people or (10, 100) for row in _measure(count, seconds, rounds)]
    cells = [[str(row["people"]), row["tracker"], f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}"] for row in rows]
    Console().print(*(" | ".join(line) for line in cells), sep="\n")
    if output is not None:
        write_report(output, "Trackers", __doc__ or "", HEADINGS, cells, rows)


def _measure(people: int, seconds: float, rounds: int) -> list[dict[str, Any]]:
    frames = _planted(people)
    runs = {name: _run(name, frames) for name in TRACKERS}
    taken: dict[str, list[float]] = {name: [] for name in TRACKERS}
    for _ in track(range(rounds), description=f"{people} people", console=Console(stderr=True)):
        for name, run in runs.items():
            taken[name] += times(run, seconds)
    return [_row(people, name, of_one) for name, of_one in taken.items()]


def _run(name: str, frames: list[Instances]) -> Callable[[], object]:
    """Takes the next frame of the stream, which goes on from its beginning after the last."""
    tracker = make_tracker(Tracking(name), load_skeleton("coco17"), embeddings=EmbeddedBoxesHead())
    stream = enumerate(itertools.cycle(frames))

    def run() -> object:
        index, found = next(stream)
        return tracker.update(found, index / RATE)

    return run


def _planted(people: int) -> list[Instances]:
    rng = np.random.default_rng(0)
    start = np.stack([rng.uniform(0, 2000, people), 60.0 * np.arange(people)], axis=1)
    velocity = np.stack([rng.uniform(-80, 80, people), np.zeros(people)], axis=1)
    shape = rng.uniform(0, 1, (people, 17, 2)) * SIZE
    embeddings = rng.normal(0, 1, (people, 128)).astype(np.float32)
    frames = []
    for index in range(FRAMES):
        there = np.flatnonzero(rng.random(people) >= MISSED)
        corners = (start + velocity * index / RATE)[there] + rng.normal(0, 1, (len(there), 2))
        frames.append(
            Instances(
                np.where(rng.random(len(there)) < LOW, 0.3, 0.9),
                boxes=np.concatenate([corners, corners + SIZE], axis=1),
                keypoints=(corners[:, None] + shape[there]).astype(np.float32),
                keypoint_scores=np.full((len(there), 17), 0.8),
                embeddings=embeddings[there],
            )
        )
    return frames


def _row(people: int, tracker: str, taken: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(taken, [50, 99])
    return {"people": people, "tracker": tracker, "p50_ms": p50, "p99_ms": p99}
