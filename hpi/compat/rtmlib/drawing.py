"""rtmlib's ``draw_skeleton`` and ``draw_bbox``, in the colours of this package's skeletons."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.compat.rtmlib.openpose import WITH_COCO, reordered_skeleton
from hpi.errors import ConfigError
from hpi.instances import Image, Skeleton
from hpi.skeletons import load_skeleton

_SKELETONS = {count: load_skeleton(name) for count, name in {**WITH_COCO, 21: "hand21"}.items()}
_REORDERED = {count + 1: reordered_skeleton(_SKELETONS[count]) for count in WITH_COCO}
_ANIMAL = load_skeleton("ap10k17")
_DOT = (255, 255, 255)
_FAR = 1e6


def draw_bbox(img: Image, bboxes: ArrayLike, color: tuple[int, int, int] = (0, 255, 0)) -> Image:
    """Draw boxes ``[N, 4]`` (x1, y1, x2, y2), pixels, into an image ``[H, W, 3]``, which is returned.

    Example:
        >>> image = draw_bbox(np.zeros((40, 40, 3), np.uint8), [[10, 10, 30, 30]])
        >>> image[10, 20].tolist(), image[20, 20].tolist()
        ([0, 255, 0], [0, 0, 0])
    """
    for x1, y1, x2, y2 in _pixels(np.asarray(bboxes, np.float32).reshape(-1, 4)):
        cv2.rectangle(img, (x1, y1), (x2, y2), color, 2)
    return img


def draw_skeleton(
    img: Image,
    keypoints: ArrayLike,
    scores: ArrayLike,
    openpose_skeleton: bool = False,
    kpt_thr: float = 0.5,
    radius: int = 2,
    line_width: int = 2,
) -> Image:
    """Draw the skeletons of people into an image.

    Args:
        img: ``[H, W, 3]`` uint8 BGR; is drawn into.
        keypoints: ``[N, K, 2]``, or ``[K, 2]`` of one person, pixels.
        scores: ``[N, K]``, or ``[K]``.
        openpose_skeleton: with 17 keypoints: draw an animal's, as rtmlib does; otherwise it has no effect, since sets
            in OpenPose's order are known by their number.
        kpt_thr: keypoints that score less are left out.
        radius: of the dots, pixels.
        line_width: of the bones, pixels.

    Returns:
        The image.

    Raises:
        ConfigError: no skeleton has so many keypoints.

    Example:
        >>> keypoints = np.zeros((1, 17, 2)) + [[[20, 20]]]
        >>> drawn = draw_skeleton(np.zeros((40, 40, 3), np.uint8), keypoints, np.ones((1, 17)))
        >>> drawn[20, 20].tolist()
        [255, 255, 255]
    """
    points, seen = np.asarray(keypoints, np.float32), np.asarray(scores, np.float32) >= kpt_thr
    if not len(points):
        return img
    skeleton = _skeleton(points.shape[-2], animal=openpose_skeleton)
    people, seen = points.reshape(-1, len(skeleton), 2), seen.reshape(-1, len(skeleton))
    for person, visible in zip(people, seen & (np.abs(people) < _FAR).all(axis=-1), strict=True):
        places = dict(zip(np.flatnonzero(visible).tolist(), _pixels(person[visible]), strict=True))
        for bone in skeleton.bones:
            if bone.start in places and bone.end in places:
                color = skeleton.colors[bone.group][::-1]
                cv2.line(img, places[bone.start], places[bone.end], color, line_width, cv2.LINE_AA)
        for place in places.values():
            cv2.circle(img, place, radius, _DOT, cv2.FILLED, cv2.LINE_AA)
    return img


def _skeleton(count: int, *, animal: bool) -> Skeleton:
    if count == 17 and animal:
        return _ANIMAL
    known = {**_SKELETONS, **_REORDERED}
    if count not in known:
        there = ", ".join(map(str, sorted(known)))
        raise ConfigError(f"draw_skeleton: no skeleton of {count} keypoints is known; there are {there}")
    return known[count]


def _pixels(places: NDArray[np.float32]) -> list[tuple[int, ...]]:
    """Whole pixels."""
    return [tuple(one) for one in places.astype(int).tolist()]
