"""INT8 beside FP32: time of single images in turns, the candidates of both together, and box AP of people.

Each model is calibrated on the images of ``--images`` first. AP is that of the fastest candidate in each precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import INT8, SessionOptions
from hpi.benchmarks.options import Models, Output, Rounds, Threads, name_and_folder
from hpi.cli.tables import new_table
from hpi.evaluation.coco import CocoDataset
from hpi.evaluation.report import write_report
from hpi.models import ModelSpec, open_model
from hpi.quantization.accuracy import ap_loss, box_ap, people_in
from hpi.quantization.quantize import quantize
from hpi.selection.loading import load
from hpi.selection.measure import ROUNDS, Measurement, Protocol, measure
from hpi.zoo import Zoo

PRECISIONS = ("fp32", INT8)
HEADINGS = ("model", "candidate", "p50 ms", "p90 ms", "box AP", "loss")


def main(
    model: Models,
    images: Annotated[Path, typer.Option(help="Folder of the images to calibrate on.")],
    annotations: Annotated[Path, typer.Option(help="COCO's JSON of people.")],
    annotated_images: Annotated[Path, typer.Option("--annotated_images", help="Folder of the images that it names.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for the runs of one model.")] = 20,
    rounds: Rounds = ROUNDS,
    output: Output = None,
    threads: Threads = None,
) -> None:
    """Compare detectors in INT8 with FP32."""
    zoo, dataset = Zoo.default(), CocoDataset(annotations, annotated_images, "detector")
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for entry in model:
            spec = zoo.find(*name_and_folder(entry))
            spec = spec.with_int8(quantize(spec, images, Path(folder) / spec.name, options))
            protocol = Protocol((1,), seconds, PRECISIONS, rounds=rounds, complete=True)
            rows += _rows(spec, options, measure(spec, options, protocol), dataset)
    table = new_table(*HEADINGS)
    cells = [_cells(row) for row in rows]
    for line in cells:
        table.add_row(*line)
    Console().print(table)
    if output is not None:
        write_report(output, "INT8", __doc__ or "", HEADINGS, cells, rows)


def _rows(
    spec: ModelSpec, options: SessionOptions, measured: Sequence[Measurement], dataset: CocoDataset
) -> list[dict[str, Any]]:
    """The fastest candidate of each precision, with its AP."""
    rows, found = [], {}
    for precision in PRECISIONS:
        best = min(
            (one for one in measured if one.candidate.variant.precision == precision and one.verdict.passed),
            key=lambda one: one.median,
        )
        with load(spec, best.candidate, options) as session:
            found[precision] = people_in(open_model(spec, session), dataset)
        prior = best.row(spec.name)
        rows.append(
            {
                "model": spec.name,
                "candidate": str(best.candidate),
                "p50_ms": prior.p50_ms,
                "p90_ms": prior.p90_ms,
                "box_ap": round(box_ap(found[precision], dataset), 2),
                "verdict": best.verdict.summary,
                "loss": str(ap_loss(found["fp32"], found[precision], dataset)) if precision == INT8 else "",
            }
        )
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["model"],
        row["candidate"],
        f"{row['p50_ms']:.2f}",
        f"{row['p90_ms']:.2f}",
        f"{row['box_ap']:.1f}",
        row["loss"],
    ]
