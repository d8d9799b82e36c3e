"""Boxes ``(x1, y1, x2, y2)`` in pixels: clipping, overlap, and the crop region of a person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def clip_boxes(boxes: Float32, width: int, height: int) -> Float32:
    """Clip boxes to the image.

    Args:
        boxes: ``[N, 4]`` float32, pixels.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        ``[N, 4]`` float32 with x in ``[0, width]`` and y in ``[0, height]``.

    Example:
        >>> clip_boxes(np.array([[-5, 2, 50, 80]], np.float32), width=40, height=60)
        array([[ 0.,  2., 40., 60.]], dtype=float32)
    """
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def has_area(boxes: Float32 | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the ``[N, 4]`` boxes have a positive width and height: ``[N]`` bool.

    Example:
        >>> has_area(np.array([[0, 0, 1, 1], [2, 2, 2, 5]], np.float32))
        array([ True, False])
    """
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def boxes_around(keypoints: Float32, scores: Float32) -> Float32:
    """The smallest box around the keypoints of each person that score above 0; of all of them where none does.

    Args:
        keypoints: ``[N, K, 2]`` float32, x and y, pixels.
        scores: ``[N, K]`` float32.

    Returns:
        ``[N, 4]`` float32.

    Example:
        >>> keypoints, scores = np.array([[[1, 2], [5, 9], [0, 0]]], np.float32), np.array([[0.5, 0.5, 0]], np.float32)
        >>> boxes_around(keypoints, scores)
        array([[1., 2., 5., 9.]], dtype=float32)
    """
    found = (scores > 0) | ~(scores > 0).any(axis=1, keepdims=True)
    least = np.where(found[..., None], keypoints, np.inf).min(axis=1)
    most = np.where(found[..., None], keypoints, -np.inf).max(axis=1)
    return np.concatenate([least, most], axis=1).astype(np.float32)


def box_iou(a: Float32, b: Float32) -> Float32:
    """Intersection over union of every pair.

    Args:
        a: ``[N, 4]`` float32, pixels.
        b: ``[M, 4]`` float32, pixels.

    Returns:
        ``[N, M]`` float32 in ``[0, 1]``; 0 where both boxes are empty.

    Example:
        >>> box_iou(np.array([[0, 0, 2, 2]], np.float32), np.array([[0, 0, 2, 1], [5, 5, 6, 6]], np.float32))
        array([[0.5, 0. ]], dtype=float32)
    """
    ax1, ay1, ax2, ay2 = a.T[:, :, None]
    bx1, by1, bx2, by2 = b.T[:, None]
    width = np.maximum(np.minimum(ax2, bx2) - np.maximum(ax1, bx1), 0)
    height = np.maximum(np.minimum(ay2, by2) - np.maximum(ay1, by1), 0)
    intersection = width * height
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    iou: Float32 = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return iou


def boxes_to_center_scale(boxes: Float32, aspect_ratio: float, padding: float) -> tuple[Float32, Float32]:
    """Turn boxes into crop regions of the model's aspect ratio.

    The shorter side grows until width / height is ``aspect_ratio``, then both sides grow by ``padding``. This is
    the region that PaddleX's keypoint pipeline crops; it is in pixels (no division by 200) and is not rounded.

    Args:
        boxes: ``[N, 4]`` float32, pixels.
        aspect_ratio: width / height of the model's input.
        padding: enlargement of both sides (PP-TinyPose: 1.25).

    Returns:
        ``center [N, 2]`` and ``scale [N, 2]`` (width, height), float32, pixels.

    Example:
        >>> boxes_to_center_scale(np.array([[0, 0, 100, 200]], np.float32), aspect_ratio=0.75, padding=1.25)
        (array([[ 50., 100.]], dtype=float32), array([[187.5, 250. ]], dtype=float32))
    """
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    wide = width > aspect_ratio * height
    scale = np.stack(
        [np.where(wide, width, height * aspect_ratio), np.where(wide, width / aspect_ratio, height)], axis=1
    )
    return center.astype(np.float32), (scale * padding).astype(np.float32)


def expand_boxes(boxes: Float32, width: int, height: int, padding: float) -> NDArray[np.int64]:
    """The part of an image that PaddleDetection cuts out for each person.

    Boxes are cut to whole pixels and grow by ``padding``. Tall ones are widened to 3:4, wide ones stay; the result is
    cut to whole pixels again, and to the image without its last column and row.

    Args:
        boxes: ``[N, 4]`` float32, pixels.
        width: image width, pixels.
        height: image height, pixels.
        padding: enlargement of both sides (PaddleDetection: 1.3).

    Returns:
        ``[N, 4]`` int64: first column and row, and those after the last. Nothing is left (x2 <= x1 or y2 <= y1) of
        boxes beside the image or of less than a pixel.

    Example:
        >>> expand_boxes(np.array([[100, 50, 140.9, 150]], np.float32), width=640, height=480, padding=1.3)
        array([[ 71,  35, 168, 165]])
    """
    corners = np.trunc(boxes.astype(np.float64))
    center = (corners[:, :2] + corners[:, 2:]) / 2
    half = (corners[:, 2:] - corners[:, :2]) * padding / 2
    tall = half[:, 1] > half[:, 0] * 4 / 3
    half[:, 0] = np.where(tall, half[:, 1] * 0.75, half[:, 0])
    start = np.maximum(np.trunc(center - half), 0)
    end = np.minimum(np.trunc(center + half), (width - 1, height - 1))
    return np.concatenate([start, end], axis=1).astype(np.int64)


def whole_image_center_scale(width: int, height: int) -> tuple[Float32, Float32]:
    """Crop region of an image given without a box: centre and size of the image, no padding.

    Since :func:`hpi.kernels.affine.crop_matrices` fits the width, a tall image is cut at top and bottom and a wide
    one is padded, as PaddleX's keypoint module does.

    Returns:
        ``center [1, 2]`` and ``scale [1, 2]``, float32, pixels.

    Example:
        >>> whole_image_center_scale(640, 480)
        (array([[320., 240.]], dtype=float32), array([[640., 480.]], dtype=float32))
    """
    return np.array([[width / 2, height / 2]], np.float32), np.array([[width, height]], np.float32)
