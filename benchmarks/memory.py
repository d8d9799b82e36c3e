"""Memory of processes."""

from __future__ import annotations

import os
from pathlib import Path


def resident_mb(process: int) -> float:
    """Memory of a process that is in RAM now, MB; on Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
