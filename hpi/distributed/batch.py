"""A batch from its sources to its results: the plan, what is done of it already, the parts that are left."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hpi.distributed.inputs import check_there, cut, list_files
from hpi.distributed.job import Job, Part, PartDone
from hpi.distributed.output import Output
from hpi.distributed.plan import Plan, write_plan
from hpi.distributed.shards import ERROR, IMAGES, PEOPLE, require_pyarrow
from hpi.errors import ConfigError, InputError

logger = logging.getLogger(__name__)

JOB = "job.json"
"""Written after the plan: where it is, the plan is whole."""
LOCK = ".lock"

_PART = re.compile(r"part-(\d+)\.parquet")


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        files: of all parts.
        files_done: of the parts that are done, in this run or before.
        last: the part that came last; None at the beginning.
    """

    files: int
    files_done: int
    last: PartDone | None = None


@dataclass(frozen=True)
class Summary:
    """What a batch has come to, all runs together.

    Attributes:
        images: rows of the manifest.
        people: rows of the tables.
        errors: images that could not be used.
        parts: all that there are.
        done_before: parts that earlier runs have done.
        failures: the parts that this run has given up, and why.
    """

    images: int
    people: int
    errors: int
    parts: int
    done_before: int
    failures: list[PartDone] = field(default_factory=list)


def run_batch(job: Job, on_progress: Callable[[Progress], None] = lambda _: None) -> Summary:
    """Run a batch; where the output has a part of it already, do the rest.

    Args:
        job: the batch.
        on_progress: called at the beginning, and after each part.

    Raises:
        ConfigError: the output is that of another batch, or has other files where the results go.
        InputError: a source has no files, or the output cannot be written.
        HpiError: the models cannot be opened.

    Example:
        >>> import tempfile
        >>> from functools import partial
        >>> from hpi import Predictor
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     run_batch(Job(("examples/*.png",), folder, partial(Predictor, "human_keypoint_detection_lite")))
        Summary(images=1, people=2, errors=0, parts=1, done_before=0, failures=[])
    """
    require_pyarrow()
    output = Output(job.output)
    output.check()
    with _alone(output):
        _check_same(output, job)
        output.clean(PEOPLE, IMAGES)
        if not output.exists(JOB):
            check_there(job.sources)
            job.predictor().close()  # what is wrong with the models is said before any file is listed
            write_plan(output, cut(list_files(job.sources), job.part_size))
            with output.written(JOB) as path:
                path.write_text(json.dumps(job.identity, indent=1), encoding="utf-8")
        failures = []
        with Plan(output) as plan:
            done = _parts_done(output)
            before, files = len(done), plan.size_of(done)
            on_progress(Progress(plan.files, files))
            with closing(_run_parts(job, plan.without(done))) as running:
                for part in running:
                    if part.failure is None:
                        files += part.files
                    else:
                        failures.append(part)
                    on_progress(Progress(plan.files, files, part))
        output.clean(PEOPLE, IMAGES)  # of processes that died in this run
        return Summary(*_totals(output), plan.parts, before, failures)


def _run_parts(job: Job, parts: Iterable[Part]) -> Generator[PartDone]:
    """Do parts on this machine, or on a Ray cluster."""
    if job.ray is None:
        from hpi.distributed.local import run_parts
    else:
        from hpi.distributed.ray_data import run_parts
    return run_parts(job, parts)


def _check_same(output: Output, job: Job) -> None:
    """Check that an output is new, or that of the same job.

    Raises:
        ConfigError: it is not; says what differs.
    """
    if not output.exists(JOB):
        for folder in (PEOPLE, IMAGES):
            if output.names(folder):  # such as the pictures themselves, with --output .
                raise ConfigError(
                    f"{output.address}/{folder}: has other files; give another --output, such as a new folder"
                )
        return
    with output.open(JOB) as file:
        try:
            before = dict(json.loads(file.read()))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{output.address}/{JOB}: is damaged; give another output") from error
    if different := [name for name, value in job.identity.items() if before.get(name) != value]:
        lines = (f"{name} was {before.get(name)!r}, and is {job.identity[name]!r}" for name in different)
        raise ConfigError(
            f"{output.address}: has the results of another batch: {'; '.join(lines)}. Give another --output, "
            "or the same arguments to go on with that batch"
        )


def _parts_done(output: Output) -> set[int]:
    """The parts whose images are written, which comes last."""
    return {int(found[1]) for name in output.names(IMAGES) if (found := _PART.fullmatch(name))}


def _totals(output: Output) -> tuple[int, int, int]:
    """Images, people and errors in the manifest.

    Raises:
        InputError: a file of it is damaged.
    """
    pyarrow, _ = require_pyarrow()
    images = people = errors = 0
    if _parts_done(output):
        try:
            for rows in output.dataset(IMAGES).to_batches(columns=["status", "people"]):
                images += rows.num_rows
                people += sum(rows["people"].to_pylist())
                errors += rows["status"].to_pylist().count(ERROR)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(
                f"{output.address}/{IMAGES}: a file cannot be read; remove it, and the same command does its part "
                f"again: {error}"
            ) from error
    return images, people, errors


@contextmanager
def _alone(output: Output) -> Generator[None]:
    """No other run on this machine writes there meanwhile. Two would write the same rows, and do all the work twice.

    Raises:
        InputError: another run does.
    """
    from filelock import FileLock, Timeout

    if output.is_remote:
        yield
        return
    try:
        with FileLock(Path(output.address) / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise InputError(f"{output.address}: another hpi batch is writing there; wait for it, or stop it") from error
