"""A whole video: decoding, models, drawing, encoding, one file of results; beside PaddleDetection and rtmlib.

``people`` are those of a frame, in the mean. ``stages`` are the CPU milliseconds of a frame, each stage measured alone
in the same run: decoding, the models on one thread as workers run them, drawing with encoding and results. ``bound`` is
what all cores could do if they did nothing else: cores / sum of the stages. ``bound, all threads`` has the models on
all threads at once, which wait for each other. ``workers=1`` gives all threads to one frame after the other.

Everyone takes turns on the same file and writes a video. PaddleDetection's script runs on Paddle without oneDNN, whose
keypoints are right, and with it. rtmlib has no such detector: its ``PoseTracker`` runs the ONNX files of this run, the
detector in a plain loop, on every frame and on every tenth. Both only run models that PaddleDetection has exported.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from hpi import Frame, Predictor
from hpi.benchmarks.options import Output, PaddleDetection, PaddleDetectionPython, Rounds, Threads
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.video import frames_of_clip, open_pipeline
from hpi.benchmarks.zoo import as_exported
from hpi.errors import ConfigError
from hpi.evaluation.report import describe_models, write_report
from hpi.pipelines.tracked import TrackedPipeline, usual_tracker
from hpi.saving import save_streams
from hpi.sinks.formats import open_sinks
from hpi.sources import open_stream
from hpi.tracking.base import Tracking

ROUNDS = 3
STAGE_FRAMES = 60
STAGES = ("decoding", "models", "writing")
WARM_UP = 5
HEADINGS = (
    "pipeline", "who", "people", "frames a second", "times hpi, frame by frame", "stages, CPU ms", "bound",
    "of the bound", "bound, all threads",
)  # fmt: skip
Turn = Callable[[], tuple[float, int]]
"""Seconds of a whole video, and people in all frames."""
Every = int | Literal["auto"]
EVERY: tuple[Every, ...] = (1, "auto")


def main(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A video with people.")],
    pipeline: Annotated[
        list[str], typer.Option(help="Name, YAML file or DETECTOR_FOLDER,KEYPOINT_FOLDER; repeat for several.")
    ],
    frames: Annotated[int, typer.Option(min=3, help="Only so many, from the beginning.")] = 200,
    paddledetection: PaddleDetection = None,
    python: PaddleDetectionPython = None,
    rtmlib: Annotated[
        Path | None, typer.Option(help="Python of an environment with rtmlib.", envvar="HPI_RTMLIB")
    ] = None,
    threads: Threads = None,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time the whole way of a video, beside other projects."""
    rows: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for name in pipeline:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            predictor, one_worker = (
                stack.enter_context(open_pipeline(name, threads, workers=workers)) for workers in (None, 1)
            )
            cut = _cut(clip, frames, folder / "clip.mp4")
            turns: dict[str, Turn] = {
                f"hpi, det_every={every}": partial(_own_turn, predictor, cut, folder, every) for every in EVERY
            }
            turns["hpi, det_every=1, workers=1"] = partial(_own_turn, one_worker, cut, folder, 1)
            is_exported = all(any(Path(one["model_dir"]).glob("*.pdiparams")) for one in predictor.describe()["models"])
            if is_exported and paddledetection is not None and python is not None:
                turns |= _paddledetection(stack, paddledetection, python, one_worker, cut, folder)
            if is_exported and rtmlib is not None:
                turns |= _rtmlib(stack, rtmlib, one_worker, cut, folder)
            stages = {f"hpi, det_every={every}": _stages(predictor, cut, folder, every) for every in EVERY}
            stages["hpi, det_every=1, workers=1"] = stages["hpi, det_every=1"]
            taken: dict[str, list[float]] = {who: [] for who in turns}
            people: dict[str, float] = {}
            for _ in range(rounds):
                for who, turn in turns.items():
                    seconds, found = turn()
                    taken[who].append(seconds / frames)
                    people[who] = found / frames
            rows += _rows(predictor.name, taken, people, stages)
            models += describe_models(predictor)
        if output is not None:  # what is there is kept, should the rest be interrupted
            write_report(output, "Streams", __doc__ or "", HEADINGS, _cells(rows), {"models": models, "rows": rows})
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), sep="\n")


def _cut(clip: Path, frames: int, target: Path) -> Path:
    """The beginning of a video, as H.264."""
    import av

    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        given = source.streams.video[0]
        stream = container.add_stream("libx264", rate=given.average_rate or 25)
        stream.width, stream.height, stream.pix_fmt = given.width, given.height, "yuv420p"
        for frame in islice(source.decode(given), frames):
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return target


def _own_turn(predictor: Predictor, clip: Path, folder: Path, every: Every) -> tuple[float, int]:
    """Seconds of the whole way, as ``hpi predict`` goes it, and people in all frames."""
    start = time.perf_counter()
    stream = open_stream(clip)
    sinks = open_sinks(stream, folder / "own")
    results = predictor.stream(stream, det_every=every, smooth="oneeuro")
    with closing(save_streams(results, {stream.name: sinks})) as saved:
        people = sum(len(result.instances) for result in saved)
    return time.perf_counter() - start, people


def _stages(predictor: Predictor, clip: Path, folder: Path, every: Every) -> dict[str, float]:
    """CPU milliseconds of a frame in each stage alone, over the first frames."""
    decoded: list[Frame] = []
    decoding = _cpu_ms(lambda: decoded.extend(frames_of_clip(clip, STAGE_FRAMES)))
    tracking = Tracking(usual_tracker(predictor.pipelines[0], every), every)
    models, all_threads = (
        _models_ms(TrackedPipeline(pipeline, tracking), decoded)
        for pipeline in (predictor.side_by_side()[0], predictor.pipelines[0])
    )
    with closing(open_stream(clip)) as stream:
        found = list(islice(predictor.stream(stream, det_every=every, smooth="oneeuro"), STAGE_FRAMES))
        sinks = open_sinks(stream, folder / "stages")

    def write() -> None:
        for result in found:
            for sink in sinks:
                sink.add(result)
        for sink in sinks:
            sink.close()

    of_all = {"decoding": decoding, "models": models, "writing": _cpu_ms(write), "models, all threads": all_threads}
    return {stage: ms / len(decoded) for stage, ms in of_all.items()}


def _models_ms(tracked: TrackedPipeline, frames: Sequence[Frame]) -> float:
    for frame in frames[:WARM_UP]:
        tracked.run([frame])
    tracked.end(frames[0].stream)
    return _cpu_ms(lambda: [tracked.run([frame]) for frame in frames])


def _cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def _paddledetection(
    stack: ExitStack, checkout: Path, python: Path, predictor: Predictor, clip: Path, folder: Path
) -> dict[str, Turn]:
    detector, estimator = predictor.describe()["models"]
    config = {
        "checkout": str(checkout.absolute()),
        "detector": str(as_exported(Path(detector["model_dir"]), folder / "detector")),
        "estimator": str(as_exported(Path(estimator["model_dir"]), folder / "estimator")),
        "threads": estimator["threads"],
        "clip": str(clip),
        "folder": str(folder),
        "output": str(folder / "paddledetection"),
    }
    return {
        f"PaddleDetection, {name}": partial(
            _peer_turn,
            stack.enter_context(closing(Peer(python, "paddledetection_video", {**config, "onednn": onednn}))),
        )
        for name, onednn in (("plain", False), ("oneDNN", True))
    }


def _rtmlib(stack: ExitStack, python: Path, predictor: Predictor, clip: Path, folder: Path) -> dict[str, Turn]:
    detector, estimator = (model.session.info.model_path for model in predictor.pipelines[0].models)
    if {detector.suffix, estimator.suffix} != {".onnx"}:
        raise ConfigError("rtmlib reads ONNX files; choose --backend onnxruntime or openvino")
    spec = predictor.pipelines[0].models[0].spec
    config = {
        "detector": str(detector),
        "detector_size": spec.input_size,
        "estimator": str(estimator),
        "size": predictor.pipelines[0].models[1].spec.input_size,
        "threads": predictor.describe()["models"][0]["threads"],
        "clip": str(clip),
        "output": str(folder / "rtmlib.mp4"),
    }
    return {
        f"rtmlib, det_frequency={every}": partial(
            _peer_turn, stack.enter_context(closing(Peer(python, "rtmlib_video", {**config, "every": every})))
        )
        for every in (1, 10)
    }


def _peer_turn(peer: Peer) -> tuple[float, int]:
    answer = peer.ask()
    return float(answer["seconds"]), int(answer["people"])


def _rows(
    name: str,
    taken: Mapping[str, Sequence[float]],
    people: Mapping[str, float],
    stages: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    seconds = {who: float(np.median(some)) for who, some in taken.items()}
    usual = seconds[f"hpi, det_every={EVERY[0]}"]
    rows = []
    for who, of_frame in seconds.items():
        row: dict[str, Any] = {
            "pipeline": name,
            "who": who,
            "people": people[who],
            "frames_a_second": 1 / of_frame,
            "times_hpi": usual / of_frame,
            "spread": (max(taken[who]) - min(taken[who])) / of_frame,
        }
        if who in stages:
            others = stages[who]["decoding"] + stages[who]["writing"]
            bound, of_all_threads = (
                1000 * len(os.sched_getaffinity(0)) / (others + stages[who][models])
                for models in ("models", "models, all threads")
            )
            row |= {
                "stages_ms": dict(stages[who]),
                "bound": bound,
                "of_bound": 1 / of_frame / bound,
                "bound_all_threads": of_all_threads,
            }
        rows.append(row)
    return rows


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            row["pipeline"],
            row["who"],
            *(f"{row[name]:.2f}" for name in ("people", "frames_a_second", "times_hpi")),
            " + ".join(f"{row['stages_ms'][stage]:.1f}" for stage in STAGES) if "stages_ms" in row else "-",
            *(f"{row[name]:.2f}" if name in row else "-" for name in ("bound", "of_bound", "bound_all_threads")),
        ]
        for row in rows
    ]
