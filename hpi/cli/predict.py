"""``hpi predict``: printing, saving and progress."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from hpi.cli.errors import Reported
from hpi.cli.tables import new_table, threads_of
from hpi.compat.paddlex.results import DetectionResult, KeypointResult
from hpi.errors import InputError
from hpi.io.fetch import is_url
from hpi.predictor import Predictor
from hpi.results import Result
from hpi.saving import check_save_path, save_all
from hpi.sources import count_items, is_many, is_stream, is_video, read_items, split_streams
from hpi.sources.streams import StreamOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Output:
    """Where results go.

    Attributes:
        folder: where to save them.
        as_json: print one line of JSON per result, and nothing else; by default, tables.
        quiet: print no tables, no names of saved files, and no progress bar.

    Example:
        >>> Output().show_saved([Path("a.json"), Path("a.jpg")])
        saved a.json and a.jpg
        >>> Output(quiet=True).show_saved([Path("a.json")])
    """

    folder: Path | None = None
    as_json: bool = False
    quiet: bool = False

    def show(self, result: Result) -> None:
        """Print a result."""
        if self.as_json:
            print(json.dumps(result.json["res"]), flush=True)  # noqa: T201
        elif not self.quiet:
            show(result)

    def show_saved(self, files: Sequence[Path]) -> None:
        """Print the names of saved files."""
        if files and not self.quiet:
            stream = sys.stderr if self.as_json else sys.stdout
            print(f"saved {' and '.join(map(str, files))}", file=stream)

    def progress(self, total: int) -> Progress:
        """A progress bar on a terminal, below the printed output if that goes to the same terminal."""
        on_screen = sys.stdout.isatty()
        hidden = self.quiet or total < 2 or not sys.stderr.isatty() or (self.as_json and on_screen)
        return Progress(console=Console(stderr=True), transient=True, disable=hidden, redirect_stdout=on_screen)


@dataclass(frozen=True)
class StreamSettings:
    """How people are followed through streams, and what is written.

    Attributes:
        arguments: of :meth:`hpi.predictor.Predictor.stream`.
        options: of the sources.
        formats: of the files; None: the usual ones.
        smoothed: also write the smoothed keypoints.
        resume: go on where an interrupted command stopped.
    """

    arguments: Mapping[str, Any]
    options: StreamOptions
    formats: Sequence[str] | None
    smoothed: bool
    resume: bool


def run(
    open_predictor: Callable[..., Predictor],
    inputs: Sequence[str],
    output: Output,
    settings: StreamSettings,
    **arguments: Any,
) -> None:
    """Predict all inputs; print and save each result. Errors of single inputs are reported, and the others still run.

    Args:
        open_predictor: loads the models, ``for_many`` images or not; called once it is certain that results can be
            saved.
        inputs: images, folders and URLs, and streams, which come last.
        output: where results go.
        settings: what is done with streams.
        arguments: of :meth:`Predictor.predict`.

    Raises:
        InputError: results cannot be saved.
        typer.Exit: with code 1, at the end, if an error was reported.
    """
    if output.folder is not None:
        check_save_path(output.folder)
    _stop_without_files(inputs)
    images, streams, errors = split_streams(inputs)
    start = time.perf_counter()
    with open_predictor(for_many=_only_many(images, streams)) as predictor:
        _log_choice(predictor, time.perf_counter() - start)
        report = Reported()
        for error in errors:
            report(error)
        succeeded = not report.count
        if images:
            succeeded &= _predict(predictor, images, output, **arguments)
        if streams:
            from hpi.cli.video import follow  # images need none of it

            succeeded &= follow(predictor, streams, output, settings)
        if not succeeded:
            raise typer.Exit(1)


def _stop_without_files(inputs: Sequence[str]) -> None:
    """Report inputs none of which is there, at once, and not after the models are open."""
    if any(is_url(one) or is_stream(one) or os.path.lexists(one) for one in inputs):
        return
    report = Reported()
    for item in read_items(inputs):
        assert isinstance(item.image, InputError)
        report(item.image)
    raise typer.Exit(1)


def _only_many(images: list[str], streams: list[str]) -> bool:
    """Whether all inputs should go through workers: many images, or videos; no camera and no network stream."""
    return all(map(is_video, streams)) and (is_many(images) if images else bool(streams))


def _predict(predictor: Predictor, inputs: list[str], output: Output, **arguments: Any) -> bool:
    """Predict and save; False if there was an error."""
    reported = Reported()

    def report(error: InputError) -> None:
        reported(error)
        progress.advance(task)

    total = count_items(inputs)
    count, start = 0, time.perf_counter()
    with output.progress(total) as progress:
        task = progress.add_task("images", total=total)
        results = _shown(predictor.predict(inputs, on_error=report, **arguments), output)
        for saved in save_all(results, output.folder):
            count += 1
            if isinstance(saved, InputError):
                report(saved)
            else:
                output.show_saved(saved)
                progress.advance(task)
    seconds = time.perf_counter() - start
    logger.info("%d images in %.2f s, %.1f ms each", count, seconds, 1000 * seconds / max(count, 1))
    return not reported.count


def _shown(results: Iterable[Result], output: Output) -> Iterator[Result]:
    for result in results:
        output.show(result)
        yield result


def _log_choice(predictor: Predictor, seconds: float) -> None:
    for model in predictor.describe()["models"]:
        runs_on = f"{model['backend']} {model['variant']}, {threads_of(model)}, {model['device']}"
        logger.info("%s runs on %s: %s", model["model"], runs_on, model["reason"])
    logger.info("loaded in %.2f s", seconds)


def show(result: Result) -> None:
    """Print a result as a table."""
    console = Console(highlight=False)
    with console.capture() as text:  # printed as text, it stays above the progress bar; a console's output does not
        if isinstance(result, KeypointResult):
            _show_people(console, result)
        elif isinstance(result, DetectionResult):
            _show_boxes(console, result)
    print(text.get(), end="")  # noqa: T201


def _show_people(console: Console, result: KeypointResult) -> None:
    """A row per keypoint, a column per person with x, y and score; several tables if they do not fit side by side."""
    people = result.people
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    console.print(f"{result['input_path']}: {count}", markup=False, soft_wrap=True)
    names = result.keypoint_names
    columns = [_column(number, person) for number, person in enumerate(people, 1)]
    widest = max((len(line) for column in columns for cell in column for line in cell.splitlines()), default=0)
    per_table = max(1, (console.width - max(map(len, names))) // (widest + 2))
    for first in range(0, len(columns), per_table):
        group = columns[first : first + per_table]
        table = new_table("keypoint")
        for heading, *_ in group:
            table.add_column(heading, justify="right", overflow="fold")
        for row in zip(names, *(cells for _, *cells in group), strict=True):
            table.add_row(*row)
        console.print(table)


def _column(number: int, person: dict[str, Any]) -> list[str]:
    """The heading of a person, and a cell per keypoint."""
    scores = {"found": person.get("det_score"), "keypoints": person["kpt_score"]}
    lines = [f"{name} {score:.2f}" for name, score in scores.items() if score is not None]
    return ["\n".join([f"person {number}", *lines]), *(f"{x:.1f} {y:.1f}  {s:.2f}" for x, y, s in person["keypoints"])]


def _show_boxes(console: Console, result: DetectionResult) -> None:
    console.print(f"{result['input_path']}: {len(result['boxes'])} found", markup=False, soft_wrap=True)
    table = new_table("label", "score", "x1", "y1", "x2", "y2")
    for box in result["boxes"]:
        table.add_row(box["label"], f"{box['score']:.2f}", *(f"{value:.1f}" for value in box["coordinate"]))
    if result["boxes"]:
        console.print(table)
