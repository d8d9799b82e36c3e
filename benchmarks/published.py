"""The tables of PaddleX's pages for this pipeline, on this machine.

Times are of the model alone (ready tensors in, arrays out), batch 1, FP32, medians in ms, normal / high-performance
mode. Normal is Paddle Inference without acceleration (on CPUs without oneDNN, which the published figures of PP-YOLOE
seem to have used), high-performance what ``auto`` chooses
by default, named in its column. The two take turns in one run, each turn after a pause and a call to warm up.

The published times are PaddleX's: Tesla T4, Xeon Gold 6271C, 8 threads, FP32, Ubuntu 20.04, CUDA 11.8, cuDNN 8.9,
TensorRT 8.6.1.6 (those of PP-YOLOE-L_human: TensorRT 8.5). AP is the published one, of the official weights: on
CrowdHuman for PP-YOLOE, on COCO val2017 with ground-truth boxes for PP-TinyPose. MB are those of the model's files.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import Session, SessionOptions, device_kind
from hpi.backends.gpu import gpu_count, gpu_of
from hpi.backends.paddle import Paddle, PlainPaddle
from hpi.benchmarks.options import Output, Rounds, Threads, TurnSeconds, name_and_folder
from hpi.benchmarks.peers.loop import times
from hpi.errors import ConfigError, HpiError
from hpi.evaluation.report import markdown_list, write_report
from hpi.io.archives import unpack
from hpi.models import open_model
from hpi.models.spec import ModelSpec
from hpi.selection.choice import choose
from hpi.selection.measure import SETTLE_S
from hpi.selection.priors import Priors
from hpi.selection.ranking import Request
from hpi.zoo import Zoo

logger = logging.getLogger(__name__)

MODELS = ("PP-YOLOE-S_human", "PP-YOLOE-L_human", "PP-TinyPose_128x96", "PP-TinyPose_256x192")
ROUNDS = 8
GPU = "gpu:0"
HEADINGS = (
    "model",
    "AP",
    "GPU, ms",
    "GPU, published",
    "CPU, ms",
    "CPU, published",
    "high-performance mode",
    "MB",
    "weights",
)


class Weights(str, Enum):
    """What may stand in for weights that are not on this machine."""

    official = "official"
    random = "random"


def main(
    model: Annotated[list[str], typer.Option(help="Name, or NAME=FOLDER; repeat for several.")] = list(MODELS),  # noqa: B006
    weights: Annotated[
        Weights, typer.Option(help="random: models that are not here are taken from --archives, for their times.")
    ] = Weights.official,
    archives: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of NAME_infer.tar.xz, random weights.")
    ] = None,
    threads: Threads = None,
    seconds: TurnSeconds = 2,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """PaddleX's published tables of this pipeline's models, measured here. Rows are kept after each model."""
    if (weights is Weights.random) != (archives is not None):
        raise ConfigError("--weights random and --archives belong together")
    zoo = Zoo.default()
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    devices = ["cpu", GPU] if gpu_count() else ["cpu"]
    rows: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(model) * len(devices) * rounds)
        for entry in model:
            with _find(zoo, entry, archives) as (spec, origin):
                progress.update(task, description=spec.name)
                row = _facts(zoo, spec, origin)
                for device in devices:
                    on_device = replace(options, device=device)
                    modes = _measure(zoo, spec, on_device, seconds, rounds, lambda: progress.advance(task))
                    row["measured"][device_kind(device)] = modes
            rows.append(row)
            if output is not None:  # what is there is kept, should the rest be interrupted
                where = _environment(options, devices)
                cells = [_cells(row) for row in rows]
                report = {**where, "models": rows}
                write_report(
                    output,
                    "PaddleX's tables, on this machine",
                    __doc__ or "",
                    HEADINGS,
                    cells,
                    report,
                    markdown_list(where),
                )
    Console().print(*(" | ".join(_cells(row)) for row in rows), sep="\n", soft_wrap=True)


@contextmanager
def _find(zoo: Zoo, entry: str, archives: Path | None) -> Iterator[tuple[ModelSpec, str]]:
    """A model, and where its weights come from."""
    name, folder = name_and_folder(entry)
    archive = archives / f"{name}_infer.tar.xz" if archives else None
    here = folder is not None or (name in zoo.models and zoo.cached(name) is not None)
    if here or archive is None or not archive.is_file():
        yield zoo.find(name, folder), "given" if folder else "official"
        return
    with tempfile.TemporaryDirectory() as unpacked:
        unpack(archive, Path(unpacked))
        yield zoo.find(name, Path(unpacked)), "random weights"


def _facts(zoo: Zoo, spec: ModelSpec, weights: str) -> dict[str, Any]:
    """What is known of a model before it is measured."""
    config = zoo.models.get(spec.name)
    accuracy = config.accuracy if config else None
    return {
        "model": spec.name,
        "ap": accuracy.value if accuracy and accuracy.by == "PaddleX" else None,
        "weights": weights,
        "megabytes": _megabytes(spec),
        "published": {kind: _published(zoo, spec.name, kind) for kind in ("cpu", "gpu")},
        "measured": {},
    }


def _megabytes(spec: ModelSpec) -> float:
    paddle, onnx = spec.files.paddle, spec.files.onnx
    files: list[Path | None] = [paddle.program, paddle.params] if paddle else [onnx]
    return sum(file.stat().st_size / 1e6 for file in (spec.yml, *files) if file)


def _published(zoo: Zoo, model: str, kind: str) -> dict[str, float]:
    """PaddleX's milliseconds in ``normal`` and ``high`` mode; without those that its pages do not have."""
    rows = [row for row in Priors(zoo.own_priors).shipped if (row.model, row.source) == (model, "published")]
    return {"normal" if row.backend == Paddle.name else "high": row.p50_ms for row in rows if row.device.kind == kind}


def _measure(
    zoo: Zoo, spec: ModelSpec, options: SessionOptions, seconds: float, rounds: int, advance: Callable[[], None]
) -> dict[str, dict[str, Any]]:
    """Both modes in turn: for each that works here what it runs on, and its times."""
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        runs, names = {}, {}
        for mode, start in {"normal": _start_normal, "high": _start_high}.items():
            try:
                session = stack.enter_context(start(zoo, spec, options))
            except HpiError as error:
                logger.warning("%s on %s: no %s mode: %s", spec.name, options.device, mode, error)
            else:
                runs[mode] = stack.enter_context(_model_run(spec, session))
                version = session.info.version.split("-")[0]  # OpenVINO's is followed by its build
                names[mode] = f"{session.info.backend} {version}, {session.info.variant}"
        for _ in range(rounds):
            for mode, run in runs.items():
                time.sleep(SETTLE_S)
                taken.setdefault(mode, []).extend(times(run, seconds))
            advance()
    return {mode: {"runs_on": names[mode], **_summary(of_one)} for mode, of_one in taken.items()}


def _summary(milliseconds: Sequence[float]) -> dict[str, float]:
    p50, p90 = np.percentile(milliseconds, [50, 90]).tolist()
    return {"ms": p50, "p90_ms": p90, "min_ms": min(milliseconds), "runs": len(milliseconds)}


def _start_normal(zoo: Zoo, spec: ModelSpec, options: SessionOptions) -> Session:
    del zoo
    paddle = PlainPaddle() if options.device == "cpu" else Paddle()
    return paddle.load(spec.files, options)


def _start_high(zoo: Zoo, spec: ModelSpec, options: SessionOptions) -> Session:
    return choose(spec, Request(options), Priors(zoo.own_priors)).session


@contextmanager
def _model_run(spec: ModelSpec, session: Session) -> Iterator[Callable[[], object]]:
    """A call that runs the model alone on the tensors of one real image or person, to its end."""
    model = open_model(spec, session)
    with model.device.active():
        feeds = model.feeds(model.prepare(*model.example_inputs(1)))

        def run() -> None:
            session.run(feeds)
            model.device.wait()

        yield run


def _environment(options: SessionOptions, devices: Sequence[str]) -> dict[str, str]:
    gpu = str(gpu_of(GPU)) if GPU in devices else "-"
    return {"gpu": gpu, "threads": str(options.thread_count), "precision": "FP32", "batch": "1"}


def _cells(row: dict[str, Any]) -> list[str]:
    measured, published = row["measured"], row["published"]
    times_of = {kind: {mode: one["ms"] for mode, one in modes.items()} for kind, modes in measured.items()}
    chosen = [modes["high"]["runs_on"] for modes in measured.values() if "high" in modes]
    return [
        row["model"],
        "-" if row["ap"] is None else f"{row['ap']:.1f}",
        _pair(times_of.get("gpu", {})),
        _pair(published["gpu"]),
        _pair(times_of.get("cpu", {})),
        _pair(published["cpu"]),
        "; ".join(chosen),
        f"{row['megabytes']:.1f}",
        row["weights"],
    ]


def _pair(modes: dict[str, float]) -> str:
    """``normal / high``; ``-`` for what there is not."""
    if not modes:
        return "-"
    return " / ".join(f"{modes[mode]:.2f}" if mode in modes else "-" for mode in ("normal", "high"))
