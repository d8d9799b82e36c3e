"""From COCO's order of keypoints to OpenPose's, as rtmlib does it for ``to_openpose``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError
from hpi.instances import Bone, Color, Skeleton

Float32 = NDArray[np.float32]

NECK = 17
"""Where the neck is while the keypoints still have COCO's order."""
ORDER = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO's number, or the neck, for each of OpenPose's 18 keypoints."""
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
WITH_COCO: Mapping[int, str] = MappingProxyType({17: "coco17", 26: "halpe26", 133: "coco_wholebody133"})
"""The skeletons that begin with COCO's keypoints, by their numbers of keypoints."""

_BODY: Color = (33, 160, 230)


def to_openpose(keypoints: Float32, scores: Float32) -> tuple[Float32, Float32]:
    """Put the first 17 keypoints, COCO's, into OpenPose's order, with a neck between the shoulders.

    What comes behind them, as of a whole body, moves on by one.

    Args:
        keypoints: ``[N, K, 2]``, pixels.
        scores: ``[N, K]``.

    Returns:
        ``[N, K + 1, 2]`` and ``[N, K + 1]``; the neck has the lower score of the two shoulders.

    Raises:
        ConfigError: the keypoints do not begin with COCO's.

    Example:
        >>> keypoints = np.arange(34, dtype=np.float32).reshape(1, 17, 2)
        >>> found, scores = to_openpose(keypoints, np.ones((1, 17), np.float32))
        >>> found.shape, found[0, 1]
        ((1, 18, 2), array([11., 12.], dtype=float32))
    """
    count = keypoints.shape[1]
    check_has_coco(count)
    shoulders = [5, 6]
    neck = keypoints[:, shoulders].mean(axis=1), scores[:, shoulders].min(axis=1)
    order = [*ORDER, *range(NECK + 1, count + 1)]
    with_neck = (np.insert(values, NECK, one, axis=1) for values, one in zip((keypoints, scores), neck, strict=True))
    moved, moved_scores = (values[:, order] for values in with_neck)
    return moved, moved_scores


def check_has_coco(count: int) -> None:
    """Check that so many keypoints begin with COCO's 17.

    Raises:
        ConfigError: they do not.

    Example:
        >>> check_has_coco(21)
        Traceback (most recent call last):
        hpi.errors.ConfigError: to_openpose: it is for sets that begin with COCO's 17 keypoints, not for one of 21
    """
    if count not in WITH_COCO:
        raise ConfigError(f"to_openpose: it is for sets that begin with COCO's 17 keypoints, not for one of {count}")


def reordered_skeleton(before: Skeleton) -> Skeleton:
    """What to draw of keypoints that :func:`to_openpose` has put into another order.

    Args:
        before: the skeleton that they had.

    Example:
        >>> from hpi.skeletons import load_skeleton
        >>> skeleton = reordered_skeleton(load_skeleton("coco_wholebody133"))
        >>> len(skeleton), len(skeleton.bones), skeleton.bones[0].start
        (134, 126, 1)
    """
    count = len(before) + 1
    place = {old: new for new, old in enumerate([*ORDER, *range(NECK + 1, count)])}

    def moved(keypoint: int) -> int:
        return place[keypoint if keypoint < NECK else keypoint + 1]

    behind = (
        Bone(moved(bone.start), moved(bone.end), bone.group)
        for bone in before.bones
        if max(bone.start, bone.end) >= NECK
    )
    names = tuple(map(str, range(count)))
    bones = (*(Bone(*limb, "body") for limb in LIMBS), *behind)
    return Skeleton(f"openpose{count}", names, bones, {**before.colors, "body": _BODY})
