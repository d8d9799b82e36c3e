"""What ``auto`` takes, beside the best candidate of a run."""

from __future__ import annotations

from collections.abc import Mapping

from hpi.backends.base import SessionOptions
from hpi.models.spec import ModelSpec
from hpi.selection.basis import Basis
from hpi.selection.ranking import Candidate, Request, rank

TIE = 0.05
"""Candidates whose times differ by less count as equal: two measurements of one differ by as much."""


def choice_and_best(
    spec: ModelSpec, options: SessionOptions, batch: int, basis: Basis | None, times: Mapping[Candidate, float]
) -> tuple[Candidate, Candidate]:
    """The measured candidate that ``auto`` takes where just this batch size is expected, and the fastest one.

    Args:
        spec: the model.
        options: device and threads.
        batch: the size.
        basis: measurements that ``auto`` goes by; None where there are none.
        times: of each measured candidate at this size; not empty.
    """
    ranking = rank(spec, Request(options, batches=[batch]), basis)
    auto = next(one.candidate for one in ranking if one.candidate in times)
    return auto, min(times, key=times.__getitem__)


def regret(times: Mapping[Candidate, float], chosen: Candidate) -> float:
    """The time of a choice over that of the best; 1 where they are as good as equal.

    Example:
        >>> from hpi.backends.base import Variant
        >>> times = {Candidate("onnxruntime", Variant()): 10.0, Candidate("openvino", Variant()): 10.4}
        >>> regret(times, Candidate("openvino", Variant()))
        1.0
    """
    ratio = times[chosen] / min(times.values())
    return ratio if ratio > 1 + TIE else 1.0
