"""The people that a model finds worst: annotation and prediction side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.draw import draw_people
from hpi.evaluation.predictions import Case
from hpi.instances import Skeleton

Image = NDArray[np.uint8]

PANEL = 480
BAR = 34
MARGIN = 1.35
"""Side of the region that is shown, relative to the person."""

_GREY, _WHITE, _YELLOW = (60, 60, 60), (255, 255, 255), (0, 220, 255)  # BGR
_FONT, _TEXT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


def worst(cases: Sequence[Case], count: int) -> list[Case]:
    """The cases with the lowest values, the lowest first; of equal ones, that with the largest error first.

    Args:
        cases: of any measure.
        count: how many at most.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> points, pairs = np.ones((1, 3), np.float32), np.ones((1, 2, 2), np.float32)
        >>> good = Case(Path("a.png"), 7, "OKS", 0.9, 0.1, (0, 0, 8, 8), points, Skeleton.numbered(1), points, pairs)
        >>> [case.annotation for case in worst([good, replace(good, annotation=8, value=0.2)], 1)]
        [8]
    """
    return sorted(cases, key=lambda case: (case.value, -case.error))[:count]


def draw_case(case: Case, image: Image, skeleton: Skeleton) -> Image:
    """Show a person twice: as annotated, and as predicted.

    Args:
        case: the person.
        image: ``[H, W, 3]`` uint8 BGR: the whole image.
        skeleton: of the predicted keypoints.

    Returns:
        ``[548, 968, 3]`` uint8 BGR, with a heading and a legend.

    Example:
        >>> from pathlib import Path
        >>> points, pairs = np.ones((1, 3), np.float32), np.ones((1, 2, 2), np.float32)
        >>> case = Case(Path("a.png"), 7, "OKS", 0.9, 0.1, (0, 0, 8, 8), points, Skeleton.numbered(1), points, pairs)
        >>> draw_case(case, np.zeros((60, 40, 3), np.uint8), case.skeleton).shape
        (548, 968, 3)
    """
    matrix = _to_panel(case, image)
    panel = np.asarray(
        cv2.warpAffine(image, matrix, (PANEL, PANEL), flags=cv2.INTER_LINEAR, borderValue=_GREY), np.uint8
    )
    left, right = _with_box(panel, case, matrix), panel
    left = draw_people(left, [_moved(case.truth, matrix)], case.skeleton)
    left = _with_dots(left, _moved(case.truth[case.truth[:, 2] > 0], matrix))
    if case.found is not None:
        right = draw_people(right, [_moved(case.found, matrix)], skeleton)
        right = _with_errors(right, case, matrix)
    gap = np.full((PANEL, 8, 3), 255, np.uint8)
    heading = f"{case.path.name}   person {case.annotation}   {case.measure} {case.value:.2f}"
    prediction = "prediction" if case.found is not None else "no prediction"
    panels = np.hstack([_labelled(left, "ground truth"), gap, _labelled(right, prediction)])
    return np.vstack([_heading(heading, panels.shape[1]), panels, _legend(panels.shape[1], case.skeleton)])


def _to_panel(case: Case, image: Image) -> NDArray[np.float64]:
    """``[2, 3]``: from the image into a panel that shows box and labelled keypoints, and little beyond the image."""
    corners = np.array(case.box).reshape(2, 2)
    points = np.concatenate([corners, case.truth[case.truth[:, 2] > 0, :2]])
    low, high = points.min(axis=0), points.max(axis=0)
    side = MARGIN * max(float((high - low).max()), 8.0)
    size = np.array([image.shape[1], image.shape[0]])
    middle = np.where(side < size, np.clip((low + high) / 2, side / 2, size - side / 2), size / 2)
    scale = PANEL / side
    return np.column_stack([np.eye(2) * scale, PANEL / 2 - scale * middle])


def _moved(keypoints: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Keypoints ``[K, 3]`` in a panel's pixels."""
    points = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.column_stack([points, keypoints[:, 2]]).astype(np.float32)


def _with_box(panel: Image, case: Case, matrix: NDArray[np.float64]) -> Image:
    corners = np.array(case.box).reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
    (x1, y1), (x2, y2) = np.rint(corners).astype(int).tolist()
    return np.asarray(cv2.rectangle(panel.copy(), (x1, y1), (x2, y2), _WHITE, 1, cv2.LINE_AA), np.uint8)


def _with_errors(panel: Image, case: Case, matrix: NDArray[np.float64]) -> Image:
    """With a line from each predicted keypoint that counts, however little it scores, to a ring at its true place."""
    places = np.rint(np.clip(case.pairs @ matrix[:, :2].T + matrix[:, 2], -PANEL, 2 * PANEL)).astype(np.float32)
    for true, predicted in places.astype(int).tolist():
        cv2.line(panel, predicted, true, _YELLOW, 1, cv2.LINE_AA)
        cv2.circle(panel, true, 5, _YELLOW, 1, cv2.LINE_AA)
    return _with_dots(panel, places[:, 1])


def _with_dots(panel: Image, points: NDArray[np.float32]) -> Image:
    """With a dot at each point ``[N, 2 or 3]``, which shows also where a keypoint has no bone."""
    for x, y, *_ in np.rint(points).astype(int).tolist():
        cv2.circle(panel, (x, y), 4, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(panel, (x, y), 3, _WHITE, cv2.FILLED, cv2.LINE_AA)
    return panel


def _labelled(panel: Image, text: str) -> Image:
    (width, height), _ = cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)
    cv2.rectangle(panel, (0, 0), (width + 16, height + 14), _GREY, cv2.FILLED)
    return _text(panel, text, 8, height + 7)


def _heading(text: str, width: int) -> Image:
    return _text(np.full((BAR, width, 3), _GREY, np.uint8), text, 10, 22)


def _legend(width: int, skeleton: Skeleton) -> Image:
    bar = np.full((BAR, width, 3), _GREY, np.uint8)
    x = 10
    entries = [(group, color[::-1]) for group, color in skeleton.colors.items()]
    for text, color in [*entries, ("from each keypoint to its true place", _YELLOW), ("annotated box", _WHITE)]:
        cv2.line(bar, (x, 17), (x + 24, 17), color, 3, cv2.LINE_AA)
        _text(bar, text, x + 32, 22)
        x += 32 + cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)[0][0] + 24
    return bar


def _text(canvas: Image, text: str, x: int, y: int) -> Image:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    cv2.putText(canvas, plain, (x, y), _FONT, _TEXT_SCALE, _WHITE, 1, cv2.LINE_AA)
    return canvas
