"""Boxes: their form, their units, and whether they are those of their keypoints."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpi.evaluation.annotations import MANY
from hpi.evaluation.coco.checks.finding import Finding
from hpi.evaluation.coco.file import Annotation, CocoFile, Image
from hpi.evaluation.messages import ids

PIXEL = 1
FAR = 0.1  # of the image's longer side: no slip of the annotator's hand
CORNERS_OUT, CORNERS_FIT = 0.25, 0.95  # shares of the boxes
BESIDE = 0.1  # of the box: how far outside of it its keypoints may be


def no_box(one: Annotation, _: Image | None) -> str | None:
    """No box, or one that has not four numbers."""
    return None if len(one.bbox) == 4 else f"bbox has {len(one.bbox)} numbers; give 4: x, y, width, height, pixels"


def empty_box(one: Annotation, _: Image | None) -> str | None:
    """A box without width or height."""
    if len(one.bbox) != 4 or one.has_size:
        return None
    return f"bbox {one.bbox} is empty; give x, y, width, height, pixels, or remove the annotation"


def outside_box(one: Annotation, image: Image | None) -> str | None:
    """A box that has no pixel in common with its image."""
    if not one.has_size or image is None or meets(one, image):
        return None
    size = f"{image.width} x {image.height}"
    return f"bbox {one.bbox} is outside of its image of {size}; give x, y, width, height, pixels"


def reaching_box(one: Annotation, image: Image | None) -> str | None:
    """A box that reaches out of its image by more than a pixel: COCO's own do by less."""
    if not one.has_size or image is None or not meets(one, image):
        return None
    x1, y1, x2, y2 = one.corners
    if min(x1, y1) >= -PIXEL and x2 <= image.width + PIXEL and y2 <= image.height + PIXEL:
        return None
    return (
        f"bbox {one.bbox} reaches out of its image of {image.width} x {image.height}; make sure that it is "
        "x, y, width, height and not two corners"
    )


def meets(one: Annotation, image: Image) -> bool:
    """Whether a box and its image have pixels in common."""
    x1, y1, x2, y2 = one.corners
    return x1 < image.width and y1 < image.height and x2 > 0 and y2 > 0


def _boxes(file: CocoFile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes ``[N, 4]`` as they are written, and the sizes of their images ``[N, 2]``."""
    whole = [one for one in file.annotations if one.has_size and one.image_id in file.image_of]
    images = [file.image_of[one.image_id] for one in whole]
    boxes = np.array([one.bbox for one in whole], np.float64).reshape(-1, 4)
    return boxes, np.array([(image.width, image.height) for image in images], np.float64).reshape(-1, 2)


def are_corners(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> bool:
    """Whether boxes are two corners rather than corner and size.

    As sizes they reach far out of their images, and as corners they do not.

    Args:
        boxes: ``[N, 4]`` pixels.
        sizes: ``[N, 2]`` width and height of the image of each, pixels.

    Example:
        >>> are_corners(np.array([[300, 200, 630, 470]]), np.array([[640, 480]]))
        True
        >>> are_corners(np.array([[300, 200, 330, 270]]), np.array([[640, 480]]))
        False
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    far_out = (first + second > sizes + FAR * sizes).any(axis=1)
    fit = ((second > first) & (second <= sizes + PIXEL)).all(axis=1)
    return len(boxes) > 0 and bool(far_out.mean() >= CORNERS_OUT and fit.mean() >= CORNERS_FIT)


def are_fractions(boxes: NDArray[np.float64]) -> bool:
    """Whether boxes ``[N, 4]`` are fractions of their images rather than pixels: all end in the first pixel.

    Example:
        >>> are_fractions(np.array([[0.1, 0.2, 0.5, 0.5]])), are_fractions(np.array([[1, 2, 50, 50]]))
        (True, False)
    """
    return len(boxes) > 0 and bool((boxes[:, :2] + boxes[:, 2:] <= 1 + FAR).all())


def corner_boxes(file: CocoFile) -> Iterator[Finding]:
    """Boxes that are two corners; see :func:`are_corners`."""
    boxes, sizes = _boxes(file)
    if are_corners(boxes, sizes):
        which = ids("annotation", (one.id for one in file.annotations if one.has_size))
        yield Finding(f"the boxes of {which} are two corners, x1, y1, x2, y2; give x, y, width, height")


def fraction_boxes(file: CocoFile) -> Iterator[Finding]:
    """Boxes that are fractions of their images; see :func:`are_fractions`."""
    boxes, _ = _boxes(file)
    if are_fractions(boxes):
        which = ids("annotation", (one.id for one in file.annotations if one.has_size))
        yield Finding(f"the boxes of {which} are fractions of their images; give pixels")


def _are_strangers(file: CocoFile) -> bool:
    """Whether boxes and keypoints of the file do not belong together: most keypoints are not in their boxes."""
    people = [one for one in file.annotations if is_framed(one)]
    inside = sum(_share_inside(one) * len(one.labelled) for one in people)
    return len(people) >= MANY and inside < sum(len(one.labelled) for one in people) / 2


def stranger_boxes(file: CocoFile) -> Iterator[Finding]:
    """Boxes and keypoints of the whole file that do not belong together."""
    if _are_strangers(file):
        which = ids("annotation", (one.id for one in file.annotations if _is_stranger(one)))
        yield Finding(
            f"most keypoints are outside of their own boxes, {which}; give both in pixels of the image, and boxes as x "
            "and y of the upper left corner, width, height"
        )


def stranger_box(file: CocoFile) -> Iterator[Finding]:
    """A single box that does not belong to its keypoints."""
    if not _are_strangers(file):
        for one in file.annotations:
            if _is_stranger(one):
                message = f"most of its keypoints are outside of its bbox {one.bbox}; look at both"
                yield Finding(message, "annotation", one.id)


def is_framed(one: Annotation) -> bool:
    """Whether someone has both a box with a size and labelled keypoints."""
    return one.is_measured and one.has_size


def _is_stranger(one: Annotation) -> bool:
    return is_framed(one) and _share_inside(one) < 0.5


def _share_inside(one: Annotation) -> float:
    """Share of the labelled keypoints that are inside of the box, or not far from it."""
    low, size = np.array(one.bbox[:2]), np.array(one.bbox[2:])
    inside = (one.labelled >= low - BESIDE * size) & (one.labelled <= low + (1 + BESIDE) * size)
    return float(inside.all(axis=1).mean())
