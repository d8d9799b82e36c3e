"""From an image, or a region of it, to the input of a network, and back.

A transform is what a model's yml says of it. Its :meth:`~Transform.prepare` also gives the way back, so that nobody
else knows of strides, padding or UDP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.instances import Instances
from hpi.kernels.affine import crop_matrices
from hpi.kernels.boxes import boxes_to_center_scale, whole_image_center_scale

if TYPE_CHECKING:
    from hpi.devices import DeviceArrays

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Inverse:
    """From pixels of the input to pixels of the image: ``image = input * factor + offset``.

    Attributes:
        factor: ``[N, 2]`` float64, x and y, for each item of the batch.
        offset: ``[N, 2]`` float64.

    Example:
        >>> inverse = Inverse(np.array([[2.0, 2.0]]), np.array([[10.0, 0.0]]))
        >>> inverse.apply(Instances([1.0], boxes=[[0, 0, 5, 5]]), np.array([0])).boxes
        array([[10.,  0., 20., 10.]], dtype=float32)
    """

    factor: Float64
    offset: Float64

    def apply(self, found: Instances, items: NDArray[np.int64]) -> Instances:
        """Instances in pixels of the image; ``items [M]`` are the items of the batch that they were found in."""
        factor, offset = self.factor[items], self.offset[items]
        moved: dict[str, Any] = {}
        if found.keypoints is not None:
            moved["keypoints"] = found.keypoints * factor[:, None] + offset[:, None]
        if found.boxes is not None:
            moved["boxes"] = found.boxes * np.tile(factor, 2) + np.tile(offset, 2)
        return found.replaced(**moved)

    def __getitem__(self, items: slice) -> Inverse:
        return Inverse(self.factor[items], self.offset[items])


@dataclass(frozen=True)
class Prepared:
    """A batch for the network.

    Attributes:
        batch: ``[N, height, width, 3]`` uint8 BGR, or on a GPU as the session takes it.
        inverse: the way back, of the whole batch.
        scaled: ``[N, 2]`` float64: height and width of what each image became, pixels, without padding.
        scale: ``[N, 2]`` float64: by what height and width were multiplied.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = Stretch((320, 160)).prepare(OnHost({}), [np.zeros((480, 640, 3), np.uint8)] * 3)
        >>> len(prepared), prepared[:2].batch.shape, prepared.scaled[0].tolist(), prepared.scale[0].round(3).tolist()
        (3, (2, 160, 320, 3), [160.0, 320.0], [0.333, 0.5])
    """

    batch: Any
    inverse: Inverse
    scaled: Float64
    scale: Float64

    def __getitem__(self, items: slice) -> Prepared:
        return Prepared(self.batch[items], self.inverse[items], self.scaled[items], self.scale[items])

    def __len__(self) -> int:
        return len(self.scaled)


class Transform(ABC):
    """How the input comes about.

    Attributes:
        size: (width, height) of the input, pixels.
        takes_regions: whether it cuts regions out of an image: then an item of the batch is a region, else an image.
        on_gpu: whether it can take images that are on a GPU.

    Example:
        >>> transforms: list[Transform] = [Stretch((320, 320)), TopDownAffine((192, 256))]
        >>> [(one.size, one.takes_regions) for one in transforms]
        [((320, 320), False), ((192, 256), True)]
    """

    size: tuple[int, int]
    takes_regions: ClassVar[bool]
    on_gpu: ClassVar[bool]

    @abstractmethod
    def prepare(
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        """Make a batch of images ``[H, W, 3]`` uint8 BGR, or of their regions, one sequence of these an image."""


@dataclass(frozen=True)
class Regions:
    """Where in an image a batch looks: ``center`` and ``scale`` (width, height), ``[N, 2]`` float32, pixels.

    Example:
        >>> len(Regions(np.array([[320, 240]], np.float32), np.array([[150, 200]], np.float32)))
        1
    """

    center: Float32
    scale: Float32

    def __len__(self) -> int:
        return len(self.center)


@dataclass(frozen=True)
class Stretch(Transform):
    """The whole image, scaled to the input regardless of its aspect ratio.

    Attributes:
        size: (width, height) of the input, pixels.
        interpolation: as OpenCV numbers it.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = Stretch((320, 320)).prepare(OnHost({}), [np.zeros((480, 640, 3), np.uint8)])
        >>> prepared.batch.shape, prepared.inverse.factor
        ((1, 320, 320, 3), array([[2. , 1.5]]))
    """

    size: tuple[int, int]
    interpolation: int = cv2.INTER_CUBIC
    takes_regions: ClassVar[bool] = False
    on_gpu: ClassVar[bool] = True

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        sizes = _sizes(images)
        batch = device.resized(device.placed(images), self.size, self.interpolation)
        scaled = np.tile(np.array(self.size[::-1], np.float64), (len(images), 1))
        return Prepared(batch, Inverse(sizes / self.size, np.zeros_like(sizes)), scaled, scaled / sizes[:, ::-1])


@dataclass(frozen=True)
class Letterbox(Transform):
    """The whole image, scaled as far as it fits, in the upper left corner; the rest is filled.

    ``Resize`` with ``keep_ratio``, then ``Pad``. The sides are cut to whole pixels and the way back is the exact ratio,
    as in mmdeploy and rtmlib; PaddleX rounds the sides.

    Attributes:
        size: (width, height) of the input, pixels.
        interpolation: as OpenCV numbers it.
        fill: RGB of the padding.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = Letterbox((320, 320)).prepare(OnHost({}), [np.zeros((480, 640, 3), np.uint8)])
        >>> prepared.scaled, prepared.inverse.factor
        (array([[240., 320.]]), array([[2., 2.]]))
    """

    size: tuple[int, int]
    interpolation: int = cv2.INTER_LINEAR
    fill: tuple[int, int, int] = (114, 114, 114)
    takes_regions: ClassVar[bool] = False
    on_gpu: ClassVar[bool] = False

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        sizes = _sizes(images)
        ratio = np.min(np.array(self.size) / sizes, axis=1, keepdims=True)
        scaled = np.maximum(np.floor(sizes * ratio + 1e-9), 1)
        padded = [self._padded(image, (int(w), int(h))) for image, (w, h) in zip(images, scaled, strict=True)]
        batch = device.resized(device.placed(padded), self.size, self.interpolation)
        scale = np.tile(ratio, (1, 2))
        return Prepared(batch, Inverse(1 / scale, np.zeros_like(sizes)), scaled[:, ::-1], scale)

    def _padded(self, image: Image, scaled: tuple[int, int]) -> Image:
        width, height = self.size
        out = np.empty((height, width, 3), np.uint8)
        out[:] = self.fill[::-1]
        if image.shape[1::-1] == scaled:
            out[: scaled[1], : scaled[0]] = image
        else:
            out[: scaled[1], : scaled[0]] = cv2.resize(image, scaled, interpolation=self.interpolation)
        return out


@dataclass(frozen=True)
class TopDownAffine(Transform):
    """One person, cut out with an affine map; see :mod:`hpi.kernels.affine`.

    Attributes:
        size: (width, height) of the input, pixels.
        udp: by the UDP convention, which measures between the centres of pixels.
        padding: enlargement of the person's box before the cut.

    Example:
        >>> regions = TopDownAffine((192, 256)).regions(np.array([[0, 0, 100, 200]], np.float32))
        >>> regions.center, regions.scale
        (array([[ 50., 100.]], dtype=float32), array([[187.5, 250. ]], dtype=float32))
    """

    size: tuple[int, int]
    udp: bool = False
    padding: float = 1.25
    takes_regions: ClassVar[bool] = True
    on_gpu: ClassVar[bool] = True

    def regions(self, boxes: Float32) -> Regions:
        """Regions of people given by their boxes ``[N, 4]``, pixels: padded, in the input's aspect ratio."""
        width, height = self.size
        return Regions(*boxes_to_center_scale(boxes, width / height, self.padding))

    def whole_image(self, image: Any) -> Regions:
        """The region of an image that shows one person and has no box."""
        return Regions(*whole_image_center_scale(image.shape[1], image.shape[0]))

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        regions = [self.whole_image(image) for image in images] if regions is None else regions
        matrices = [crop_matrices(one.center, one.scale, self.size, udp=self.udp) for one in regions]
        batch = device.crops(device.placed(images), matrices, self.size)
        center = np.concatenate([one.center for one in regions]).astype(np.float64)
        scale = np.concatenate([one.scale for one in regions]).astype(np.float64)
        scaled = np.tile(np.array(self.size[::-1], np.float64), (len(center), 1))
        inverse = self._inverse(center, scale)
        return Prepared(batch, inverse, scaled, 1 / inverse.factor[:, ::-1])

    def _inverse(self, center: Float64, scale: Float64) -> Inverse:
        """Of :func:`hpi.kernels.affine.crop_matrices`.

        PaddleX uses the first one even for crops by UDP, which shifts keypoints by up to 3 px.
        """
        size = np.array(self.size, np.float64)
        if self.udp:
            return Inverse(scale / (size - 1), center - scale / 2)
        factor = np.repeat(scale[:, :1] / size[0], 2, axis=1)
        return Inverse(factor, center - size / 2 * factor)


def _sizes(images: Sequence[Any]) -> Float64:
    """``[N, 2]``: width and height of each image, pixels."""
    return np.array([image.shape[1::-1] for image in images], np.float64).reshape(-1, 2)
