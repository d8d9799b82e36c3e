"""The memory that a candidate needs, measured in a process of its own.

In one process the runtimes share libraries and allocators, and the peak of one hides that of the next.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpi.backends import BACKENDS
from hpi.backends.base import SessionOptions
from hpi.backends.messages import summarize
from hpi.errors import BackendError
from hpi.models.spec import ModelSpec
from hpi.selection.parity import example_run
from hpi.selection.ranking import Candidate

TIMEOUT_S = 600
STATUS = Path("/proc/self/status")

# Without the working folder on the path, since files in it could pass for the modules.
_SCRIPT = """
import sys
sys.path = [folder for folder in sys.path if folder]
from hpi.selection.memory import main
main()
"""


def peak_memory(
    spec: ModelSpec, candidate: Candidate, options: SessionOptions, batches: Sequence[int]
) -> dict[int, float]:
    """Peak growth of a process that loads a candidate and runs batches of increasing size.

    This is memory of the host, also for what runs on a GPU.

    Returns:
        MB for each batch size; empty outside Linux.

    Raises:
        BackendError: the process failed.
    """
    if not STATUS.is_file():
        return {}
    # The model as it is here, since its files alone may not say what the caller has said of it.
    request = pickle.dumps((spec, candidate, options, sorted(batches)))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT], input=request, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{spec.name} on {candidate}: its memory took more than {TIMEOUT_S} s to measure") from error
    if done.returncode != 0:
        reason = summarize(done.stderr.decode(errors="replace"))
        raise BackendError(f"{spec.name} on {candidate}: its memory cannot be measured: {reason}")
    return {int(batch): megabytes for batch, megabytes in json.loads(done.stdout.splitlines()[-1]).items()}


def main() -> None:
    """Load and run the candidate that :func:`peak_memory` has written to stdin; print MB by batch size as JSON."""
    spec, candidate, options, batches = pickle.load(sys.stdin.buffer)
    backend = BACKENDS[candidate.backend]
    before, peaks = peak_mb(), {}
    with backend.load(spec.files, replace(options, variant=candidate.variant)) as session:
        for batch in batches:
            run = example_run(spec, session, batch)
            run()
            run()
            peaks[batch] = round(peak_mb() - before, 1)
    print(json.dumps(peaks))  # noqa: T201


def peak_mb() -> float:
    """The most memory that this process has had in RAM, MB; on Linux."""
    # Not getrusage: its peak is inherited from the process that started this one.
    peak = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 / 1e6
