"""Predicting from the command line: printing, saving, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hpi.errors import InputError
from hpi.overlap import side_by_side
from hpi.predictor import Predictor
from hpi.results import DetectionResult, KeypointResult, Result
from hpi.sources import count_items

PEOPLE_PER_TABLE = 4
SAVING_THREADS = 2


def run(
    predictor: Predictor,
    inputs: Sequence[str],
    save_path: Path | None,
    show_result: Callable[[Result], None],
    **arguments: Any,
) -> None:
    """Predict everything, show and save each result; what cannot be read or saved is reported and the rest go on.

    Raises:
        typer.Exit: with code 1, at the end, when there was such an error.
    """
    failed = 0

    def report(error: InputError) -> None:
        nonlocal failed
        failed += 1
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        progress.advance(task)

    total = count_items(list(inputs))
    with Progress(console=Console(stderr=True), transient=True, disable=total < 2) as progress:
        task = progress.add_task("images", total=total)
        shown = _shown(predictor.predict(list(inputs), on_error=report, **arguments), show_result)
        for _, saved in side_by_side(partial(_save, folder=save_path), shown, SAVING_THREADS):
            try:
                files = saved.result()
            except InputError as error:
                report(error)
            else:
                progress.advance(task)
                if files:
                    print(f"saved {' and '.join(map(str, files))}")  # noqa: T201
    if failed:
        raise typer.Exit(1)


def _shown(results: Iterable[Result], show_result: Callable[[Result], None]) -> Iterator[Result]:
    """Results that have been shown, ready to be saved."""
    for result in results:
        show_result(result)
        yield result


def _save(result: Result, folder: Path | None) -> list[Path]:
    return [] if folder is None else [result.save_to_json(folder), result.save_to_img(folder)]


def show(result: Result) -> None:
    """Print a result for people to read."""
    console = Console(highlight=False)
    if isinstance(result, KeypointResult):
        _show_people(console, result)
    elif isinstance(result, DetectionResult):
        _show_boxes(console, result)


def _show_people(console: Console, result: KeypointResult) -> None:
    people = result.people
    count = "1 person" if len(people) == 1 else f"{len(people)} people"
    console.print(f"{result['input_path']}: {count}", markup=False)
    for first in range(0, len(people), PEOPLE_PER_TABLE):
        console.print(_people_table(result, first))


def _people_table(result: KeypointResult, first: int) -> Table:
    """Joints down, people across: x, y and score."""
    group = result.people[first : first + PEOPLE_PER_TABLE]
    table = Table("joint")
    for number, person in enumerate(group, first + 1):
        detected = f"\nfound {person['det_score']:.2f}" if "det_score" in person else ""
        table.add_column(f"person {number}{detected}\njoints {person['kpt_score']:.2f}", justify="right")
    names = result.joint_names
    for index, name in enumerate(names):
        cells = (person["keypoints"][index] for person in group)
        table.add_row(name, *(f"{x:.1f} {y:.1f}  {score:.2f}" for x, y, score in cells))
    return table


def _show_boxes(console: Console, result: DetectionResult) -> None:
    table = Table("label", "score", "x1", "y1", "x2", "y2")
    for box in result["boxes"]:
        table.add_row(box["label"], f"{box['score']:.2f}", *(f"{value:.1f}" for value in box["coordinate"]))
    console.print(f"{result['input_path']}: {len(result['boxes'])} found", markup=False)
    if result["boxes"]:
        console.print(table)
