"""From the start of the process to the saved result: ``hpi predict`` on one image with warm caches.

The breakdown comes from the same steps in a Python process with a clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi.benchmarks.options import Output, Pipeline
from hpi.evaluation.report import write_report

HEADINGS = ("step", "ms (median)")

_STEPS = """
import sys, time
marks = [time.time()]
def mark(): marks.append(time.time())
from hpi.cli.app import app
mark()
from hpi.cli import predict
from hpi.predictor import Predictor
mark()
predictor = Predictor(sys.argv[1])
mark()
(result,) = predictor.predict(sys.argv[2])
mark()
result.save_to_json(sys.argv[3])
result.save_to_img(sys.argv[3])
mark()
import json
print(json.dumps(marks))
"""
_NAMES = ("start Python", "import the command line", "import the engine", "load the models", "predict", "save")


def main(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An image.")],
    pipeline: Pipeline = "human_keypoint_detection_lite",
    runs: Annotated[int, typer.Option(min=1, help="Processes of each kind.")] = 11,
    output: Output = None,
) -> None:
    """Time the start of the command line."""
    whole, steps = [], []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hpi", "predict", str(image), "--pipeline", pipeline, "--save_path", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for _ in track(range(runs), description="processes", console=Console(stderr=True)):
            start = time.time()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            whole.append(1000 * (time.time() - start))
            steps.append(_steps(pipeline, image, folder))
    medians = dict(zip(_NAMES, np.median(steps, axis=0).tolist(), strict=True))
    rows = {"hpi predict, whole": float(np.median(whole)), **medians}
    cells = [[name, f"{milliseconds:.0f}"] for name, milliseconds in rows.items()]
    Console().print(*(" | ".join(line) for line in cells), sep="\n")
    if output is not None:
        write_report(output, "Start", __doc__ or "", HEADINGS, cells, {"whole_ms": whole, "steps_ms": steps})


def _steps(pipeline: str, image: Path, folder: str) -> list[float]:
    """Milliseconds of each step of one process."""
    start = time.time()
    command = [sys.executable, "-c", _STEPS, pipeline, str(image), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    marks = [start, *json.loads(done.stdout.splitlines()[-1])]
    return [1000 * (after - before) for before, after in pairwise(marks)]
