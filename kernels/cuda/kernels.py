"""Crops, resized frames and joints on an NVIDIA card: the CUDA sources beside this file, run through CuPy."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.kernels.affine import Float64

DeviceArray = Any
"""``cupy.ndarray``; CuPy is not typed, and is not needed before a :class:`CudaKernels` is made."""

_SOURCES = ("images.cu", "heatmaps.cu")
_THREADS = 256  # of a block
# Contracting a product and a sum into one rounding would part from the CPU's results.
_COMPILER_OPTIONS = ("--std=c++17", "--fmad=false", f"-DTHREADS={_THREADS}")

# The structures of images.cu; every field lies at a multiple of its size, so that both sides agree without padding.
_FRAME = np.dtype([("pixels", np.uint64), ("pitch", np.int64), ("width", np.int32), ("height", np.int32)])
_PERSON = np.dtype([("frame", _FRAME), ("to_image", np.float64, (2, 3))])
_RESIZING = np.dtype([("frame", _FRAME), ("stride", np.float64, 2)])
_NORMALIZATION = np.dtype([("scale", np.float32, 3), ("shift", np.float32, 3)])


class CudaKernels:
    """The kernels, compiled for one card.

    Every method works on CuPy's current stream of that card, and all but :meth:`wait` return before the work is done.
    """

    def __init__(self, device: int = 0) -> None:
        """Compile the kernels; CuPy keeps the result on disk.

        Args:
            device: CUDA's number of the card.

        Raises:
            ImportError: CuPy is not installed.
        """
        self._cupy: Any = importlib.import_module("cupy")
        self.device = self._cupy.cuda.Device(device)
        code = "\n".join((resources.files(__package__) / name).read_text("utf-8") for name in _SOURCES)
        module = self._cupy.RawModule(code=code, options=_COMPILER_OPTIONS)
        with self.device:
            self._crop = module.get_function("crop_normalized")
            # By OpenCV's numbers.
            self._resize = {1: module.get_function("resize_linear"), 2: module.get_function("resize_cubic")}
            self._decode = module.get_function("decode_dark")

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Copy an image ``[H, W, 3]`` uint8, or any other array, to the card; C-contiguous there.

        It may be changed as soon as this returns, unless it lies in page-locked memory.
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

        To the bit what :func:`hpi.kernels.affine.stack_crops` and then :func:`hpi.kernels.normalize.normalize` give
        on the CPU, by the arithmetic of OpenCV's ``warpAffine`` (see ``images.cu``).

        Args:
            images: ``[H, W, 3]`` uint8 BGR on the card each, with the pixels of a row side by side.
            matrices: for each image ``[N_i, 2, 3]`` float64 on the host, from
                :func:`hpi.kernels.affine.crop_matrices`.
            size: ``(width, height)`` of a crop, pixels.
            scale: per channel, in the order RGB.
            shift: per channel, in the order RGB.

        Returns:
            ``[sum of N_i, 3, height, width]`` float32 RGB on the card, people in the order of the images.

        Raises:
            ValueError: an image of another type or layout.
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
        """Resize images to one size, whatever their own, and normalise them.

        As OpenCV's ``resize`` on uint8, then :func:`hpi.kernels.normalize.normalize`. Linear is the same to the bit.
        Cubic is within one level: OpenCV's own arithmetic depends on its build, and that of the wheels for x86, with
        Intel's library, is met in all but about one of 100,000 levels.

        Args:
            images: ``[H, W, 3]`` uint8 BGR on the card each, with the pixels of a row side by side.
            size: ``(width, height)`` of the result, pixels.
            interpolation: OpenCV's number: 1 (``INTER_LINEAR``) or 2 (``INTER_CUBIC``).
            scale: per channel, in the order RGB.
            shift: per channel, in the order RGB.

        Returns:
            ``[N, 3, height, width]`` float32 RGB on the card.

        Raises:
            ValueError: another interpolation, or an image of another type or layout.
        """
        if interpolation not in self._resize:
            raise ValueError(f"no interpolation {interpolation} on the card: 1 (linear) and 2 (cubic) are there")
        resizings = np.empty(len(images), _RESIZING)
        if len(resizings):
            frames = _frames(images)
            resizings["frame"] = frames
            # As OpenCV computes it, with the rounding of both divisions.
            resizings["stride"] = 1 / (size / np.stack([frames["width"], frames["height"]], axis=1))
        return self._image_batch(self._resize[interpolation], resizings, size, scale, shift)

    def decode_dark(self, heatmaps: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Decode heatmaps with DARK: :func:`hpi.kernels.heatmaps.decode_dark` on the card.

        Args:
            heatmaps: ``[N, K, H, W]`` float32 on the card; is not changed.

        Returns:
            ``joints [N, K, 2]`` float64, (x, y) in cells, and ``scores [N, K]`` float32, on the card.
        """
        count, joints_each, height, width = heatmaps.shape
        with self.device:
            joints = self._cupy.empty((count, joints_each, 2), np.float64)
            scores = self._cupy.empty((count, joints_each), np.float32)
            if scores.size:
                cells = self._cupy.ascontiguousarray(heatmaps)
                self._decode((scores.size,), (_THREADS,), (cells, np.int32(width), np.int32(height), joints, scores))
        return joints, scores

    def _image_batch(
        self,
        kernel: Any,
        jobs: NDArray[np.void],
        size: tuple[int, int],
        scale: Sequence[float],
        shift: Sequence[float],
    ) -> DeviceArray:
        """``[N, 3, height, width]`` of a kernel that makes one pixel a thread, one image a row of blocks."""
        width, height = size
        normalization = np.array([(tuple(scale), tuple(shift))], _NORMALIZATION)
        blocks = -(-width * height // _THREADS)
        with self.device:
            batch = self._cupy.empty((len(jobs), 3, height, width), np.float32)
            if len(jobs):
                on_card = self._cupy.asarray(jobs.view(np.uint8))
                arguments = (on_card, np.int32(width), np.int32(height), normalization, batch)
                kernel((blocks, len(jobs)), (_THREADS,), arguments)
        return batch


def _frames(images: Sequence[DeviceArray]) -> NDArray[np.void]:
    """Where the images lie in the memory of the card: ``[N]`` of ``_FRAME``."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.strides[1:] != (3, 1):
            raise ValueError(
                f"an image {image.dtype} {image.shape} with strides {image.strides} is not rows of BGR uint8"
            )
    return np.array([(image.data.ptr, image.strides[0], *image.shape[1::-1]) for image in images], _FRAME)


def _inverse(matrices: Float64) -> Float64:
    """The inverse maps ``[N, 2, 3]``, from crop to image, in the order of operations of OpenCV's ``warpAffine``.

    A map without an inverse becomes zeros, as there.
    """
    (a, b, x), (c, d, y) = matrices.transpose(1, 2, 0)
    determinant = a * d - b * c
    factor = np.divide(1, determinant, out=np.zeros_like(determinant), where=determinant != 0)
    a, b, c, d = d * factor, b * -factor, c * -factor, a * factor
    return np.stack([a, b, -a * x - b * y, c, d, -c * x - d * y], axis=1).reshape(-1, 2, 3)
