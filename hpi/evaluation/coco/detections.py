"""Detection results in COCO's form: boxes of people that another detector has found."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, RootModel

from hpi.errors import InputError
from hpi.evaluation.annotations import Entry, Pixels, read_json
from hpi.evaluation.coco.checks.boxes import are_corners, are_fractions
from hpi.evaluation.coco.file import Image
from hpi.evaluation.messages import ids
from hpi.io.validation import parse


class Detection(Entry):
    """A box that a detector has found; ``bbox``: x, y, width, height, pixels.

    Example:
        >>> Detection(image_id=1, category_id=1, bbox=(10, 20, 30, 40), score=0.5).bbox
        (10.0, 20.0, 30.0, 40.0)
    """

    image_id: int
    category_id: int
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    score: Annotated[float, Field(ge=0, le=1)]


class _Detections(RootModel[list[Detection]]):
    pass


def read_detections(path: Path) -> list[Detection]:
    """The detections of a file.

    Args:
        path: JSON, ``[{image_id, category_id, bbox, score}, ...]``.

    Raises:
        InputError: it cannot be read, or is in another form; the message names field and image id.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "boxes.json")
        ...     _ = path.write_text('[{"image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.5}]')
        ...     [one.score for one in read_detections(path)]
        [0.5]
    """
    raw = read_json(path)
    return parse(_Detections, raw, str(path), InputError, owner=lambda place: _owner(raw, place)).root


def check_boxes(path: Path, detections: Sequence[Detection], images: Mapping[int, Image]) -> None:
    """Refuse boxes in another form than COCO's.

    Args:
        path: their file, for the message.
        detections: of ``images`` only.
        images: by id.

    Raises:
        InputError: they are fractions of the images, or two corners each.

    Example:
        >>> images = {1: Image(id=1, file_name="a.png", width=640, height=480)}
        >>> found = [Detection(image_id=1, category_id=1, bbox=(0.1, 0.2, 0.3, 0.4), score=0.5)]
        >>> check_boxes(Path("boxes.json"), found, images)
        Traceback (most recent call last):
        hpi.errors.InputError: boxes.json: its boxes (image id 1) are fractions of the images; give pixels
    """
    boxes = np.array([one.bbox for one in detections], np.float64).reshape(-1, 4)
    sizes = [(images[one.image_id].width, images[one.image_id].height) for one in detections]
    which = ids("image", (one.image_id for one in detections))
    if are_fractions(boxes):
        raise InputError(f"{path}: its boxes ({which}) are fractions of the images; give pixels")
    if are_corners(boxes, np.array(sizes, np.float64).reshape(-1, 2)):
        raise InputError(f"{path}: its boxes ({which}) are two corners, x1, y1, x2, y2; give x, y, width, height")


def _owner(raw: Any, place: Sequence[int | str]) -> str:
    """Which image a detection in a file of boxes is of."""
    one = raw[place[0]] if len(place) > 1 else None
    return f" of image id {reprlib.repr(one['image_id'])}" if isinstance(one, dict) and "image_id" in one else ""
