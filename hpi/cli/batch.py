"""``hpi batch``: progress, and what it came to."""

from __future__ import annotations

import sys
import time

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hpi.distributed.batch import Progress, Summary, run_batch
from hpi.distributed.job import Job

SHOWN = 10
"""Errors of images that are printed; all of them are in the manifest."""


def run(job: Job, *, quiet: bool = False) -> None:
    """Run a batch with a progress bar; print what it came to.

    Raises:
        HpiError: as :func:`hpi.distributed.batch.run_batch`.
        typer.Exit: with code 1, at the end, if an image could not be used or a part was given up.
    """
    seen = _Seen()
    hidden = quiet or not sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Bar(*columns, console=Console(stderr=True), transient=True, disable=hidden) as bar:
            task = bar.add_task("files", total=None)

            def show(progress: Progress) -> None:
                seen.add(progress)
                bar.update(task, total=progress.files, completed=progress.files_done, description=seen.rate)

            summary = run_batch(job, show)
    except KeyboardInterrupt:
        print(f"{seen.so_far}; the same command goes on from there", file=sys.stderr)  # noqa: T201
        raise
    if not quiet:
        print(_summarized(summary, job.output))  # noqa: T201
    for part in summary.failures:
        print(f"error: part {part.number} was given up: {part.failure}", file=sys.stderr)  # noqa: T201
    if summary.errors or summary.failures:
        raise typer.Exit(1)


class _Seen:
    """What came so far in this run."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._images = self._errors = 0
        self.so_far = "nothing is done yet"
        self.rate = "files"

    def add(self, progress: Progress) -> None:
        self.so_far = f"{progress.files_done} of {progress.files} files are done"
        if (part := progress.last) is None:
            self._start = time.perf_counter()
            return
        self._images += part.images
        if part.first_error and self._errors < SHOWN:
            self._errors += 1
            more = f", and {part.errors - 1} more in part {part.number}" if part.errors > 1 else ""
            print(f"error: {part.first_error}{more}", file=sys.stderr)  # noqa: T201
        self.rate = f"{self._images / (time.perf_counter() - self._start):.1f} images/s"


def _summarized(summary: Summary, output: str) -> str:
    """Such as ``2000 images, 5321 people in output, 3 of 40 parts by earlier runs``."""
    before = f", {summary.done_before} of {summary.parts} parts by earlier runs" if summary.done_before else ""
    wrong = f"; {summary.errors} images cannot be used: see status and error in {output}/images"
    return f"{summary.images} images, {summary.people} people in {output}{before}{wrong if summary.errors else ''}"
