"""What a device does with arrays: the host, or the GPU that the session runs on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import (
    Normalization,
    Session,
    TensorSpec,
    device_index,
    device_kind,
)
from hpi.backends.messages import summarize
from hpi.errors import BackendError
from hpi.kernels.affine import stack_crops
from hpi.kernels.cuda import CudaKernels
from hpi.kernels.flip import mirror
from hpi.kernels.normalize import normalize

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class DeviceArrays(ABC):
    """What a device does with arrays; ``Any`` is a NumPy array on the host and a CuPy array on a GPU.

    Attributes:
        device: ``"cpu"``, or the GPU: ``"gpu:0"``.
        kernels: those of the GPU; None on the host.

    Example:
        >>> device: DeviceArrays = OnHost({})
        >>> device.resized([np.zeros((480, 640, 3), np.uint8)], (320, 240), cv2.INTER_LINEAR).shape
        (1, 240, 320, 3)
    """

    device: str
    kernels: CudaKernels | None

    @abstractmethod
    def active(self) -> AbstractContextManager[Any]:
        """Within it the device is the one that new arrays are made on."""

    @abstractmethod
    def placed(self, images: Sequence[Any]) -> Sequence[Any]:
        """Images ``[H, W, 3]`` uint8 BGR where the methods below want them; those that are there stay as they are."""

    @abstractmethod
    def resized(self, images: Sequence[Any], size: tuple[int, int], interpolation: int) -> Any:
        """Placed images resized to ``(width, height)``, as one batch."""

    @abstractmethod
    def crops(self, images: Sequence[Any], matrices: Sequence[Float64], size: tuple[int, int]) -> Any:
        """One crop for each matrix ``[N_i, 2, 3]`` of each placed image, as one batch."""

    @abstractmethod
    def mirrored(self, batch: Any) -> Any:
        """A batch of either kind, mirrored left to right."""

    @abstractmethod
    def feeds(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs of the session as it takes them; that of images is a batch of either kind."""

    @abstractmethod
    def wait(self) -> None:
        """Until all that was begun is done."""


def device_arrays(session: Session, images: TensorSpec, normalization: Normalization) -> DeviceArrays:
    """Those for the device that a session runs on.

    Args:
        session: a loaded model.
        images: its input that takes images.
        normalization: of the images, where the session does not normalise them itself.
    """
    if session.accepts_gpu_arrays and device_kind(session.info.device) == "gpu":
        return OnGpu(session.info.device, images.name, normalization)
    return OnHost({} if images.dtype == np.uint8 else {images.name: normalization})


class OnHost(DeviceArrays):
    """NumPy and OpenCV; batches are uint8 ``[N, height, width, 3]`` BGR.

    Example:
        >>> batch = np.full((1, 4, 4, 3), 255, np.uint8)
        >>> host = OnHost({"image": Normalization((1 / 255, 1 / 255, 1 / 255), (0.0, 0.0, 0.0))})
        >>> images = host.feeds({"image": batch})["image"]
        >>> images.shape, images.dtype, float(images.max())
        ((1, 3, 4, 4), dtype('float32'), 1.0)
    """

    device = "cpu"
    kernels = None

    def __init__(self, normalizations: Mapping[str, Normalization]) -> None:
        """Remember which inputs to normalise, and how; none for a session that does so itself."""
        self._normalizations = normalizations

    def active(self) -> AbstractContextManager[Any]:  # noqa: D102
        return nullcontext()

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:  # noqa: D102
        return images

    def resized(self, images: Sequence[Image], size: tuple[int, int], interpolation: int) -> Image:  # noqa: D102
        width, height = size
        batch = np.empty((len(images), height, width, 3), np.uint8)
        for image, target in zip(images, batch, strict=True):
            if image.shape == target.shape:
                target[:] = image
            else:
                cv2.resize(image, size, dst=target, interpolation=interpolation)
        return batch

    def crops(self, images: Sequence[Image], matrices: Sequence[Float64], size: tuple[int, int]) -> Image:  # noqa: D102
        return stack_crops(images, matrices, size)

    def mirrored(self, batch: Image) -> Image:  # noqa: D102
        return mirror(batch)

    def feeds(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:  # noqa: D102
        normalized = {name: _normalized(inputs[name], how) for name, how in self._normalizations.items()}
        return {**inputs, **normalized}

    def wait(self) -> None:
        """Nothing is ever under way."""


def _normalized(batch: Image, how: Normalization) -> NDArray[Any]:
    return normalize(batch, how.scale, how.shift, color=how.color, layout=how.layout, dtype=how.dtype)


class OnGpu(DeviceArrays):
    """CUDA kernels; frames go to the GPU once, batches are float32 ``[N, 3, height, width]`` RGB, normalised."""

    def __init__(self, device: str, images: str, normalization: Normalization) -> None:
        """Compile the kernels for a GPU; ``images`` is the name of the input that takes them.

        Raises:
            BackendError: CuPy or the CUDA compiler is missing, or fails.
        """
        self.device = device
        self._images = images
        self._normalization = normalization
        try:
            self.kernels: CudaKernels = CudaKernels(device_index(device))
        except Exception as error:
            raise BackendError(f"{device}: the CUDA kernels cannot be compiled: {summarize(str(error))}") from error

    @contextmanager
    def active(self) -> Iterator[None]:  # noqa: D102
        try:
            with self.kernels.device:
                yield
        except Exception as error:
            if type(error).__module__.startswith("cupy"):  # no memory is left, for instance
                raise BackendError(f"{self.device} failed: {summarize(str(error))}") from error
            raise

    def placed(self, images: Sequence[Any]) -> Sequence[Any]:  # noqa: D102
        return [self.kernels.upload(image) for image in images]

    def resized(self, images: Sequence[Any], size: tuple[int, int], interpolation: int) -> Any:  # noqa: D102
        scale, shift = self._normalization.scale, self._normalization.shift
        return self.kernels.resize_normalized(images, size, interpolation, scale, shift)

    def crops(self, images: Sequence[Any], matrices: Sequence[Float64], size: tuple[int, int]) -> Any:  # noqa: D102
        scale, shift = self._normalization.scale, self._normalization.shift
        return self.kernels.crop_normalized(images, matrices, size, scale, shift)

    def mirrored(self, batch: Any) -> Any:  # noqa: D102
        return batch[..., ::-1].copy()

    def feeds(self, inputs: Mapping[str, Any]) -> dict[str, Any]:  # noqa: D102
        feeds = {name: self.kernels.upload(array) for name, array in inputs.items()}
        if self._images in feeds:
            feeds[self._images] = self._as_input(feeds[self._images])
        return feeds

    def _as_input(self, batch: Any) -> Any:
        """A normalised batch as the model takes it, where that is not float32 RGB with channels first."""
        how = self._normalization
        if how.color == "bgr":
            batch = batch[:, ::-1]
        if how.layout == "nhwc":
            batch = batch.transpose(0, 2, 3, 1)
        return self.kernels.upload(batch.astype(how.dtype, copy=False))

    def wait(self) -> None:  # noqa: D102
        self.kernels.wait()
