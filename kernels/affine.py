"""The affine map between the image and the crop of one person; :mod:`hpi.transforms` has its inverse.

Two conventions are in use. Without UDP (the default, and what PaddleX deploys) the crop is isotropic: the region's
*width* is mapped onto the crop's width and its height follows. With UDP (Huang et al., "The Devil is in the
Details", CVPR 2020) distances are measured between pixel centres, so the region is mapped onto ``size - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MAX_WARP_SIDE = 32766
"""Longest image side, in pixels, that OpenCV's ``warpAffine`` supports (its coordinates are 16-bit)."""


def crop_matrices(center: Float32, scale: Float32 | Float64, size: tuple[int, int], *, udp: bool = False) -> Float64:
    """Affine matrices from image pixels to crop pixels.

    The non-UDP matrices come from ``cv2.getAffineTransform`` over float32 points: a closed form in float64 differs
    from it by up to 2e-2 on tiny boxes, and parity with PaddleX would be lost.

    Args:
        center: ``[N, 2]`` float32, pixels of the image.
        scale: ``[N, 2]``, width and height of the region, pixels of the image.
        size: ``(width, height)`` of the crop, pixels.
        udp: crop with UDP (anisotropic, between pixel centres).

    Returns:
        ``[N, 2, 3]`` float64.

    Example:
        >>> center, scale = np.array([[50, 50]], np.float32), np.array([[96, 128]], np.float32)
        >>> crop_matrices(center, scale, (96, 128)).round(6)
        array([[[ 1., -0., -2.],
                [ 0.,  1., 14.]]])
    """
    matrices = np.empty((len(center), 2, 3), np.float64)
    for matrix, c, s in zip(matrices, center, scale, strict=True):
        matrix[:] = _udp_matrix(c, s, size) if udp else _top_down_matrix(c, s, size)
    return matrices


def _top_down_matrix(center: Float32, scale: Float32 | Float64, size: tuple[int, int]) -> NDArray[Any]:
    width, height = size
    x, y = center
    above = np.float32(y - scale[0] * np.float32(0.5))
    # Not half the scale: the reference measures this side of the triangle between points already rounded to float32.
    side = y - above
    source = np.array([[x, y], [x, above], [x - side, above]], np.float32)
    middle_x, middle_y = width / 2, height / 2
    target = np.array([[middle_x, middle_y], [middle_x, middle_y - middle_x], [0, middle_y - middle_x]], np.float32)
    return cv2.getAffineTransform(source, target)


def _udp_matrix(center: Float32, scale: Float32 | Float64, size: tuple[int, int]) -> Float32:
    ratio = (np.array(size) - 1) / scale.astype(np.float64)
    offset = ratio * (scale / 2 - center)
    return np.array([[ratio[0], 0, offset[0]], [0, ratio[1], offset[1]]], np.float32)


def crop(image: NDArray[np.uint8], matrices: Float64, out: NDArray[np.uint8]) -> None:
    """Cut one crop per matrix out of an image, bilinear, black outside the image.

    Args:
        image: ``[H, W, 3]`` uint8, both sides at most :data:`MAX_WARP_SIDE`.
        matrices: ``[N, 2, 3]`` float64 from :func:`crop_matrices`.
        out: ``[N, height, width, 3]`` uint8, C-contiguous; overwritten.

    Example:
        >>> image, out = np.full((4, 4, 3), 7, np.uint8), np.empty((1, 2, 2, 3), np.uint8)
        >>> crop(image, np.eye(2, 3)[None], out)
        >>> out[0, :, :, 0].tolist()
        [[7, 7], [7, 7]]
    """
    size = (out.shape[2], out.shape[1])
    for matrix, target in zip(matrices, out, strict=True):
        cv2.warpAffine(image, matrix, size, dst=target, flags=cv2.INTER_LINEAR)


def stack_crops(
    images: Sequence[NDArray[np.uint8]], matrices: Sequence[Float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Crop people out of several images into one batch.

    Args:
        images: ``[H, W, 3]`` uint8 each.
        matrices: for each image, ``[N_i, 2, 3]`` float64.
        size: ``(width, height)`` of a crop, pixels.

    Returns:
        ``[sum of N_i, height, width, 3]`` uint8, people in the order of the images.

    Example:
        >>> image, whole = np.ones((4, 4, 3), np.uint8), np.eye(2, 3)[None]
        >>> stack_crops([image], [whole], (4, 4)).shape
        (1, 4, 4, 3)
    """
    batch = np.empty((sum(map(len, matrices)), size[1], size[0], 3), np.uint8)
    start = 0
    for image, of_image in zip(images, matrices, strict=True):
        crop(image, of_image, batch[start : start + len(of_image)])
        start += len(of_image)
    return batch
