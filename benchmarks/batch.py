"""A folder through ``hpi batch``, beside ``hpi predict``: images a second of whole commands that take turns.

Each command starts anew, opens its models and ends; what it starts with is measured by a folder of one image and taken
off, so that the rates are those of a long run. ``hpi predict`` prints JSON, and saves nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi import Predictor
from hpi.benchmarks.options import Output, Pipeline, Rounds
from hpi.evaluation.report import describe_models, write_report

HEADINGS = ("command", "images a second", "of hpi predict", "s to start and end")


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of images.")],
    pipeline: Pipeline = "human_keypoint_detection_lite",
    images: Annotated[int, typer.Option(min=2, help="Images of a run; the folder is repeated.")] = 2000,
    processes: Annotated[
        list[int] | None, typer.Option(min=1, help="Of hpi batch; repeat for several. By default 1 and 2.")
    ] = None,
    rounds: Rounds = 3,
    output: Output = None,
) -> None:
    """Time hpi batch beside hpi predict on the same folder."""
    with Predictor(pipeline, objective="throughput") as predictor:
        models = describe_models(predictor)
    commands = {"hpi predict": ("predict", "--json", "--quiet")} | {
        f"hpi batch, {count} process{'es' if count > 1 else ''}": ("batch", "--processes", f"{count}")
        for count in processes or (1, 2)
    }
    with tempfile.TemporaryDirectory(prefix="hpi-batch-") as work:
        many, one = repeated(folder, Path(work) / "many", images), repeated(folder, Path(work) / "one", 1)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in track(range(rounds), description="rounds", console=Console(stderr=True)):
            for name, command in commands.items():
                start = _seconds(command, pipeline, one, Path(work))
                seconds[name].append((start, _seconds(command, pipeline, many, Path(work)) - start))
    rates = {name: [(images - 1) / run for _, run in turns] for name, turns in seconds.items()}
    median = {name: float(np.median(of_one)) for name, of_one in rates.items()}
    ratios = {name: float(np.median(np.divide(rates[name], rates["hpi predict"]))) for name in commands}
    starts = {name: float(np.median([start for start, _ in turns])) for name, turns in seconds.items()}
    cells = [[name, f"{median[name]:.1f}", f"{ratios[name]:.2f}", f"{starts[name]:.1f}"] for name in commands]
    Console().print(*(" | ".join(line) for line in [HEADINGS, *cells]), sep="\n")
    if output is not None:
        report = {"models": models, "images": images, "rates": rates, "starts": starts}
        write_report(output, "Batch", __doc__ or "", HEADINGS, cells, report)


def repeated(folder: Path, target: Path, count: int) -> Path:
    """A folder of as many images, which are links to those of another."""
    files = [file.absolute() for file in sorted(folder.rglob("*")) if file.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    if not files:
        raise typer.BadParameter(f"{folder}: no JPEG or PNG in it")
    target.mkdir()
    for number in range(count):
        file = files[number % len(files)]
        (target / f"{number:07d}{file.suffix}").symlink_to(file)
    return target


def _seconds(command: Sequence[str], pipeline: str, folder: Path, work: Path) -> float:
    """Seconds of a command."""
    output = work / "output"
    where = ("--output", str(output)) if command[0] == "batch" else ()
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hpi", *command, str(folder), *where, "--pipeline", pipeline],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"HPI_CALIBRATE": "0"},
        check=True,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(output, ignore_errors=True)
    return seconds
