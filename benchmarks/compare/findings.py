"""What a comparison finds out: every candidate's figures, what ``auto`` takes, and where the pipeline's time goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hpi.benchmarks.compare.starts import ColdStart
from hpi.selection.parity import Verdict
from hpi.selection.priors import Prior


@dataclass(frozen=True)
class Entrant:
    """A candidate of a model, as far as the batch makes no difference.

    Attributes:
        verdict: of the parity gate.
        start: None where it is not measured.
        ap: percent; None without a dataset.
    """

    model: str
    candidate: str
    version: str
    threads: int
    verdict: Verdict
    start: ColdStart | None = None
    ap: float | None = None


@dataclass(frozen=True)
class Pick:
    """The automatic choice for a batch size, beside the best candidate of this run."""

    model: str
    batch: int
    auto: str
    auto_ms: float
    best: str
    best_ms: float

    @property
    def regret(self) -> float:
        """Time of the choice over that of the best."""
        return self.auto_ms / self.best_ms


@dataclass(frozen=True)
class Breakdown:
    """Milliseconds (median) of each stage of the pipeline, with a runtime that was asked for.

    Attributes:
        asked: a runtime's name, or ``auto``.
        runs_on: runtime and variant of the detector and of the keypoint model.
        stages: in their order.
    """

    asked: str
    runs_on: tuple[str, ...]
    stages: Mapping[str, float]


@dataclass
class Findings:
    """All that is known so far.

    Attributes:
        rows: the figures of each candidate at each batch size.
        entrants: by model and candidate.
        failures: model, candidate, reason.
    """

    rows: list[Prior] = field(default_factory=list)
    entrants: dict[tuple[str, str], Entrant] = field(default_factory=dict)
    picks: list[Pick] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """In plain types."""
        return {
            "rows": [row.model_dump(exclude_none=True) for row in self.rows],
            "candidates": [asdict(entrant) for entrant in self.entrants.values()],
            "auto": [{**asdict(pick), "regret": pick.regret} for pick in self.picks],
            "stages": [asdict(breakdown) for breakdown in self.breakdowns],
            "failures": self.failures,
        }


def candidate_of(row: Prior) -> str:
    """The name of the candidate that a row is of."""
    return f"{row.backend} {row.variant}"
