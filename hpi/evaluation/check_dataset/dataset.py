"""The folder of a data set, and the two sets in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpi.errors import InputError
from hpi.evaluation.coco.file import CocoFile

Track = Callable[[Sequence[Any], str], Iterable[Any]]
"""Yields items one by one and shows the progress; the text says what they are."""


@dataclass(frozen=True)
class Dataset:
    """A folder with images and two sets of them.

    Attributes:
        folder: with ``images/`` and ``annotations/`` in it.
        train: the set for training.
        val: the set for validation.

    Example:
        >>> image = {"id": 1, "file_name": "a.png", "width": 640, "height": 480}
        >>> raw = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
        >>> train, val = (CocoFile.of(Path(f"instance_{name}.json"), raw) for name in ("train", "val"))
        >>> Dataset(Path("data"), train, val).in_both
        {'a.png'}
    """

    folder: Path
    train: CocoFile
    val: CocoFile

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Read a data set from a folder or, as PaddleX allows, from a single folder somewhere below it.

        Raises:
            InputError: files are missing or not in COCO's format.
        """
        root = _root(folder)
        train, val = (
            CocoFile.read(
                root / "annotations" / f"instance_{name}.json",
                "; a data set has annotations/instance_train.json and annotations/instance_val.json",
                "; export the annotations again, in COCO's format",
            )
            for name in ("train", "val")
        )
        return cls(root, train, val)

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.folder / "images"

    @property
    def parts(self) -> tuple[CocoFile, CocoFile]:
        """Both sets."""
        return self.train, self.val

    @property
    def in_both(self) -> set[str]:
        """Names of the images that are in both sets."""
        train, val = ({image.name for image in part.images} for part in self.parts)
        return train & val


def _root(folder: Path) -> Path:
    if (folder / "images").is_dir():
        return folder
    found = [path.parent for path in folder.glob("**/images") if path.is_dir()]
    if len(found) != 1:
        raise InputError(
            f"{folder}: it must contain one folder 'images', but there are {len(found)}; a data set has images/, "
            "annotations/instance_train.json and annotations/instance_val.json"
        )
    return found[0]
