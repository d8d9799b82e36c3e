"""Memory of processes over the work that they do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def resident_mb(process: int) -> float:
    """Memory of a process that is in RAM now, MB; on Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(megabytes: Sequence[float], step: int, work: str) -> str:
    """How much memory a process has after a tenth of its work and at the end, in a sentence.

    Args:
        megabytes: after each step of the work, at least one.
        step: how much work a step is.
        work: what it is, such as ``"requests"``.

    Example:
        >>> growth([100.0, 110.0, 110.4], 24, "requests")
        'Resident memory after 24 and after 72 requests: 100 and 110 MB.'
    """
    tenth = max(1, len(megabytes) // 10)
    early, late = megabytes[tenth - 1], megabytes[-1]
    counts = f"{step * tenth} and after {step * len(megabytes)} {work}"
    return f"Resident memory after {counts}: {early:.0f} and {late:.0f} MB."
