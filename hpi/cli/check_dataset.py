"""``hpi check-dataset``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from hpi.evaluation.check_dataset import PICTURES, RESULT, check_dataset


def run(folder: Path, output: Path, split: tuple[int, int] | None, seed: int) -> None:
    """Check a data set with a progress bar and print the result."""
    result = check_dataset(folder, output, split=split, seed=seed, track=_track)
    found = result["attributes"]
    if split is not None:
        print("split; the earlier annotations are kept as .bak files beside the new ones")  # noqa: T201
    print(f"passed: {found['train_samples']} images for training, {found['val_samples']} for validation")  # noqa: T201
    print(f"wrote {output / RESULT}; look at the pictures in {output / PICTURES}")  # noqa: T201


def _track(items: Sequence[Any], what: str) -> Iterable[Any]:
    return track(items, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
