"""Crops, resized frames and keypoints on an NVIDIA GPU: the CUDA sources in this folder, run through CuPy."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.kernels.affine import Float64

DeviceArray = Any
"""``cupy.ndarray``; CuPy has no types, and is imported only when a :class:`CudaKernels` is created."""

_SOURCES = ("images.cu", "heatmaps.cu")
_THREADS = 256  # of a block
# Fused multiply-add would round once instead of twice, unlike the CPU.
_COMPILER_OPTIONS = ("--std=c++17", "--fmad=false", f"-DTHREADS={_THREADS}")

# The structures of images.cu; every field is aligned to its size, so neither side adds padding.
_FRAME = np.dtype([("pixels", np.uint64), ("pitch", np.int64), ("width", np.int32), ("height", np.int32)])
_PERSON = np.dtype([("frame", _FRAME), ("to_image", np.float64, (2, 3))])
_RESIZING = np.dtype([("frame", _FRAME), ("stride", np.float64, 2)])
_NORMALIZATION = np.dtype([("scale", np.float32, 3), ("shift", np.float32, 3)])


class CudaKernels:
    """The kernels, compiled for one GPU.

    Every method works on CuPy's current stream of that GPU, and all but :meth:`wait` return before the work is done.
    """

    def __init__(self, device: int = 0) -> None:
        """Compile the kernels; CuPy keeps the result on disk.

        Args:
            device: CUDA's index of the GPU.

        Raises:
            ImportError: CuPy is not installed.
        """
        self._cupy: Any = importlib.import_module("cupy")
        self.device = self._cupy.cuda.Device(device)
        code = "\n".join((resources.files(__package__) / name).read_text("utf-8") for name in _SOURCES)
        module = self._cupy.RawModule(code=code, options=_COMPILER_OPTIONS)
        with self.device:
            self._crop = module.get_function("crop_normalized")
            # OpenCV's numbers of the interpolations.
            self._resize = {1: module.get_function("resize_linear"), 2: module.get_function("resize_cubic")}
            self._decode = module.get_function("decode_dark")

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Copy an image ``[H, W, 3]`` uint8, or any other array, to the GPU; C-contiguous there.

        The array may be modified as soon as this returns, unless it is in page-locked memory.
        """
        with self.device:
            return self._cupy.asarray(array, order="C")

    def wait(self) -> None:
        """Wait until all that was started on the current stream is done."""
        with self.device:
            self._cupy.cuda.get_current_stream().synchronize()

    def crop_normalized(
        self,
        images: Sequence[DeviceArray],
        matrices: Sequence[Float64],
        size: tuple[int, int],
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> DeviceArray:
        """Crop people out of several images, bilinear, black outside the image, and normalise the crops.

        Bit-identical to :func:`hpi.kernels.affine.stack_crops` followed by :func:`hpi.kernels.normalize.normalize` on
        the CPU, since it follows the arithmetic of OpenCV's ``warpAffine`` (see ``images.cu``).

        Args:
            images: ``[H, W, 3]`` uint8 BGR each, on the GPU, with contiguous rows.
            matrices: for each image ``[N_i, 2, 3]`` float64 on the host, from
                :func:`hpi.kernels.affine.crop_matrices`.
            size: ``(width, height)`` of a crop, pixels.
            scale: per channel, in the order RGB.
            shift: per channel, in the order RGB.

        Returns:
            ``[sum of N_i, 3, height, width]`` float32 RGB on the GPU, people in the order of the images.

        Raises:
            ValueError: an image has another type or layout.
        """
        counts = [len(of_image) for of_image in matrices]
        people = np.empty(sum(counts), _PERSON)
        if len(people):
            people["frame"] = np.repeat(_frames(images), counts)
            people["to_image"] = _inverse(np.concatenate(matrices))
        return self._image_batch(self._crop, people, size, scale, shift)

    def resize_normalized(
        self,
        images: Sequence[DeviceArray],
        size: tuple[int, int],
        interpolation: int,
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> DeviceArray:
        """Resize images of any size to one size, and normalise them.

        As OpenCV's ``resize`` on uint8, followed by :func:`hpi.kernels.normalize.normalize`. Linear is bit-identical.
        Cubic differs by at most one level: OpenCV's arithmetic depends on its build. Compared with the x86 wheels,
        which use Intel's library, about one of 100,000 levels differs.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each, on the GPU, with contiguous rows.
            size: ``(width, height)`` of the result, pixels.
            interpolation: OpenCV's number: 1 (``INTER_LINEAR``) or 2 (``INTER_CUBIC``).
            scale: per channel, in the order RGB.
            shift: per channel, in the order RGB.

        Returns:
            ``[N, 3, height, width]`` float32 RGB on the GPU.

        Raises:
            ValueError: the interpolation is not supported, or an image has another type or layout.
        """
        if interpolation not in self._resize:
            raise ValueError(f"interpolation {interpolation} is not available on the GPU: use 1 (linear) or 2 (cubic)")
        resizings = np.empty(len(images), _RESIZING)
        if len(resizings):
            frames = _frames(images)
            resizings["frame"] = frames
            # As OpenCV computes it, with the rounding of both divisions.
            resizings["stride"] = 1 / (size / np.stack([frames["width"], frames["height"]], axis=1))
        return self._image_batch(self._resize[interpolation], resizings, size, scale, shift)

    def decode_dark(self, heatmaps: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Decode heatmaps with DARK: :func:`hpi.kernels.heatmaps.decode_dark` on the GPU.

        Args:
            heatmaps: ``[N, K, H, W]`` float32 on the GPU; not modified.

        Returns:
            ``keypoints [N, K, 2]`` float64, (x, y) in cells, and ``scores [N, K]`` float32, on the GPU.
        """
        count, per_person, height, width = heatmaps.shape
        with self.device:
            keypoints = self._cupy.empty((count, per_person, 2), np.float64)
            scores = self._cupy.empty((count, per_person), np.float32)
            if scores.size:
                cells = self._cupy.ascontiguousarray(heatmaps)
                self._decode((scores.size,), (_THREADS,), (cells, np.int32(width), np.int32(height), keypoints, scores))
        return keypoints, scores

    def _image_batch(
        self,
        kernel: Any,
        jobs: NDArray[np.void],
        size: tuple[int, int],
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> DeviceArray:
        """``[N, 3, height, width]`` of a kernel with one thread per pixel and one row of blocks per image."""
        width, height = size
        normalization = np.array([(tuple(scale), tuple(shift))], _NORMALIZATION)
        blocks = -(-width * height // _THREADS)
        with self.device:
            batch = self._cupy.empty((len(jobs), 3, height, width), np.float32)
            if len(jobs):
                on_gpu = self._cupy.asarray(jobs.view(np.uint8))
                arguments = (on_gpu, np.int32(width), np.int32(height), normalization, batch)
                kernel((blocks, len(jobs)), (_THREADS,), arguments)
        return batch


def _frames(images: Sequence[DeviceArray]) -> NDArray[np.void]:
    """Addresses and sizes of images on the GPU: ``[N]`` of ``_FRAME``."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.strides[1:] != (3, 1):
            raise ValueError(
                f"an image {image.dtype} {image.shape} with strides {image.strides} is not rows of BGR uint8"
            )
    return np.array([(image.data.ptr, image.strides[0], *image.shape[1::-1]) for image in images], _FRAME)


def _inverse(matrices: Float64) -> Float64:
    """The inverse maps ``[N, 2, 3]``, from crop to image, in the order of operations of OpenCV's ``warpAffine``.

    A map without an inverse becomes zeros, as in OpenCV.
    """
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    determinant = a * d - b * c
    factor = np.divide(1, determinant, out=np.zeros_like(determinant), where=determinant != 0)
    a, b, c, d = d * factor, b * -factor, c * -factor, a * factor
    return np.stack([a, b, -a * x - b * y, c, d, -c * x - d * y], axis=1).reshape(-1, 2, 3)
