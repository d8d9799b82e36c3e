"""Areas of the segments, which are the scale of OKS."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpi.evaluation.annotations import MANY
from hpi.evaluation.coco.checks.boxes import PIXEL, is_framed, meets
from hpi.evaluation.coco.checks.finding import Finding
from hpi.evaluation.coco.file import Annotation, CocoFile, Image
from hpi.evaluation.messages import ids

TINY = 1e-3  # of the box: no segment with keypoints in it
LARGE = 1.05  # of the box: more than rounding
SEGMENTS = (0.05, LARGE)  # of the box: what half of the people may be below, and above


def no_area(one: Annotation, _: Image | None) -> str | None:
    """No area at all."""
    if one.area is not None:
        return None
    return "area is missing; add that of the segment, in square pixels: it is the scale of OKS"


def negative_area(one: Annotation, _: Image | None) -> str | None:
    """An area below 0."""
    if one.area is None or one.area >= 0:
        return None
    return f"area is {one.area:g}; give that of the segment, in square pixels"


def tiny_area(one: Annotation, _: Image | None) -> str | None:
    """An area of (almost) nothing, of someone with labelled keypoints."""
    if one.area is None or one.area < 0 or not one.is_measured or len(one.bbox) != 4:
        return None
    box = max(one.bbox[2], 0) * max(one.bbox[3], 0)
    if one.area > TINY * box:
        return None
    return f"area is {one.area:g} in a box of {box:g} square pixels; give that of the segment: it is the scale of OKS"


def foreign_areas(file: CocoFile) -> Iterator[Finding]:
    """Areas in another unit than the boxes, such as that of images of another size."""
    people = [one for one in file.annotations if is_framed(one) and one.area is not None]
    shares = [(one.area or 0) / (one.bbox[2] * one.bbox[3]) for one in people]
    if len(people) >= MANY and not SEGMENTS[0] <= np.median(shares) <= SEGMENTS[1]:
        which = ids("annotation", (one.id for one in people))
        yield Finding(
            f"the areas of {which} are {np.median(shares):.3g} times their boxes (median); give those of the segments, "
            "in square pixels of the image: they are the scale of OKS"
        )


def large_area(one: Annotation, image: Image | None) -> str | None:
    """An area larger than the whole image."""
    return _area_above_box(one, image) if image and (one.area or 0) > LARGE * image.width * image.height else None


def larger_area(one: Annotation, image: Image | None) -> str | None:
    """An area larger than its box, but not than the image."""
    return _area_above_box(one, image) if image and not large_area(one, image) else None


def _area_above_box(one: Annotation, image: Image | None) -> str | None:
    if one.area is None or not one.has_size or image is None or not meets(one, image):
        return None
    box = one.bbox[2] * one.bbox[3]
    if one.area <= LARGE * box + PIXEL:
        return None
    return (
        f"area is {one.area:g}, but its box has {box:g} and its image {image.width * image.height} square pixels; give "
        "that of the segment"
    )
