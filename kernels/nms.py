"""Non-maximum suppression of candidates, where a graph does not do it itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.kernels.boxes import box_iou
from hpi.kernels.oks import oks

Float32 = NDArray[np.float32]
Rows = NDArray[np.intp]
Similarity = Callable[[Rows, Rows], NDArray[np.floating[Any]]]
"""How alike each candidate of the one rows is to each of the others: ``[N, M]``."""

_BLOCK = 64
"""Candidates that are compared at once: a compromise between many calls and comparing boxes that are dropped anyway."""


@dataclass(frozen=True)
class NmsSpec:
    """The parameters of NMS that a detector was exported with.

    Attributes:
        score_threshold: candidates must score above it.
        iou_threshold: a candidate that overlaps a better one of its class by more than this is dropped.
        per_class: most boxes of one class in an image.
        per_image: most boxes of an image.
        candidates: how many of an image are compared, the best ones of all classes; None: all.

    Example:
        >>> NmsSpec(score_threshold=0.3, iou_threshold=0.6, per_class=100, per_image=100).iou_threshold
        0.6
    """

    score_threshold: float
    iou_threshold: float
    per_class: int
    per_image: int
    candidates: int | None = None


def multiclass_nms(boxes: Float32, scores: Float32, spec: NmsSpec) -> Float32:
    """Keep the best of overlapping boxes, class by class, as ONNX's NonMaxSuppression does.

    For equal scores, the first class and the first box win.

    Args:
        boxes: ``[A, 4]`` float32, (x1, y1, x2, y2).
        scores: ``[C, A]`` float32.
        spec: thresholds and limits.

    Returns:
        ``[M, 6]`` float32 rows (class, score, x1, y1, x2, y2), best first.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
        >>> scores = np.array([[0.5, 0.75, 0.25]], np.float32)
        >>> multiclass_nms(boxes, scores, NmsSpec(score_threshold=0.1, iou_threshold=0.6, per_class=100, per_image=100))
        array([[ 0.  ,  0.75,  0.  ,  0.  , 10.  ,  9.  ],
               [ 0.  ,  0.25, 20.  , 20.  , 30.  , 30.  ]], dtype=float32)
    """
    classes, rows = np.divmod(best_first(scores.ravel(), spec.score_threshold, spec.candidates), len(boxes))
    most = min(spec.per_class, spec.per_image)  # one class alone may fill the image
    kept = []
    for of_class in np.unique(classes):
        mine = np.flatnonzero(classes == of_class)
        similarity = box_similarity(boxes[rows[mine]])
        of_mine = scores[of_class, rows[mine]]
        kept.append(mine[suppress(of_mine, similarity, above=-np.inf, alike=spec.iou_threshold, most=most)])
    best = np.sort(np.concatenate([np.empty(0, np.intp), *kept]))[: spec.per_image]
    classes, rows = classes[best], rows[best]
    return np.column_stack([classes.astype(np.float32), scores[classes, rows], boxes[rows]])


def batched_nms(boxes: Float32, scores: Float32, spec: NmsSpec) -> tuple[Float32, NDArray[np.int32]]:
    """:func:`multiclass_nms` for every image of a batch.

    Args:
        boxes: ``[B, A, 4]`` float32, B > 0.
        scores: ``[B, C, A]`` float32.
        spec: thresholds and limits.

    Returns:
        The rows of all images ``[M, 6]`` float32, and how many each has, ``[B]`` int32.

    Example:
        >>> boxes = np.array([[[0, 0, 10, 10]], [[0, 0, 10, 10]]], np.float32)
        >>> scores = np.array([[[0.5]], [[0.05]]], np.float32)
        >>> rows, counts = batched_nms(boxes, scores, NmsSpec(0.1, 0.6, 100, 100))
        >>> len(rows), counts
        (1, array([1, 0], dtype=int32))
    """
    rows = [multiclass_nms(*of_image, spec) for of_image in zip(boxes, scores, strict=True)]
    return np.concatenate(rows), np.array([len(of_image) for of_image in rows], np.int32)


def best_first(scores: Float32, above: float, most: int | None = None) -> Rows:
    """The rows of those that score above a threshold, best first, so many at most; for equal scores the first.

    Example:
        >>> best_first(np.float32([0.5, 0.9, 0.2, 0.9]), above=0.3, most=2)
        array([1, 3])
    """
    rows = np.flatnonzero(scores > above)
    return rows[np.argsort(-scores[rows], kind="stable")[:most]]


def suppress(scores: Float32, similarity: Similarity, *, above: float, alike: float, most: int) -> Rows:
    """Keep the best of similar candidates, greedily.

    Args:
        scores: ``[A]`` float32.
        similarity: of candidates, given by their rows; the first ones are the better ones.
        above: candidates must score above it.
        alike: a candidate that is more similar to a better one that was kept is dropped.
        most: how many are kept at most.

    Returns:
        The rows that are kept, best first; for equal scores the first.

    Example:
        >>> at = np.array([1.0, 1.1, 5.0])
        >>> suppress(np.float32([0.5, 0.9, 0.2]), lambda a, b: -abs(at[a, None] - at[b]), above=0.1, alike=-1, most=10)
        array([1, 2])
    """
    candidates = best_first(scores, above)
    kept = np.empty(0, np.intp)
    for start in range(0, len(candidates), _BLOCK):
        if len(kept) >= most:
            break
        block = candidates[start : start + _BLOCK]
        block = block[~(similarity(kept, block) > alike).any(axis=0)]
        survives = _greedy(similarity(block, block) > alike)
        kept = np.concatenate([kept, block[survives]])
    return kept[:most]


def box_similarity(boxes: Float32, classes: NDArray[np.int64] | None = None) -> Similarity:
    """Intersection over union of boxes ``[A, 4]``, 0 for those of different classes ``[A]``, for :func:`suppress`.

    Example:
        >>> boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1]], np.float32)
        >>> box_similarity(boxes)(np.array([0]), np.array([0, 1]))
        array([[1. , 0.5]], dtype=float32)
    """
    return _of_class(lambda ones, others: box_iou(boxes[ones], boxes[others]), classes)


def oks_similarity(
    keypoints: Float32, boxes: Float32, sigmas: Sequence[float], classes: NDArray[np.int64] | None = None
) -> Similarity:
    """OKS of people, for :func:`suppress`: relative to the area of the better one's box, over all keypoints.

    Args:
        keypoints: ``[A, K, 2]`` float32, pixels.
        boxes: ``[A, 4]`` float32, pixels.
        sigmas: ``[K]``, as of :func:`hpi.kernels.oks.oks`.
        classes: ``[A]`` int64: only those of one class are alike; None: all are of one.

    Example:
        >>> keypoints, boxes = np.array([[[5, 5]], [[5, 6]]], np.float32), np.array([[0, 0, 9, 9]] * 2, np.float32)
        >>> oks_similarity(keypoints, boxes, [0.06])(np.array([0]), np.array([0, 1])).round(2)
        array([[1.  , 0.65]], dtype=float32)
    """
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    every = np.ones(keypoints.shape[1], np.bool_)
    return _of_class(
        lambda ones, others: oks(keypoints[ones], areas[ones], keypoints[others], sigmas, every, np.float32), classes
    )


def _of_class(similarity: Similarity, classes: NDArray[np.int64] | None) -> Similarity:
    if classes is None:
        return similarity
    return lambda ones, others: similarity(ones, others) * (classes[ones, None] == classes[others])


def _greedy(suppresses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of some boxes, best first, are not suppressed by a better survivor: ``[N, N]`` to ``[N]``."""
    survives = np.ones(len(suppresses), np.bool_)
    for index, of_box in enumerate(suppresses):
        if survives[index]:
            survives[index + 1 :] &= ~of_box[index + 1 :]
    return survives
