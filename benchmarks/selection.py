"""How good the automatic choice is.

For every model and batch size the candidates in FP32 are measured in turn in one run. The regret of a choice is its
time over that of the best candidate of this run, and 1 where that is within 5%. Compared are the choice by the shipped
priors, that after the calibration of a first start, in a home folder of its own for each row, and PaddleX's static
order, which begins with OpenVINO (dynamic batch) for all these models on a CPU. Rows with a regret above 1.2 are
measured once more, alone; what is reported is the second measurement, with the reason beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, Variant
from hpi.backends.cpu import this_cpu
from hpi.backends.paddle_to_onnx import ensure_onnx
from hpi.benchmarks.options import Models, Output, Rounds, Threads, name_and_folder
from hpi.benchmarks.regret import TIE, choice_and_best, regret
from hpi.evaluation.report import write_report
from hpi.models.spec import ModelSpec
from hpi.selection.basis import Basis
from hpi.selection.calibration import Calibration
from hpi.selection.measure import LOSES_AT, SETTLE_S, Protocol, measure
from hpi.selection.priors import CpuClass, Prior, Priors
from hpi.selection.ranking import Candidate, Request
from hpi.zoo import Zoo

STATIC_CHOICE = Candidate("openvino", Variant())
AGAIN_ABOVE = 1.2
HEADINGS = (
    "model", "batch", "best", "ms", "priors", "regret", "calibrated", "regret", "static regret", "first s", "second ms",
    "reason",
)  # fmt: skip


class Without(str, Enum):
    """Shipped priors that are not used."""

    NOTHING = "nothing"
    CLASS = "class"
    MODEL = "model"


@dataclass(frozen=True)
class Row:
    """The choices for a model at a batch size; times in ms, the costs of calibration in seconds."""

    model: str
    batch: int
    best: str
    best_ms: float
    priors: str
    priors_regret: float
    calibrated: str
    calibrated_regret: float
    static_regret: float
    first_s: float
    second_s: float
    reason: str

    def cells(self) -> list[str]:
        """What stands under :data:`HEADINGS`."""
        return [
            self.model,
            str(self.batch),
            self.best,
            f"{self.best_ms:.2f}",
            self.priors,
            f"{self.priors_regret:.2f}",
            self.calibrated,
            f"{self.calibrated_regret:.2f}",
            f"{self.static_regret:.2f}",
            f"{self.first_s:.2f}",
            f"{1000 * self.second_s:.0f}",
            self.reason,
        ]


def main(
    model: Models,
    batch: Annotated[list[int], typer.Option(help="Batch size; repeat for several.")] = [1, 2, 4, 8, 16],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time for the runs of one model and batch.")] = 2,
    longest: Annotated[
        float, typer.Option(help="Leave out batches for which the best candidate would need more than these seconds.")
    ] = 1,
    rounds: Rounds = 5,
    threads: Threads = None,
    without: Annotated[
        Without,
        typer.Option(
            help="Shipped priors to leave out: those of this machine's class, as on an unknown machine, or of the "
            "model, as for one of your own."
        ),
    ] = Without.NOTHING,
    output: Output = None,
) -> None:
    """Measure the regret of the automatic choice."""
    zoo, console = Zoo.default(), Console()
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    here, rows = CpuClass.of(this_cpu()), list[Row]()
    for entry in model:
        name, folder = name_and_folder(entry)
        spec, item_ms = zoo.find(name, folder), 0.0
        left_out: dict[Without, Callable[[Prior], bool]] = {
            Without.NOTHING: lambda _: False,
            Without.CLASS: lambda row: row.device == here,
            Without.MODEL: lambda row, name=name: row.model == name,  # type: ignore[misc]
        }
        for size in sorted(batch):
            if item_ms * size > 1000 * longest:
                console.print(f"{name}, batch {size}: left out, a run would take {item_ms * size / 1000:.1f} s")
                continue
            row = _row(
                spec, options, Protocol([size], seconds, ("fp32",), rounds=rounds, complete=True), left_out[without]
            )
            item_ms = row.best_ms / size
            rows.append(row)
            console.print(" ".join(row.cells()))
            if output is not None:  # what is there is kept, should the rest be interrupted
                _write(output, rows, without)
    console.print(_summary(rows, without))


def _write(output: Path, rows: Sequence[Row], without: Without) -> None:
    about = f"{__doc__}\n{_summary(rows, without)}\n"
    write_report(output, "Regret", about, HEADINGS, [row.cells() for row in rows], [asdict(row) for row in rows])


def _row(spec: ModelSpec, options: SessionOptions, protocol: Protocol, leaves_out: Callable[[Prior], bool]) -> Row:
    """Measure the candidates at one batch size, choose, and measure again where the choice was bad."""
    (size,) = protocol.batches
    ensure_onnx(spec.files, options.artifacts)  # once for all rows
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "onnx").symlink_to(options.artifacts.root / "onnx")
        priors = Priors(home / "priors.json", leaves_out)
        request = Request(replace(options, artifacts=ArtifactCache(home)), batches=[size])

        def basis_now() -> Basis | None:
            return priors.basis(spec.name, CpuClass.of(this_cpu()), options.thread_count)

        before = basis_now()
        first_s = _calibrate(spec, request, priors)
        second_s = _calibrate(spec, request, priors)
        after = basis_now()
        times = _times(spec, options, protocol)
        by_priors, best = choice_and_best(spec, options, size, before, times)
        calibrated, _ = choice_and_best(spec, options, size, after, times)
        reason = ""
        if regret(times, calibrated) > AGAIN_ABOVE:
            reason = f"first {regret(times, calibrated):.2f}; {_how_calibrated(priors.own(), size)}"
            times = _times(spec, options, protocol)
            best = min(times, key=times.__getitem__)
    return Row(
        model=spec.name,
        batch=size,
        best=str(best),
        best_ms=times[best],
        priors=str(by_priors),
        priors_regret=regret(times, by_priors),
        calibrated=str(calibrated),
        calibrated_regret=regret(times, calibrated),
        static_regret=regret(times, STATIC_CHOICE),
        first_s=first_s,
        second_s=second_s,
        reason=reason,
    )


def _times(spec: ModelSpec, options: SessionOptions, protocol: Protocol) -> dict[Candidate, float]:
    measured = measure(spec, options, replace(protocol, loses_at=LOSES_AT))
    return {one.candidate: one.median for one in measured if one.verdict.passed}


def _calibrate(spec: ModelSpec, request: Request, priors: Priors) -> float:
    """Calibrate as a start does; returns the seconds that it takes.

    A start has no threads of earlier measurements, which go on spinning for a while.
    """
    time.sleep(SETTLE_S)
    began = time.perf_counter()
    Calibration().calibrate(spec, request, priors)
    return time.perf_counter() - began


def _how_calibrated(own: Sequence[Prior], size: int) -> str:
    """What a calibration has measured, for the reason of a bad choice."""
    if not own:
        return "not calibrated: not due, or other programs used the CPU"
    if len(own) == 1:
        return "no time to compare"
    compared = ", ".join(f"{row.backend} {row.variant} {row.p50_ms:.3g} ms" for row in own)
    return f"at batch {own[0].batch}: {compared}"


def _summary(rows: Sequence[Row], without: Without) -> str:
    parts = []
    for name, regrets in (
        ("priors alone", [row.priors_regret for row in rows]),
        ("after calibration", [row.calibrated_regret for row in rows]),
        ("PaddleX's static order", [row.static_regret for row in rows]),
    ):
        p50, p95, worst = median(regrets), np.percentile(regrets, 95), max(regrets)
        parts.append(f"{name}: median regret {p50:.3f}, 95th percentile {p95:.3f}, worst {worst:.3f}")
    first, second = ([getattr(row, name) for row in rows] for name in ("first_s", "second_s"))
    cost = (
        f"calibration takes {median(first):.2f} s, at most {max(first):.2f} s, then {1000 * max(second):.0f} ms at most"
    )
    return f"Without {without.value}, within {TIE:.0%} a tie. {'; '.join(parts)}; {cost}."
