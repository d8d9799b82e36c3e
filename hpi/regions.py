"""People that a caller has found: boxes for each image, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.errors import InputError
from hpi.instances import Frame, Instances
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.sources import Input, count_items, is_several, is_video

MAX_COORDINATE = 1e6
MAX_NORMALIZED = 1.5
"""Boxes of an image of which no coordinate is larger are taken for fractions of its size, perhaps a little outside."""


def given_regions(source: Input, boxes: ArrayLike | Sequence[ArrayLike]) -> list[Instances]:
    """The people of each image of an input.

    Args:
        source: one image, or a list of them.
        boxes: ``[N, 4]`` (x1, y1, x2, y2) in pixels; for a list of images, a list of such.

    Raises:
        InputError: they do not go with the input, or are not boxes.

    Example:
        >>> (people,) = given_regions("people.jpg", [[10, 20, 30, 60]])
        >>> people.boxes
        array([[10., 20., 30., 60.]], dtype=float32)
    """
    several = is_several(source)
    if several and not isinstance(source, Sequence):
        raise InputError("boxes: these go with a list of images, so that it is known which are whose")
    per_image: Any = boxes if several else [boxes]
    images: Sequence[Any] = source if several else [source]  # type: ignore[assignment]
    if any(is_video(image) for image in images):
        raise InputError("boxes: these go with pictures; of a video, pass the frames as arrays")
    if not isinstance(per_image, Sequence | np.ndarray) or not (len(per_image) == count_items(source) == len(images)):
        raise InputError("boxes: give one list of boxes for each image, and name the images, not folders")
    return [_people(of_image) for of_image in per_image]


def check_inside(frame: Frame, people: Instances) -> None:
    """Check boxes against the image that they are for.

    Raises:
        InputError: one lies outside, or they are fractions of the image's size.

    Example:
        >>> frame = Frame(np.zeros((480, 640, 3), np.uint8), "people.jpg")
        >>> check_inside(frame, Instances([1.0], boxes=[[10, 20, 30, 60]]))
        >>> check_inside(frame, Instances([1.0], boxes=[[700, 20, 730, 60]]))
        Traceback (most recent call last):
        hpi.errors.InputError: people.jpg: box number 0, [700.0, 20.0, 730.0, 60.0], lies outside its 640x480 pixels
    """
    boxes, (height, width) = people.boxes, frame.image.shape[:2]
    if boxes is None or not len(boxes):
        return
    if np.abs(boxes).max() <= MAX_NORMALIZED and min(height, width) > 2 * MAX_NORMALIZED:
        raise InputError(
            f"{frame.path or 'image'}: the boxes, such as {boxes[0].tolist()}, seem to be relative to the image's "
            f"size; give pixels: x times {width}, y times {height}"
        )
    inside = has_area(clip_boxes(boxes, width, height))
    if not inside.all():
        index = int(np.flatnonzero(~inside)[0])
        raise InputError(
            f"{frame.path or 'image'}: box number {index}, {boxes[index].tolist()}, lies outside its "
            f"{width}x{height} pixels"
        )


def _people(boxes: ArrayLike) -> Instances:
    array = _box_array(boxes)
    return Instances(np.ones(len(array), np.float32), boxes=array)


def _box_array(boxes: ArrayLike) -> NDArray[np.float32]:
    try:
        array = np.array(boxes, np.float32)  # a copy: the caller may change them before the image is due
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes: not numbers [[x1, y1, x2, y2], ...]: {error}") from error
    if array.size == 0:
        return np.empty((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"boxes: shape {array.shape} instead of [N, 4]: one (x1, y1, x2, y2) per person")
    # NaN fails the comparison too.
    wrong = np.flatnonzero(~((np.abs(array) < MAX_COORDINATE).all(axis=1) & has_area(array)))
    if wrong.size:
        raise InputError(
            f"boxes: number {wrong[0]}, {array[wrong[0]].tolist()}, has no area, is not finite or is far too large; "
            "give x1 < x2 and y1 < y2 in pixels"
        )
    return array
