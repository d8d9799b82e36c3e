"""Saving results beside the work on the next ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from hpi.errors import InputError
from hpi.io.files import check_folder
from hpi.results import Result
from hpi.streaming import side_by_side

SAVING_THREADS = 2


def check_save_path(folder: Path) -> None:
    """Make the folder for results, so that one that cannot be made is reported before the work.

    Raises:
        InputError: files cannot be written there.
    """
    check_folder(folder, InputError)


def save_all(results: Iterable[Result], folder: Path | None) -> Iterator[list[Path] | InputError]:
    """Save a JSON file and a picture of each result, while the caller goes on taking in the next.

    Args:
        results: what to save.
        folder: where to; None: nowhere.

    Yields:
        For each result, in order, its files, or why they cannot be written.
    """
    for _, saved in side_by_side(partial(_save, folder=folder), results, SAVING_THREADS):
        try:
            yield saved.result()
        except InputError as error:
            yield error


def _save(result: Result, folder: Path | None) -> list[Path]:
    return [] if folder is None else result.save(folder)
