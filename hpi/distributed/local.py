"""Doing the parts of a batch in processes of this machine. One that dies is replaced, and its part done again."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait

from hpi.backends.cpu import default_threads
from hpi.distributed.job import Job, Part, PartDone
from hpi.distributed.worker import Worker
from hpi.errors import BackendError, HpiError
from hpi.options import AUTO, read_devices

logger = logging.getLogger(__name__)

TRIES = 3
"""How often a part is tried before it is given up: its process may have been killed by chance, or by the part."""
CORES = 4
"""Of each process, where nobody says how many there are: each has its own models, and more cores gain less and less."""
ENDS_S = 5.0
"""Seconds that a process has to end by itself."""

_ADVICE = "is there enough memory? Give fewer --processes"
_spawn = multiprocessing.get_context("spawn")  # runtimes do not survive a fork

Share = tuple[int, str | None]
"""Threads and device of a process; None: as the job says."""


@dataclass(frozen=True)
class _Task:
    part: Part
    tries: int = 1

    def failed(self, why: object) -> PartDone:
        return PartDone(self.part.number, len(self.part.files), failure=str(why))


@dataclass(frozen=True)
class _Died:
    """Instead of an answer."""

    exit_code: int | None

    def __str__(self) -> str:
        code = self.exit_code or 0
        return (
            f"a process was ended by {signal.Signals(-code).name}" if code < 0 else f"a process ended with code {code}"
        )


def run_parts(job: Job, parts: Iterable[Part]) -> Generator[PartDone]:
    """Do parts in processes of this machine.

    Args:
        job: the batch; ``job.processes`` says how many.
        parts: taken one by one.

    Yields:
        What came of each part, in the order in which they end. One that has failed, or killed its process, several
        times is given up, which its ``failure`` says.

    Raises:
        HpiError: the models cannot be opened, or results cannot be written.
    """
    pool = _Pool(job, map(_Task, parts))
    try:
        while ready := pool.wait():
            for process in ready:
                yield from pool.take(process)
    finally:
        pool.stop()


def shares(job: Job) -> list[Share]:
    """What each process gets: the cores in equal shares, and the devices in turn where the job names several.

    Example:
        >>> from functools import partial
        >>> from hpi import Predictor
        >>> job = Job(("/data",), "/out", partial(Predictor, "body", device="gpu:0,1"), processes=4)
        >>> [device for _, device in shares(job)]
        ['gpu:0', 'gpu:1', 'gpu:0', 'gpu:1']
    """
    cores = default_threads()
    named = job.predictor.keywords.get("device") or AUTO
    devices = [None] if named == AUTO else read_devices(named)
    usual = len(devices) if len(devices) > 1 else max(1, cores // CORES)
    count = job.processes or usual
    return [(max(1, cores // count), devices[index % len(devices)]) for index in range(count)]


class _Process:
    """A process with a worker.

    Attributes:
        task: what it is doing; None while it opens the models.
        connection: has an answer when it is done, or dead.
    """

    def __init__(self, job: Job, share: Share) -> None:
        self.share = share
        self.task: _Task | None = None
        self.connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve, args=(theirs, job, *share), name="hpi-batch", daemon=True)
        self._process.start()
        theirs.close()  # so that its end is noticed here

    def give(self, task: _Task) -> None:
        """Let it do a part."""
        self.task = task
        with suppress(OSError):  # it has died, as the answer will say
            self.connection.send(task.part)

    def receive(self) -> PartDone | HpiError | _Died | None:
        """Its answer; None: it is ready."""
        self.task = None
        try:
            answer: PartDone | HpiError | None = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return _Died(self._process.exitcode)
        return answer

    def let_end(self) -> None:
        """There is nothing left to do."""
        self.connection.close()

    def stop(self) -> None:
        """End it now, whatever it does."""
        if not self.connection.closed:
            self._process.terminate()
            self.connection.close()
        self._process.join(ENDS_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Pool:
    """Processes, and the tasks that none of them has yet.

    Args:
        job: the batch.
        coming: the tasks, taken one by one.
    """

    def __init__(self, job: Job, coming: Iterator[_Task]) -> None:
        share = shares(job)
        self._job = job
        self._coming = coming
        self._waiting = deque(islice(coming, len(share)))
        self._started = [_Process(job, one) for one in share[: len(self._waiting)]]
        self._busy = {process.connection: process for process in self._started}
        self._deaths = 0  # one after the other, while the models were opened

    def wait(self) -> list[_Process]:
        """The processes that are done with what they did, or dead; empty when there is nothing left to do."""
        ready = wait(list(self._busy)) if self._busy else []
        return [self._busy.pop(connection) for connection in ready]  # type: ignore[call-overload]

    def take(self, process: _Process) -> Iterator[PartDone]:
        """What came of its task, unless it is tried again; then it goes on, or another one in its place."""
        task, answer = process.task, process.receive()
        if isinstance(answer, HpiError):
            raise answer
        died = isinstance(answer, _Died)
        self._deaths = self._deaths + 1 if died and task is None else 0
        if self._deaths == TRIES:
            raise BackendError(f"{answer}, {TRIES} times, while it opened the models; {_ADVICE}")
        if task is not None:
            done = answer if isinstance(answer, PartDone) else task.failed(answer)
            if done.failure is None or task.tries == TRIES:
                yield done
            else:
                logger.warning("part %d is done again: %s", task.part.number, done.failure)
                self._waiting.append(_Task(task.part, task.tries + 1))
        if died:
            self._replace(process)
        else:
            self._go_on(process)

    def stop(self) -> None:
        """End all processes now, whatever they do."""
        for process in self._started:
            process.stop()

    def _replace(self, process: _Process) -> None:
        another = _Process(self._job, process.share)
        self._started.append(another)
        self._busy[another.connection] = another

    def _go_on(self, process: _Process) -> None:
        task = self._waiting.popleft() if self._waiting else next(self._coming, None)
        if task is None:
            process.let_end()
        else:
            process.give(task)
            self._busy[process.connection] = process


# In the process.


def _serve(connection: Connection, job: Job, threads: int, device: str | None) -> None:
    """Open the models, then do part after part until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no file is left half written
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with Worker(job, threads=threads, device=device) as worker:
            connection.send(None)
            while True:
                part = connection.recv()
                connection.send(worker.attempt(part))
    except EOFError:
        pass
    except HpiError as error:
        connection.send(error)


def _end_with_parent() -> None:
    """A killed driver must not leave processes behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
