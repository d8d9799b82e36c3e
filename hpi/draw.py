"""Drawing people and boxes on images."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.instances import Color, Skeleton

Image = NDArray[np.uint8]

_DOT = (255, 255, 255)
_RIM = (0, 0, 0)
_BOX = (230, 160, 33)
_BLEND = 0.85
_MIN_BONE = 5  # pixels; dots on shorter bones would hide them
_FINER = 3  # so much less room have bones that lie close together
_SUBPIXEL_BITS = 4
_DASHES = 8  # pixels from one to the next
_GOLDEN = 0.618034  # steps of the golden ratio around the colour wheel never come close to an earlier one


def draw_people(
    image: Image,
    people: Sequence[NDArray[np.float32]],
    skeleton: Skeleton,
    track_ids: Sequence[int | None] | None = None,
    interpolated: Sequence[bool] | None = None,
) -> Image:
    """Draw the skeletons of people, without keypoints of low score.

    The thickness of lines and dots depends on the size of the person. Where keypoints are dense, as on a face or a
    hand, lines and dots are finer, so that the dots do not hide the bones.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; not modified.
        people: ``[K, 3]`` float32 each: x, y in pixels, score.
        skeleton: which keypoints are connected; people with another number of keypoints are drawn without bones.
        track_ids: one a person; who has one is drawn in the colour of the id, with the id above.
        interpolated: one a person; who was not seen in this frame is drawn in dashes, without dots.

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
    ids, unseen = track_ids or [None] * len(people), interpolated or [False] * len(people)
    for keypoints, track_id, is_unseen in zip(people, ids, unseen, strict=True):
        _draw_person(canvas, keypoints, skeleton, track_color(track_id), is_unseen)
    picture = np.asarray(cv2.addWeighted(canvas, _BLEND, image, 1 - _BLEND, 0), np.uint8)
    for keypoints, track_id in zip(people, ids, strict=True):
        if (color := track_color(track_id)) is not None:
            _draw_id(picture, keypoints[_visible(keypoints, picture, skeleton)], f"{track_id}", color)
    return picture


def track_color(track_id: int | None) -> Color | None:
    """The BGR colour of a track: ids that follow each other differ clearly; None of somebody who is not tracked.

    Example:
        >>> track_color(None), track_color(1) == track_color(1), track_color(1) == track_color(2)
        (None, True, False)
    """
    if track_id is None:
        return None
    red, green, blue = colorsys.hsv_to_rgb(track_id * _GOLDEN % 1, 0.6, 1)
    return round(255 * blue), round(255 * green), round(255 * red)


def _draw_id(picture: Image, keypoints: NDArray[np.float32], text: str, color: Color) -> None:
    """The id above the highest keypoint, on its colour."""
    if not len(keypoints):
        return
    scale = max(0.4, max(picture.shape) / 2000)
    x, y = keypoints[keypoints[:, 1].argmin(), :2].tolist()
    _draw_label(picture, text, round(x), round(y - 8 * scale), scale, color)


def _draw_label(canvas: Image, text: str, x: int, bottom: int, scale: float, color: Color) -> None:
    """A text on a background; below the border of the image where there is no room above."""
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    top = max(0, bottom - height - baseline)
    cv2.rectangle(canvas, (x, top), (x + width, top + height + baseline), color, cv2.FILLED)
    cv2.putText(canvas, text, (x, top + height), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _draw_person(
    canvas: Image, keypoints: NDArray[np.float32], skeleton: Skeleton, color: Color | None, is_unseen: bool
) -> None:
    visible = _visible(keypoints, canvas, skeleton)
    if not visible.any():
        return
    points = np.where(visible[:, None], keypoints[:, :2], 0)
    thickness = _line_width(float(np.ptp(points[visible], axis=0).max()) / 100)
    known = skeleton.bones if len(keypoints) == len(skeleton) else ()
    bones = [bone for bone in known if visible[bone.start] and visible[bone.end]]
    ends = np.array([(bone.start, bone.end) for bone in bones], np.int64).reshape(-1, 2)
    lengths = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
    rooms = np.where([bone.group in skeleton.fine for bone in bones], lengths / _FINER, lengths)
    places = [(x, y) for x, y in np.rint(points * (1 << _SUBPIXEL_BITS)).astype(int).tolist()]
    for bone, length, room in zip(bones, lengths.tolist(), rooms.tolist(), strict=True):
        bgr, width = color or skeleton.colors[bone.group][::-1], min(thickness, _line_width(room / 4))
        stops = [places[bone.start], places[bone.end]]
        if is_unseen:
            stops = np.linspace(stops[0], stops[1], 2 * max(1, round(length / _DASHES))).astype(int).tolist()
        for start, end in zip(stops[::2], stops[1::2], strict=True):
            cv2.line(canvas, start, end, bgr, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    if is_unseen and len(ends):
        return
    rooms_at = _means(ends, rooms, len(points))
    for index in np.flatnonzero(visible).tolist():
        if rooms_at[index] >= _MIN_BONE:
            radius = min(0.6 * thickness, rooms_at[index] / 6)
            _dot(canvas, places[index], radius + min(1, rooms_at[index] / 12), _RIM)
            _dot(canvas, places[index], radius, _DOT)


def _means(ends: NDArray[np.int64], rooms: NDArray[np.float32], count: int) -> list[float]:
    """Mean room, pixels, of the bones at each keypoint; infinite without bones."""
    totals = np.bincount(ends.ravel(), np.repeat(rooms, 2), count)
    numbers = np.bincount(ends.ravel(), minlength=count)
    means: list[float] = np.where(numbers > 0, totals / np.maximum(numbers, 1), np.inf).tolist()
    return means


def _line_width(thickness: float) -> int:
    """A thickness as a whole number of pixels that OpenCV accepts."""
    return min(max(round(thickness), 1), 8)


def _visible(keypoints: NDArray[np.float32], canvas: Image, skeleton: Skeleton) -> NDArray[np.bool_]:
    """Whether keypoints score enough, are finite, and close enough to the image for OpenCV's 32-bit coordinates."""
    limit = 4 * max(canvas.shape)
    # False for NaN too.
    near: NDArray[np.bool_] = (np.abs(keypoints[:, :2]) < limit).all(axis=1)
    return near & (keypoints[:, 2] > skeleton.visible_above)


def _dot(canvas: Image, center: tuple[int, int], radius: float, color: tuple[int, int, int]) -> None:
    fixed = round(radius * (1 << _SUBPIXEL_BITS))
    cv2.circle(canvas, center, fixed, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_boxes(
    image: Image,
    boxes: Sequence[Sequence[Any]],
    labels: Sequence[str],
    track_ids: Sequence[int | None] | None = None,
    interpolated: Sequence[bool] | None = None,
) -> Image:
    """Draw labelled boxes; the size of lines and text depends on the size of the image.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; not modified.
        boxes: (x1, y1, x2, y2) each, pixels.
        labels: a text for each.
        track_ids: one a box; a box that has one is drawn in the colour of the id, which follows the label.
        interpolated: one a box; that of somebody who was not seen in this frame is drawn in thin lines.

    Returns:
        ``[H, W, 3]`` uint8 BGR.

    Example:
        >>> image = np.zeros((100, 100, 3), np.uint8)
        >>> drawn = draw_boxes(image, [(20, 40, 80, 90)], ["0.93"])
        >>> bool(drawn[60, 20].any()), bool(drawn[60, 50].any()), bool(image.any())
        (True, False, False)
    """
    canvas = image.copy()
    thickness = max(1, round(max(image.shape) / 400))
    scale = max(0.4, max(image.shape) / 1200)
    ids, unseen = track_ids or [None] * len(boxes), interpolated or [False] * len(boxes)
    for box, label, track_id, is_unseen in zip(boxes, labels, ids, unseen, strict=True):
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        color = track_color(track_id)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color or _BOX, 1 if is_unseen else thickness, cv2.LINE_AA)
        _draw_label(canvas, f"{label} #{track_id}" if color else label, x1, y1, scale, color or _BOX)
    return canvas
