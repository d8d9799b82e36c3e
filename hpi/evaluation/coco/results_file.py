"""Keypoints in COCO's results format, as PaddleDetection's evaluation saves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.evaluation.coco.oks import oks
from hpi.evaluation.predictions import Person, Predictions
from hpi.kernels.boxes import boxes_to_center_scale

RESULTS = "keypoints_results.json"
"""PaddleDetection's name of the file."""

_SAME_OKS = 0.9
"""Of two people of an image that are more alike, only the one that scores more is kept."""
_PADDING = 1.25
_SCALE_UNIT = 200


def keypoint_results(
    predictions: Predictions,
    score: Callable[[Person], float],
    category: int,
    aspect: float,
    sigmas: Sequence[float] | None,
) -> list[dict[str, Any]]:
    """Predictions in COCO's results format, with PaddleDetection's two fields besides.

    ``center`` is the middle of a person's box, ``scale`` its padded width and height in units of 200 pixels.

    Args:
        predictions: people with keypoints.
        score: what a person is ranked by.
        category: COCO's id of people.
        aspect: width / height of the keypoint model's input.
        sigmas: of OKS, by which people that were found twice are dropped; None: nobody is dropped.

    Returns:
        For each person image_id, category_id, keypoints (x, y, score of each), score, center and scale.

    Example:
        >>> person = Person((0, 0, 30, 40), 0.5, keypoints=np.array([[10, 20, 0.5]], np.float32))
        >>> (entry,) = keypoint_results({7: [person, person]}, lambda person: person.score, 1, 0.75, [0.05])
        >>> entry["image_id"], entry["score"], entry["keypoints"], entry["center"]
        (7, 0.5, [10.0, 20.0, 0.5], [15.0, 20.0])
    """
    return [
        entry
        for image, people in predictions.items()
        if people
        for entry in _of_image(image, people, np.array([*map(score, people)]), category, aspect, sigmas)
    ]


def _of_image(
    image: int,
    people: Sequence[Person],
    scores: NDArray[np.float64],
    category: int,
    aspect: float,
    sigmas: Sequence[float] | None,
) -> list[dict[str, Any]]:
    centers, scales = boxes_to_center_scale(np.array([person.box for person in people], np.float32), aspect, _PADDING)
    points = np.stack([person.keypoints for person in people])
    kept = np.argsort(-scores, kind="stable")
    if sigmas is not None:
        kept = _without_doubles(points, kept, scales.prod(axis=1), sigmas)
    return [
        {
            "image_id": image,
            "category_id": category,
            "keypoints": points[row].astype(float).ravel().tolist(),
            "score": float(scores[row]),
            "center": centers[row].tolist(),
            "scale": (scales[row] / _SCALE_UNIT).tolist(),
        }
        for row in kept
    ]


def _without_doubles(
    points: NDArray[np.float32], order: NDArray[np.int64], areas: NDArray[np.float32], sigmas: Sequence[float]
) -> NDArray[np.int64]:
    """The people that are unlike all before them, best first: OKS-NMS."""
    kept: list[int] = []
    for row in order.tolist():
        everywhere = np.concatenate([points[row, :, :2], np.ones((points.shape[1], 1), np.float32)], axis=1)
        alike = (
            oks(everywhere, float(areas[row] + areas[other]) / 2, points[other][None], sigmas)[0] for other in kept
        )
        if all(value <= _SAME_OKS for value in alike):
            kept.append(row)
    return np.array(kept, np.int64)
