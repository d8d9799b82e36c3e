"""What became slower between two runs of ``pipeline``, in words and as an exit code.

A machine's speed changes from run to run, so not times are compared but, round by round, the time of this project over
that of the bare models that took their turn beside it: what slows the machine down slows both. So it sees what stands
round the models: preparing, decoding, batching. What slows the bare models too, such as other settings of a runtime or
another version of it, is not seen; runs on different runtimes, variants or versions are not compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from hpi.errors import ConfigError
from hpi.evaluation.environment import describe_environment
from hpi.io.validation import parse

RESAMPLES = 10_000
CONFIDENCE = 95
TOLERANCE = 0.03
"""Two processes of the same code differ a little in ways that no round shows, such as where their memory lies."""
LEAST_ROUNDS = 5
"""Fewer rounds do not show how much they scatter."""
SAME = ("processor", "cores", "system", "onnxruntime", "openvino", "paddlepaddle", "paddle2onnx")
"""What two runs must share: a change in one of these changes the bare models too."""
STYLES = {"slower": "bold red", "faster": "green", "same": ""}


@dataclass(frozen=True)
class Change:
    """How one case changed.

    Attributes:
        case: the names of the images.
        old: median over the rounds of the time of hpi over that of the bare models.
        new: the same of the later run.
        ratio: new over old; above 1 is slower.
        low: lower end of the interval that holds the ratio with 95% confidence.
        high: its upper end.
        tolerance: what counts as no change, as a part of 1.
    """

    case: str
    old: float
    new: float
    ratio: float
    low: float
    high: float
    tolerance: float

    @property
    def verdict(self) -> Literal["slower", "faster", "same"]:
        """Slower or faster only where the whole interval is beyond the tolerance."""
        if self.low > 1 + self.tolerance:
            return "slower"
        return "faster" if self.high < 1 / (1 + self.tolerance) else "same"


class _Row(BaseModel):
    photos: list[str]
    who: str
    rounds_ms: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class _Model(BaseModel):
    model: str
    backend: str
    variant: str
    threads: int


class _Result(BaseModel):
    models: list[_Model]
    rows: list[_Row]


class Run(BaseModel):
    """The JSON of a run of ``pipeline``, as far as it matters here."""

    environment: dict[str, str]
    result: Annotated[_Result, Field(alias="rows")]


def read_run(path: str | Path) -> Run:
    """The run that a file of ``pipeline --output`` holds.

    Raises:
        ConfigError: it cannot be read, or it is no such file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse(Run, content, str(path))


Baseline = Annotated[
    Path | None, typer.Option("--compare", metavar="JSON", help="An earlier run; exit with 1 if it was faster.")
]
Tolerance = Annotated[float, typer.Option(min=0, help="Part of the time that counts as no change.")]


def main(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="The earlier run of pipeline.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The later one.")],
    tolerance: Tolerance = TOLERANCE,
) -> None:
    """Say what became slower between two runs of pipeline; exit with 1 if anything did."""
    before, after = read_run(old), read_run(new)
    _check_comparable(before, after)
    _print_changes(compare(_dump(before), _dump(after), tolerance))


def guard(baseline: Run | None, models: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Compare a run that has just ended with an earlier one; nothing without an earlier one.

    Args:
        baseline: the earlier run.
        models: what the models ran on, as in the report.
        rows: the rows of the report.

    Raises:
        ConfigError: they cannot be compared.
        typer.Exit: with 1: something is slower.
    """
    if baseline is None:
        return
    report = {"environment": describe_environment(), "rows": {"models": models, "rows": rows}}
    _check_comparable(baseline, parse(Run, report, "this run"))
    _print_changes(compare(_dump(baseline), rows))


def compare(
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Mapping[str, Any]],
    tolerance: float = TOLERANCE,
    rng: np.random.Generator | None = None,
) -> list[Change]:
    """How each case changed between the rows of two runs.

    Args:
        old: rows with ``photos``, ``who`` and ``rounds_ms``, the median of each round; those of ``hpi`` and ``bare``
            count.
        new: those of the later run.
        tolerance: what counts as no change, as a part of 1.
        rng: for the resamples; by default the same ones each time, so that a verdict can be repeated.

    Raises:
        ConfigError: the runs have different cases, or a case has too few rounds.
    """
    before, after = _ratios(old), _ratios(new)
    if lacking := sorted(before.keys() ^ after.keys()):
        raise ConfigError(f"not the same cases: {'; '.join(lacking)}: only in one of the two runs")
    if not before:
        raise ConfigError("there is nothing to compare: neither run has rows of hpi")
    rng = np.random.default_rng(0) if rng is None else rng
    return [_change(case, before[case], after[case], tolerance, rng) for case in before]


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Of each case, for each round the time of hpi over that of the bare models."""
    keys = [(", ".join(row["photos"]), row["who"]) for row in rows]
    if twice := [case for (case, _), count in Counter(keys).items() if count > 1]:
        raise ConfigError(f"{twice[0]}: several images have this name; give them different ones")
    rounds = {key: np.array(row["rounds_ms"], np.float64) for key, row in zip(keys, rows, strict=True)}
    own = {case: ours for (case, who), ours in rounds.items() if who == "hpi"}
    return {case: _ratio(case, ours, rounds.get((case, "bare"))) for case, ours in own.items()}


def _ratio(case: str, ours: NDArray[np.float64], bare: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if bare is None or len(ours) != len(bare):
        raise ConfigError(f"{case}: hpi and the bare models did not take turns; run the benchmark again")
    if len(ours) < LEAST_ROUNDS:
        raise ConfigError(f"{case}: {len(ours)} rounds are too few; {LEAST_ROUNDS} are needed")
    return ours / bare


def _change(
    case: str, old: NDArray[np.float64], new: NDArray[np.float64], tolerance: float, rng: np.random.Generator
) -> Change:
    before, after = float(np.median(old)), float(np.median(new))
    resampled = _resampled_medians(new, rng) / _resampled_medians(old, rng)
    beyond = (100 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [beyond, 100 - beyond])
    return Change(case, before, after, after / before, float(low), float(high), tolerance)


def _resampled_medians(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1))


def _check_comparable(old: Run, new: Run) -> None:
    """Ratios to the bare models are comparable on the same machine and runtimes only."""
    differing = [
        f"{name} ({old.environment.get(name)} and {new.environment.get(name)})"
        for name in SAME
        if old.environment.get(name) != new.environment.get(name)
    ]
    before, after = _said(old), _said(new)
    if before != after:
        differing.append(f"what the models run on ({before} and {after})")
    if differing:
        raise ConfigError(f"these runs cannot be compared; they differ in {'; '.join(differing)}")


def _said(run: Run) -> str:
    return ", ".join(f"{one.model}: {one.backend} {one.variant}, {one.threads} threads" for one in run.result.models)


def _dump(run: Run) -> list[dict[str, Any]]:
    return [row.model_dump() for row in run.result.rows]


def _print_changes(changes: Sequence[Change]) -> None:
    """Print what changed; exit with 1 where something is slower."""
    headings = ("images", "old/bare", "new/bare", "new/old", f"{CONFIDENCE}% interval", "verdict")
    table = Table(*headings, box=SIMPLE, pad_edge=False)
    for one in changes:
        figures = (f"{one.old:.3f}", f"{one.new:.3f}", f"{one.ratio:.3f}", f"{one.low:.3f} to {one.high:.3f}")
        table.add_row(one.case, *figures, one.verdict, style=STYLES[one.verdict])
    Console().print(table)
    if any(one.verdict == "slower" for one in changes):
        raise typer.Exit(1)
