"""Several callers at the same time: their threads may run on every core, and what they get is right."""

import dataclasses
import os
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from hpi.backends import BACKENDS
from hpi.backends.cpu import usable_cores

from support import BACKEND_PACKAGES, ROUNDING, float_files, missing_backend

POSE = "MoveNet-Thunder_256x256"
SIDE_BY_SIDE = [name for name in BACKEND_PACKAGES if BACKENDS[name].runs_side_by_side]

pytestmark = pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell where threads may run")


@pytest.fixture(params=SIDE_BY_SIDE)
def runtime(request):
    if reason := missing_backend(request.param):
        pytest.skip(reason)
    return BACKENDS[request.param]


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, 3, 256, 256), np.float32)


def narrow_threads():
    """The threads of this process that may run only on some of its cores, each with these."""
    allowed, narrow = os.sched_getaffinity(0), {}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            cores = os.sched_getaffinity(int(thread.name))
            if cores < allowed:
                narrow[thread.name] = cores
    return narrow


def pinned_while_running(sessions, images):
    """The threads that become narrow while each session is run by a caller of its own.

    They are looked at while they run: OpenVINO pins a thread for the time of a run only.
    """
    before, found = narrow_threads().keys(), {}
    with ThreadPoolExecutor(len(sessions)) as callers:
        runs = [callers.submit(session.run, {"image": images}) for session in sessions for _ in range(3)]
        while wait(runs, timeout=0).not_done:
            found |= narrow_threads()
    return {thread: cores for thread, cores in found.items() if thread not in before}


@pytest.mark.full
@on_linux
@pytest.mark.parametrize(("sessions", "workers"), [(2, 1), (1, 2)], ids=["two sessions", "two workers"])
def test_one_thread_for_each_of_two_callers_uses_two_cores(runtime, options, images, sessions, workers):
    """None of their threads is bound to one core, which another might have to share."""
    asked = dataclasses.replace(options, threads=1, workers=workers)
    with ExitStack() as stack:
        opened = [stack.enter_context(runtime.load(float_files(POSE), asked)) for _ in range(sessions)]
        assert pinned_while_running(opened * workers, images) == {}


@pytest.mark.full
@on_linux
def test_the_pinning_of_a_runtime_would_be_seen(options, images):
    """OpenVINO's own default binds the threads of both sessions to the same core."""
    pytest.importorskip("openvino")
    asked = dataclasses.replace(options, threads=1, backend_options={"ENABLE_CPU_PINNING": True})
    with ExitStack() as stack:
        opened = [stack.enter_context(BACKENDS["openvino"].load(float_files(POSE), asked)) for _ in range(2)]
        assert len(set(map(tuple, pinned_while_running(opened, images).values()))) == 1


@pytest.mark.full
def test_callers_get_their_own_outputs(runtime, options, rng):
    """Also more callers than the session has workers for."""
    batches = [rng.standard_normal((count, 3, 256, 256), np.float32) for count in (1, 2, 3, 1, 2, 3)]
    with runtime.load(float_files(POSE), dataclasses.replace(options, threads=1)) as alone:
        expected = [alone.run({"image": batch})[0] for batch in batches]
    for threads in (1, 2):
        asked = dataclasses.replace(options, threads=threads, workers=2)
        with runtime.load(float_files(POSE), asked) as session, ThreadPoolExecutor(3) as callers:
            assert session.info.workers == 2
            found = list(callers.map(lambda batch: session.run({"image": batch})[0], batches))
        assert max(np.abs(mine - other).max() for mine, other in zip(found, expected, strict=True)) < ROUNDING


def test_more_workers_than_cores_share_them(runtime, options):
    """OpenVINO starts no more threads than there are cores, which are then less than one for each worker."""
    asked = dataclasses.replace(options, threads=1, workers=2 * usable_cores())
    with runtime.load(float_files(POSE), asked) as session:
        assert (session.info.threads, session.info.workers) == (1, asked.workers)
