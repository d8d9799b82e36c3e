"""The images that a model is calibrated on and validated by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpi.backends.artifacts import content_hash
from hpi.errors import InputError, InputNotFoundError
from hpi.sources import read_items
from hpi.sources.folders import list_folder
from hpi.sources.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

LEAST, MOST = 16, 64
"""Fewest images that are enough, and how many of more are used."""
_VALIDATES = 4
"""Every so many-th image validates: of 64 images 48 are calibrated on."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class CalibrationImages:
    """Images that could be read.

    Attributes:
        calibrated_on: those that the ranges of values are taken from.
        validated_on: others, which it is validated by.
        digest: hash of their files, in order.
    """

    calibrated_on: list[Image]
    validated_on: list[Image]
    digest: str


def read_images(folder: Path, on_progress: Callable[[int, int], object] = lambda *_: None) -> CalibrationImages:
    """Read images from a folder and its subfolders: at most :data:`MOST`, spread evenly over them by name.

    Those that cannot be read are left out with a warning.

    Args:
        folder: the folder.
        on_progress: called with the number of images that are done, and of all.

    Raises:
        InputError: it is no folder, or fewer than :data:`LEAST` of its images can be used.

    Example:
        >>> read_images(Path("configs/parity"))
        Traceback (most recent call last):
        hpi.errors.InputError: configs/parity: 1 images in it can be used, but INT8 takes at least 16, and better 64, \
as different as those that the model will see
    """
    paths = _spread(_list(folder))
    images: list[Image] = []
    used: list[Path] = []
    for number, path in enumerate(paths, 1):
        (item,) = read_items(str(path), one_each=True)
        if isinstance(item.image, InputError):
            logger.warning("%s; it is left out", item.image)
        else:
            images.append(np.asarray(item.image))
            used.append(path)
        on_progress(number, len(paths))
    if len(images) < LEAST:
        raise InputError(
            f"{folder}: {len(images)} images in it can be used, but INT8 takes at least {LEAST}, and better {MOST}, "
            "as different as those that the model will see"
        )
    validated = [image for index, image in enumerate(images) if index % _VALIDATES == _VALIDATES - 1]
    calibrated = [image for index, image in enumerate(images) if index % _VALIDATES != _VALIDATES - 1]
    return CalibrationImages(calibrated, validated, content_hash(used))


def _list(folder: Path) -> list[Path]:
    if not folder.is_dir():
        kind = InputError if folder.exists() else InputNotFoundError
        raise kind(f"{folder}: give the folder of the images to calibrate on")
    paths = []
    for found in list_folder(str(folder), IMAGE_SUFFIXES):
        if isinstance(found, InputError):
            logger.warning("%s; it is left out", found)
        else:
            paths.append(Path(found))
    return paths


def _spread(paths: list[Path]) -> list[Path]:
    """At most :data:`MOST` of them: frames of a video that follow each other show the same."""
    rows = np.linspace(0, len(paths) - 1, min(MOST, len(paths))).round().astype(int)
    return [paths[row] for row in rows]
