"""The whole pipeline and each of its stages, beside PaddleX and beside the bare models.

All take turns in one run on images that are already decoded, and the medians over all turns are compared. Several
images go through this project together and through PaddleX one by one, as its configuration has it. ``bare`` is
the detector and the keypoint model of the same runtimes, fed with ready tensors in the same batches, with nothing of
this project around them: no pipeline can be faster. rtmlib has no such detector: it gets the boxes, the same
ONNX file and ONNX Runtime, and is compared with the crops, keypoints and runtime of this project on the same boxes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from hpi import Predictor
from hpi.benchmarks import regression
from hpi.benchmarks.bare import bare_run
from hpi.benchmarks.options import (
    DetectorEntry,
    Output,
    PaddleX,
    Pipeline,
    PoseEntry,
    Rounds,
    Threads,
    TurnSeconds,
    name_and_folder,
    read_file,
)
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.peers.loop import times
from hpi.benchmarks.plots import save_stages
from hpi.compat.paddlex.config import PipelineConfig, read_pipeline
from hpi.compat.paddlex.results import paddlex_result
from hpi.errors import ConfigError
from hpi.evaluation.report import describe_models, markdown_table, write_report
from hpi.instances import Frame, Instances
from hpi.kernels.batches import split_by_count
from hpi.models.detector import Detector
from hpi.models.topdown import TopDown
from hpi.pipelines.topdown import TopDownPipeline
from hpi.sources import Image, decode_image

Turn = Callable[[float], list[float]]

ROUNDS = 7
RTMLIB, KEYPOINTS_ONLY = "rtmlib, given the boxes", "hpi, given the boxes"
HEADINGS = ("images", "people", "who", "p50 ms", "p90 ms", "p99 ms", "people a second", "times hpi")
STAGES = ("decode", "resize", "detect", "boxes", "crop", "infer", "keypoints", "result", "draw")


def main(
    images: Annotated[list[str], typer.Argument(help="Images; several joined by commas go through in one batch.")],
    detector: DetectorEntry = None,
    pose: PoseEntry = None,
    pipeline: Pipeline = "human_keypoint_detection_lite",
    backend: Annotated[str, typer.Option(help="auto, or a runtime for both models.")] = "auto",
    threads: Threads = None,
    paddlex: PaddleX = None,
    rtmlib: Annotated[Path | None, typer.Option(help="Python of an environment with rtmlib.")] = None,
    seconds: TurnSeconds = 1,
    rounds: Rounds = ROUNDS,
    output: Output = None,
    compare: regression.Baseline = None,
) -> None:
    """Time the whole pipeline and its stages, alone or beside PaddleX."""
    baseline = regression.read_run(compare) if compare else None
    config = pipeline_config(pipeline, detector, pose)
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        predictor = stack.enter_context(Predictor("", config=config, backend=backend, threads=threads))
        peers = _start_peers(stack, config, paddlex, predictor)
        if rtmlib is not None:
            peers[RTMLIB] = stack.enter_context(closing(_start_rtmlib(rtmlib, predictor)))
        versions = {name: peer.versions for name, peer in peers.items()}
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        task = progress.add_task("turns", total=len(images) * rounds)
        for group in images:
            rows += _measure(predictor, peers, group.split(","), seconds, rounds, lambda: progress.advance(task))
            if output is not None:  # what is there is kept, should the rest be interrupted
                report = {"models": describe_models(predictor), "peers": versions, "rows": rows}
                write_report(output, "Pipeline", __doc__ or "", HEADINGS, _cells(rows), report, _stage_table(rows))
                save_stages(output.with_suffix(".png"), [row for row in rows if row["who"] == "hpi"])
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), sep="\n")
    regression.guard(baseline, describe_models(predictor), rows)


def pipeline_of(predictor: Predictor) -> TopDownPipeline:
    """Detector and keypoint model of a predictor, on its first device.

    Raises:
        ConfigError: it is a single model.
    """
    pipeline = predictor.pipelines[0]
    if not isinstance(pipeline, TopDownPipeline):
        raise ConfigError(f"{predictor.name} is no pipeline of a detector and a keypoint model")
    return pipeline


def pipeline_config(pipeline: str, detector: str | None, pose: str | None) -> dict[str, Any]:
    """The pipeline's content with the models that were asked for."""
    config = read_pipeline(pipeline).model_dump(by_alias=True, exclude_none=True)
    for module, entry in (("ObjectDetection", detector), ("KeypointDetection", pose)):
        if entry is not None:
            name, folder = name_and_folder(entry)
            config["SubModules"][module] |= {"model_name": name, **({"model_dir": str(folder)} if folder else {})}
    return PipelineConfig.model_validate(config).model_dump(by_alias=True, exclude_none=True)


def _start_peers(
    stack: ExitStack, config: Mapping[str, Any], paddlex: Path | None, predictor: Predictor
) -> dict[str, Peer]:
    """PaddleX with its default threads and with ours."""
    if paddlex is None:
        return {}
    threads = predictor.describe()["models"][0]["threads"]
    settings = {"paddlex": {}, f"paddlex, {threads} threads": {"PADDLE_PDX_CPU_NUM_THREADS": str(threads)}}
    return {
        name: stack.enter_context(closing(start_paddlex(paddlex, with_folders(config, predictor), **environment)))
        for name, environment in settings.items()
    }


def _start_rtmlib(python: Path, predictor: Predictor) -> Peer:
    estimator = predictor.pipelines[0].models[-1]
    info, size = estimator.session.info, estimator.spec.input_size
    if info.model_path.suffix != ".onnx":
        raise ConfigError(f"rtmlib reads ONNX files, not {info.model_path}; choose --backend onnxruntime or openvino")
    return Peer(python, "rtmlib", {"onnx": str(info.model_path), "size": size})


def start_paddlex(python: Path, config: Mapping[str, Any], **environment: str) -> Peer:
    """PaddleX with the same pipeline; it does not probe the network for model hosts."""
    return Peer(python, "paddlex", {"pipeline": config}, PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK="True", **environment)


def with_folders(config: Mapping[str, Any], predictor: Predictor) -> dict[str, Any]:
    """The pipeline's content with the folders that its models were loaded from."""
    modules = config["SubModules"]
    folders = [model["model_dir"] for model in predictor.describe()["models"]]
    names = ("ObjectDetection", "KeypointDetection")
    filled = {name: {**modules[name], "model_dir": folder} for name, folder in zip(names, folders, strict=True)}
    return {**config, "SubModules": filled}


def _measure(
    predictor: Predictor,
    peers: Mapping[str, Peer],
    group: list[str],
    seconds: float,
    rounds: int,
    advance: Callable[[], None],
) -> list[dict[str, Any]]:
    """Rows of everyone on one group of images."""
    files = [read_file(path) for path in group]
    images = [decode_image(data, path) for data, path in zip(files, group, strict=True)]
    stages = Stages(pipeline_of(predictor))
    results = list(predictor.predict(images, batch_size=len(images)))
    people = sum(len(result["boxes"]) for result in results)
    if not people:
        raise ConfigError(f"{', '.join(group)}: nobody is found in it; give images with people")
    bare = stages.bare(images)
    turns: dict[str, Turn] = {
        "hpi": lambda s: times(lambda: list(predictor.predict(images, batch_size=len(images))), s),
        "bare": lambda s: times(bare, s),
        **{name: partial(_peer_turn, peer, people, paths=group) for name, peer in peers.items() if name != RTMLIB},
    }
    if RTMLIB in peers and len(group) == 1:
        (image,), boxes = images, np.array([one["coordinate"] for one in results[0]["boxes"]], np.float32)
        regions = Instances(np.ones(len(boxes), np.float32), boxes=boxes)
        turns[KEYPOINTS_ONLY] = lambda s: times(lambda: stages.estimator.run([image], [regions]), s)
        turns[RTMLIB] = partial(_peer_turn, peers[RTMLIB], people, path=group[0], boxes=boxes.tolist())
    taken: dict[str, list[list[float]]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            taken[name].append(turn(seconds))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            stages.run(files, group)
        advance()
    own = {RTMLIB: KEYPOINTS_ONLY}  # what a peer's times are put in relation to
    rows = [
        _row(group, people, name, of_one, float(np.median(np.concatenate(taken[own.get(name, "hpi")]))))
        for name, of_one in taken.items()
    ]
    rows[0]["stages"] = {name: float(np.median(of_one)) for name, of_one in stages.times.items()}
    return rows


def _peer_turn(peer: Peer, people: int, seconds: float, **work: Any) -> list[float]:
    answer = peer.ask(seconds=seconds, **work)
    if answer["people"] != people:
        raise RuntimeError(f"a peer finds {answer['people']} people instead of {people}: it does other work")
    milliseconds: list[float] = answer["ms"]
    return milliseconds


class Stages:
    """The pipeline, stage by stage with a clock."""

    def __init__(self, pipeline: TopDownPipeline) -> None:
        detector, estimator = pipeline.models
        assert isinstance(detector, Detector)
        assert isinstance(estimator, TopDown)
        self.detector, self.estimator = detector, estimator
        self.times: dict[str, list[float]] = {stage: [] for stage in STAGES}

    @contextmanager
    def _clock(self, stage: str) -> Any:
        start = time.perf_counter()
        yield
        self.times[stage].append(1000 * (time.perf_counter() - start))

    def run(self, files: Sequence[bytes], names: Sequence[str]) -> None:
        """From encoded images to pictures of the results."""
        detector, estimator = self.detector, self.estimator
        with self._clock("decode"):
            images = [decode_image(data, name) for data, name in zip(files, names, strict=True)]
        with self._clock("resize"):
            whole = detector.prepare(images)
            inputs = detector.feeds(whole)
        with self._clock("detect"):
            outputs = detector.outputs_of(inputs)
        with self._clock("boxes"):
            least = np.full(len(images), detector.spec.draw_threshold)
            found = detector.decode(outputs, whole, images, least)
        with self._clock("crop"):
            prepared = estimator.prepare(images, found)
        with self._clock("infer"):
            heatmaps = estimator.raw_outputs(prepared.batch)
        with self._clock("keypoints"):
            poses = estimator.decode(heatmaps, prepared)
        with self._clock("result"):
            rows = split_by_count(np.arange(len(poses)), map(len, found))
            people = [
                of_image.replaced(keypoints=poses[of_rows].keypoints, keypoint_scores=poses[of_rows].keypoint_scores)
                for of_image, of_rows in zip(found, rows, strict=True)
            ]
            frames = [Frame(image, name) for image, name in zip(images, names, strict=True)]
            pairs = zip(frames, people, strict=True)
            results = [paddlex_result(*pair, estimator.skeleton, (), detected=True) for pair in pairs]
        with self._clock("draw"):
            for result in results:
                result.plot()

    def bare(self, images: Sequence[Image]) -> Callable[[], object]:
        """The two models on the tensors that these images make."""
        detector, estimator = self.detector, self.estimator
        people = estimator.feeds(estimator.prepare(images, detector.run(images)))
        detect = bare_run(detector.session, detector.spec.files, detector.feeds(detector.prepare(images)))
        estimate = bare_run(estimator.session, estimator.spec.files, people)
        return lambda: (detect(), estimate())


def _row(group: list[str], people: int, who: str, taken: list[list[float]], ours: float) -> dict[str, Any]:
    every = np.concatenate(taken)
    p50, p90, p99 = np.percentile(every, [50, 90, 99])
    return {
        "photos": [Path(path).name for path in group],
        "people": people,
        "who": who,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "throughput": 1000 * people / float(every.mean()),
        "times_hpi": p50 / ours,
        "rounds_ms": [float(np.median(of_round)) for of_round in taken],
    }


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            _label(row),
            str(row["people"]),
            row["who"],
            *(f"{row[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms")),
            f"{row['throughput']:.0f}",
            f"{row['times_hpi']:.2f}",
        ]
        for row in rows
    ]


def _label(row: Mapping[str, Any]) -> str:
    first, *others = row["photos"]
    return f"{first} and {len(others)} more" if others else str(first)


def _stage_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The stages of this project's own runs, ms, as Markdown."""
    cells = (
        [str(row["people"]), *(f"{row['stages'][stage]:.3f}" for stage in STAGES)] for row in rows if "stages" in row
    )
    return f"Stages, ms (median):\n\n{markdown_table(('people', *STAGES), cells)}\n"
