"""People of a video with the detector on every frame and on fewer.

Every setting takes its turn on each frame, so all share whatever else the machine does; the frame is already decoded.
CPU time is that of all threads, and ``times frame by frame`` compares it, since it depends least on what else runs.
``without detector`` is the same for the frames in which the detector does not run: more is impossible.

Results are compared with those of frame by frame: people by their boxes (one to one, IoU at least 0.5), keypoints that
score above 0.3 there, in pixels of the image. ``missed`` are people that frame by frame finds and the setting does not.
Some of them the detector itself sees by chance: ``flicker`` is the share of people that frame by frame has in one frame
and in neither of its neighbours, or in both neighbours and not in the frame. ``beyond it`` are those missed who are not
seen in that one frame only, and whom the detector did not lose in just the frame in which it ran last.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from hpi import Frame, Instances, Predictor
from hpi.benchmarks.options import Output, Threads
from hpi.benchmarks.pipeline import pipeline_of
from hpi.errors import ConfigError, InputError
from hpi.evaluation.report import describe_models, write_report
from hpi.kernels.boxes import box_iou
from hpi.options import AUTO
from hpi.pipelines.tracked import TrackedPipeline
from hpi.sources import open_stream
from hpi.tracking.base import Tracking

SAME_IOU = 0.5
CLEAR = 0.3
HEADINGS = (
    "pipeline", "det_every", "mean interval", "frames a second", "CPU ms a frame", "times frame by frame",
    "without detector", "px off, median", "p99", "missed %", "beyond it %", "flicker %",
)  # fmt: skip

Int64 = NDArray[np.int64]


@dataclass
class _Setting:
    """One way to run a pipeline over frames, and what came of it.

    Attributes:
        det_every: of :class:`hpi.tracking.base.Tracking`.
        tracked: the pipeline.
        seconds: of each frame.
        cpu_seconds: of all threads, of each frame.
        detected: whether the detector ran on it.
        people: found in it.
    """

    det_every: int | Literal["auto"]
    tracked: TrackedPipeline
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    detected: list[bool] = field(default_factory=list)
    people: list[Instances] = field(default_factory=list)

    def run(self, frame: Frame) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        (found,) = self.tracked.run([frame])
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu)
        self.people.append(found)
        state = self.tracked.states.get(frame.stream)
        self.detected.append(state is None or state.carrier is None or state.carrier.detected)


def main(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A video with people.")],
    pipeline: Annotated[
        list[str], typer.Option(help="Name, YAML file or DETECTOR_FOLDER,KEYPOINT_FOLDER; repeat for several.")
    ],
    det_every: Annotated[
        list[str] | None, typer.Option("--det_every", help="A number or auto, the default; repeat for several.")
    ] = None,
    tracker: Annotated[str | None, typer.Option(help="bytetrack, ocsort or oks; by default none.")] = None,
    frames: Annotated[int | None, typer.Option(min=3, help="Only so many, from the beginning.")] = None,
    threads: Threads = None,
    output: Output = None,
) -> None:
    """Time a video with the detector on fewer frames, and compare the people with those of frame by frame."""
    settings = [1, *(_interval(one) for one in det_every or (AUTO,) if one != "1")]
    rows: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for name in pipeline:
        with open_pipeline(name, threads) as predictor:
            rows += _measure(predictor, clip, frames, [Tracking(tracker, one) for one in settings])
            models += describe_models(predictor)
        if output is not None:  # what is there is kept, should the rest be interrupted
            write_report(output, "Video", __doc__ or "", HEADINGS, _cells(rows), {"models": models, "rows": rows})
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), sep="\n")


def _interval(text: str) -> int | Literal["auto"]:
    if text == AUTO:
        return "auto"
    if not text.isdecimal():
        raise ConfigError(f"--det_every {text}: give a whole number from 1, or auto")
    return int(text)


def open_pipeline(name: str, threads: int | None, workers: int | None = None) -> Predictor:
    """A pipeline by its name or YAML file, or by ``DETECTOR_FOLDER,KEYPOINT_FOLDER``."""
    detector, _, keypoint_model = name.partition(",")
    if keypoint_model:
        return Predictor.of_folders(keypoint_model, detector, threads=threads, workers=workers)
    return Predictor(name, threads=threads, workers=workers)


def frames_of_clip(clip: Path, count: int | None) -> Iterator[Frame]:
    """The frames of a video, or so many from its beginning.

    Raises:
        InputError: one of them is damaged.
    """
    with closing(open_stream(clip)) as stream:
        for frame in itertools.islice(stream, count):
            if isinstance(frame, InputError):
                raise frame
            yield frame


def _measure(
    predictor: Predictor, clip: Path, count: int | None, trackings: Sequence[Tracking]
) -> list[dict[str, Any]]:
    pipeline = pipeline_of(predictor)
    pipeline.warmup()
    settings = [_Setting(one.det_every, TrackedPipeline(pipeline, one)) for one in trackings]
    for frame in track(frames_of_clip(clip, count), predictor.name, console=Console(stderr=True)):
        for setting in settings:
            setting.run(frame)
    return [_row(predictor.name, settings[0], setting) for setting in settings]


def _row(name: str, reference: _Setting, setting: _Setting) -> dict[str, Any]:
    seconds, cpu_seconds, detected = map(np.array, (setting.seconds, setting.cpu_seconds, setting.detected))
    cpu_by_frame = np.array(reference.cpu_seconds)
    return {
        "pipeline": name,
        "det_every": setting.det_every,
        "frames": len(seconds),
        "mean_interval": len(seconds) / int(detected.sum()),
        "frames_a_second": 1 / seconds.mean(),
        "cpu_ms_a_frame": 1000 * cpu_seconds.mean(),
        "times_frame_by_frame": cpu_by_frame.mean() / cpu_seconds.mean(),
        "without_detector": (
            None if detected.all() else cpu_by_frame[~detected].mean() / cpu_seconds[~detected].mean()
        ),
        **_compare(reference.people, setting),
    }


def _compare(reference: Sequence[Instances], setting: _Setting) -> dict[str, Any]:
    """How far the people are from those of frame by frame."""
    tracks = _tracks(reference)
    off: list[NDArray[Any]] = []
    missed = beyond = flicker = ran = 0
    for index, (wanted, found) in enumerate(zip(reference, setting.people, strict=True)):
        ran = index if setting.detected[index] else ran
        rows, partners = _pairs(wanted, found)
        distances = np.linalg.norm(wanted.points[rows, :, :2] - found.points[partners, :, :2], axis=-1)
        off.append(distances[wanted.points[rows, :, 2] > CLEAR])
        lost = [tracks.ids[index][row] for row in set(range(len(wanted))) - set(rows.tolist())]
        missed += len(lost)
        beyond += sum(not tracks.appears_once(one, index) and not tracks.has_gap(one, ran) for one in lost)
        flicker += sum(tracks.appears_once(one, index) + tracks.has_gap(one, index + 1) for one in tracks.ids[index])
    people = max(sum(map(len, reference)), 1)
    median, p99 = np.percentile(np.concatenate(off), [50, 99])
    return {
        "people": people,
        "px_off_median": median,
        "px_off_p99": p99,
        "missed": missed / people,
        "missed_beyond_flicker": beyond / people,
        "flicker": flicker / people,
    }


@dataclass
class _Tracks:
    """Who is who in the reference.

    Attributes:
        ids: of each row of each frame.
    """

    ids: list[list[int]]

    def __post_init__(self) -> None:
        self._there = [set(of_frame) for of_frame in self.ids]

    def has(self, track_id: int, index: int) -> bool:
        return 0 <= index < len(self.ids) and track_id in self._there[index]

    def appears_once(self, track_id: int, index: int) -> bool:
        """Whether somebody is in a frame and in neither of its neighbours."""
        return not self.has(track_id, index - 1) and not self.has(track_id, index + 1)

    def has_gap(self, track_id: int, index: int) -> bool:
        """Whether somebody is not in a frame, but in both of its neighbours."""
        return not self.has(track_id, index) and self.has(track_id, index - 1) and self.has(track_id, index + 1)


def _tracks(frames: Sequence[Instances]) -> _Tracks:
    """Follow boxes from each frame to the next, or to the one after it."""
    ids: list[list[int]] = []
    unused = itertools.count()
    for index, people in enumerate(frames):
        of_frame: dict[int, int] = {}
        for back in range(index - 1, max(index - 3, -1), -1):
            free = [row for row in range(len(people)) if row not in of_frame]
            there = [row for row, one in enumerate(ids[back]) if one not in of_frame.values()]
            before, after = _pairs(frames[back][there], people[free])
            of_frame |= {free[row]: ids[back][there[one]] for one, row in zip(before, after, strict=True)}
        ids.append([of_frame[row] if row in of_frame else next(unused) for row in range(len(people))])
    return _Tracks(ids)


def _pairs(people: Instances, others: Instances) -> tuple[Int64, Int64]:
    """Rows of the same people, by their boxes."""
    from scipy.optimize import linear_sum_assignment

    assert people.boxes is not None and others.boxes is not None  # of a pipeline with a detector
    iou = box_iou(people.boxes, others.boxes)
    rows, partners = linear_sum_assignment(iou, maximize=True)
    same = iou[rows, partners] >= SAME_IOU
    return rows[same], partners[same]


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            row["pipeline"],
            str(row["det_every"]),
            *(
                f"{row[name]:.2f}"
                for name in ("mean_interval", "frames_a_second", "cpu_ms_a_frame", "times_frame_by_frame")
            ),
            "-" if row["without_detector"] is None else f"{row['without_detector']:.2f}",
            *(f"{row[name]:.2f}" for name in ("px_off_median", "px_off_p99")),
            *(f"{100 * row[name]:.1f}" for name in ("missed", "missed_beyond_flicker", "flicker")),
        ]
        for row in rows
    ]
