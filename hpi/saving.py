"""Saving results while the next ones are computed."""

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
    """Create the folder for results, so that an unusable one is reported before any work is done.

    Raises:
        InputError: files cannot be written to it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_save_path(Path(folder) / "results")
        ...     (Path(folder) / "results").is_dir()
        True
    """
    check_folder(folder, InputError)


def save_all(results: Iterable[Result], folder: Path | None) -> Iterator[list[Path] | InputError]:
    """Save a JSON file and a picture of each result, while the next results are computed.

    Args:
        results: what to save.
        folder: where to save them; None: nowhere.

    Yields:
        For each result, in order, its files, or the error if they cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), Instances.empty(), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [[file.name for file in saved] for saved in save_all([result], Path(folder))]
        [['a_res.json', 'a_res.jpg']]
    """
    for _, saved in side_by_side(partial(_save, folder=folder), results, SAVING_THREADS):
        try:
            yield saved.result()
        except InputError as error:
            yield error


def _save(result: Result, folder: Path | None) -> list[Path]:
    return [] if folder is None else result.save(folder)
