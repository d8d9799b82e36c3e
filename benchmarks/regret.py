"""What ``auto`` takes, beside the best candidate of a run."""

from __future__ import annotations

from collections.abc import Mapping

from hpi.backends.base import SessionOptions
from hpi.models.spec import ModelSpec
from hpi.selection.choice import Candidate, Request, rank
from hpi.selection.priors import Basis


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
