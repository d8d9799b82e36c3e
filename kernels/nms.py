"""Non-maximum suppression of a detector's candidates, instead of the one in its graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.kernels.boxes import box_iou

Float32 = NDArray[np.float32]

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

    Example:
        >>> NmsSpec(score_threshold=0.3, iou_threshold=0.6, per_class=100, per_image=100).iou_threshold
        0.6
    """

    score_threshold: float
    iou_threshold: float
    per_class: int
    per_image: int


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
    of_classes = [_keep(boxes, of_class, spec) for of_class in scores]
    kept = np.concatenate(of_classes)
    classes = np.repeat(np.arange(len(scores)), [len(of_class) for of_class in of_classes])
    best = np.argsort(-scores[classes, kept], kind="stable")[: spec.per_image]
    kept, classes = kept[best], classes[best]
    return np.column_stack([classes.astype(np.float32), scores[classes, kept], boxes[kept]])


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


def _keep(boxes: Float32, scores: Float32, spec: NmsSpec) -> NDArray[np.intp]:
    """Indices of the boxes of one class that survive, best first; scores ``[A]``."""
    candidates = np.flatnonzero(scores > spec.score_threshold)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    limit = min(spec.per_class, spec.per_image)  # one class alone may fill the image
    threshold = np.float32(spec.iou_threshold)
    kept = np.empty(0, np.intp)
    for start in range(0, len(candidates), _BLOCK):
        if len(kept) >= limit:
            break
        block = candidates[start : start + _BLOCK]
        block = block[~(box_iou(boxes[kept], boxes[block]) > threshold).any(axis=0)]
        survives = _greedy(box_iou(boxes[block], boxes[block]) > threshold)
        kept = np.concatenate([kept, block[survives]])
    return kept[:limit]


def _greedy(suppresses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of some boxes, best first, are not suppressed by a better survivor: ``[N, N]`` to ``[N]``."""
    survives = np.ones(len(suppresses), np.bool_)
    for index, of_box in enumerate(suppresses):
        if survives[index]:
            survives[index + 1 :] &= ~of_box[index + 1 :]
    return survives
