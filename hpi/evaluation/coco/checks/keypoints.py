"""Keypoints: how many, which are labelled, and where."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpi.evaluation.coco.checks.boxes import FAR
from hpi.evaluation.coco.checks.finding import Finding
from hpi.evaluation.coco.file import KEYPOINTS, Annotation, CocoFile, Image

VISIBILITIES = {0, 1, 2}


def no_keypoints(one: Annotation, _: Image | None) -> str | None:
    """No keypoints at all."""
    return None if one.keypoints else "keypoints are missing, so that none counts as labelled; add them"


def wrong_length(file: CocoFile) -> Iterator[Finding]:
    """More or fewer numbers than the category has keypoints."""
    for one in file.annotations:
        category = file.category_of.get(one.category_id)
        if category is None or not one.keypoints:
            continue
        count = len(category.keypoints) or KEYPOINTS
        if len(one.keypoints) != 3 * count:
            yield Finding(
                f"keypoints has {len(one.keypoints)} numbers; give 3 x {count} = {3 * count}: x, y, visibility of each "
                "keypoint",
                "annotation",
                one.id,
            )


def wrong_visibility(one: Annotation, _: Image | None) -> str | None:
    """A visibility other than 0, 1 and 2."""
    if wrong := set(one.points[:, 2].tolist()) - VISIBILITIES:
        return f"a visibility is {min(wrong):g}; it is 0 (not labelled), 1 (labelled but hidden) or 2 (visible)"
    return None


def no_count(one: Annotation, _: Image | None) -> str | None:
    """No ``num_keypoints``."""
    if one.num_keypoints is not None:
        return None
    labelled = len(one.labelled)
    return f"num_keypoints is missing, but {labelled} keypoints have a visibility above 0; set it to {labelled}"


def contradicting_count(one: Annotation, _: Image | None) -> str | None:
    """A ``num_keypoints`` of 0 where some are labelled, or above 0 where none is: COCO leaves out people with 0."""
    return _count(one) if _contradicts(one) else None


def inexact_count(one: Annotation, _: Image | None) -> str | None:
    """A ``num_keypoints`` that is wrong, but does not turn someone into nobody or nobody into someone."""
    return None if _contradicts(one) else _count(one)


def _contradicts(one: Annotation) -> bool:
    return one.num_keypoints is not None and not one.iscrowd and (one.num_keypoints > 0) != (len(one.labelled) > 0)


def _count(one: Annotation) -> str | None:
    labelled = len(one.labelled)
    if one.num_keypoints is None or one.num_keypoints == labelled or len(one.keypoints) % 3:
        return None
    return (
        f"num_keypoints is {one.num_keypoints}, but {labelled} keypoints have a visibility above 0; "
        f"set it to {labelled}"
    )


def fraction_keypoints(one: Annotation, image: Image | None) -> str | None:
    """Keypoints that are fractions of the image."""
    if not len(one.labelled) or one.labelled.min() < 0 or one.labelled.max() > 1:
        return None
    if image is None or (one.labelled == one.labelled[0]).all():
        return None
    return "keypoints are fractions of the image; give pixels"


def far_keypoint(one: Annotation, image: Image | None) -> str | None:
    """A labelled keypoint far outside of the image."""
    if image is None or not len(one.labelled):
        return None
    beyond = np.maximum(-one.labelled, one.labelled - (image.width, image.height)).max(axis=1)
    if beyond.max() <= FAR * max(image.width, image.height):
        return None
    x, y = one.labelled[beyond.argmax()]
    return (
        f"the keypoint at {x:g}, {y:g} is far outside of its image of {image.width} x {image.height}; correct it, or "
        "set its visibility to 0"
    )


def keypoint_at_origin(one: Annotation, _: Image | None) -> str | None:
    """A labelled keypoint where tools put missing ones."""
    if (one.labelled == 0).all(axis=1).any():
        return "a keypoint at 0, 0 is labelled; set its visibility to 0 if that stands for a missing one"
    return None
