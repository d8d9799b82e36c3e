"""Pictures of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.instances import Skeleton

Image = NDArray[np.uint8]

_DOT = (255, 255, 255)
_RIM = (0, 0, 0)
_BOX = (230, 160, 33)
_BLEND = 0.85
_ROOM_FOR_A_DOT = 5  # pixels from keypoint to keypoint: with less, dots would hide the bones
_SUBPIXEL_BITS = 4


def draw_people(image: Image, people: Sequence[NDArray[np.float32]], skeleton: Skeleton) -> Image:
    """Draw skeletons; keypoints that score too little are left out.

    Lines and dots are as thick as the size of a person allows. Where keypoints are dense, as on a face or a hand, they
    are finer, so that the dots do not hide the bones.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; is not changed.
        people: ``[K, 3]`` float32 each: x, y in pixels, score.
        skeleton: which keypoints are connected; someone with another number of keypoints gets dots only.

    Returns:
        ``[H, W, 3]`` uint8 BGR.

    Example:
        >>> image = np.zeros((40, 40, 3), np.uint8)
        >>> person = np.array([[10, 10, 0.9], [30, 30, 0.1]], np.float32)
        >>> drawn = draw_people(image, [person], Skeleton.numbered(2))
        >>> bool(drawn[10, 10].any()), bool(drawn[30, 30].any())
        (True, False)
    """
    canvas = image.copy()
    for keypoints in people:
        _draw_person(canvas, keypoints, skeleton)
    return np.asarray(cv2.addWeighted(canvas, _BLEND, image, 1 - _BLEND, 0), np.uint8)


def _draw_person(canvas: Image, keypoints: NDArray[np.float32], skeleton: Skeleton) -> None:
    visible = (keypoints[:, 2] > skeleton.visible_above) & _drawable(keypoints, canvas)
    if not visible.any():
        return
    points = keypoints[:, :2]
    extent = float(np.ptp(points[visible], axis=0).max())
    thickness = _whole(extent / 100)
    bones = skeleton.bones if len(keypoints) == len(skeleton) else ()
    lengths: list[list[float]] = [[] for _ in points]  # of the bones at each keypoint, pixels
    for bone in bones:
        ends = [bone.start, bone.end]
        if visible[ends].all():
            length = float(np.linalg.norm(points[bone.start] - points[bone.end]))
            a, b = map(_fixed_point, points[ends])
            bgr = skeleton.colors[bone.group][::-1]
            cv2.line(canvas, a, b, bgr, min(thickness, _whole(length / 4)), cv2.LINE_AA, _SUBPIXEL_BITS)
            for end in ends:
                lengths[end].append(length)
    for index in np.flatnonzero(visible):
        room = float(np.mean(lengths[index])) if lengths[index] else np.inf
        if room >= _ROOM_FOR_A_DOT:
            radius = min(0.6 * thickness, room / 6)
            _dot(canvas, points[index], radius + min(1, room / 12), _RIM)
            _dot(canvas, points[index], radius, _DOT)


def _whole(thickness: float) -> int:
    """A thickness that OpenCV takes."""
    return int(np.clip(round(thickness), 1, 8))


def _drawable(keypoints: NDArray[np.float32], canvas: Image) -> NDArray[np.bool_]:
    """Finite, and near enough to the image that OpenCV's 32-bit fixed-point coordinates hold."""
    limit = 4 * max(canvas.shape)
    # NaN fails the comparison too.
    near: NDArray[np.bool_] = (np.abs(keypoints[:, :2]) < limit).all(axis=1)
    return near


def _dot(canvas: Image, point: NDArray[np.float32], radius: float, color: tuple[int, int, int]) -> None:
    center = _fixed_point(point)
    cv2.circle(canvas, center, round(radius * (1 << _SUBPIXEL_BITS)), color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(point: NDArray[np.float32]) -> tuple[int, int]:
    x, y = np.rint(point * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)


def draw_boxes(image: Image, boxes: Sequence[Sequence[Any]], labels: Sequence[str]) -> Image:
    """Draw labelled boxes; lines and letters are as large as the image allows.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; is not changed.
        boxes: (x1, y1, x2, y2) each, pixels.
        labels: a text for each.

    Returns:
        ``[H, W, 3]`` uint8 BGR.
    """
    canvas = image.copy()
    thickness = max(1, round(max(image.shape) / 400))
    scale = max(0.4, max(image.shape) / 1200)
    for box, label in zip(boxes, labels, strict=True):
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), _BOX, thickness, cv2.LINE_AA)
        (width, height), baseline = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        top = max(0, y1 - height - baseline)
        cv2.rectangle(canvas, (x1, top), (x1 + width, top + height + baseline), _BOX, cv2.FILLED)
        cv2.putText(canvas, label, (x1, top + height), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas
