"""From an image, or a region of it, to the input of a network, and back.

A transform is what a model's yml says of it. Its :meth:`~Transform.prepare` also gives the way back, so that nobody
else knows of strides, padding or UDP.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.instances import Instances
from hpi.kernels.affine import crop_matrices
from hpi.kernels.boxes import boxes_to_center_scale, expand_boxes, has_area, whole_image_center_scale

if TYPE_CHECKING:
    from hpi.devices import DeviceArrays

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Crop = Literal["paddlex", "paddledetection"]
"""The names of :data:`CROPS`."""


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
        size: (width, height) of the input, pixels.

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
    size: tuple[int, int]

    def __getitem__(self, items: slice) -> Prepared:
        return Prepared(self.batch[items], self.inverse[items], self.scaled[items], self.scale[items], self.size)

    def __len__(self) -> int:
        return len(self.scaled)


class Transform(ABC):
    """How the input comes about.

    Attributes:
        size: (width, height) of the input, pixels; where it depends on the image, that of a square one.
        is_fixed: whether every input has that size; otherwise images of one batch need the same :meth:`size_for`.
        takes_regions: whether it cuts regions out of an image: then an item of the batch is a region, else an image.
        on_gpu: whether it can take images that are on a GPU.
        pads_input: whether what an image leaves free is 0 in the input, after normalisation; otherwise it has a colour.

    Example:
        >>> transforms: list[Transform] = [Stretch((320, 320)), TopDownAffine((192, 256))]
        >>> [(one.size, one.takes_regions) for one in transforms]
        [((320, 320), False), ((192, 256), True)]
    """

    size: tuple[int, int]
    is_fixed: ClassVar[bool] = True
    takes_regions: ClassVar[bool]
    on_gpu: ClassVar[bool]
    pads_input: ClassVar[bool] = False

    def size_for(self, image: Any) -> tuple[int, int]:
        """(width, height) of the input that an image ``[H, W, 3]`` becomes, pixels.

        Raises:
            InputError: the image has no such input.
        """
        return self.size

    def _common_size(self, images: Sequence[Any]) -> tuple[int, int]:
        """The input's size of all images of a batch."""
        size = self.size_for(images[0])
        if any(self.size_for(image) != size for image in images):
            raise ValueError("images of a batch must have the same size_for")
        return size

    @property
    def smallest(self) -> Transform:
        """The same with the smallest input that a model takes; itself where the input has a fixed size."""
        return self

    @abstractmethod
    def prepare(
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        """Make a batch of images ``[H, W, 3]`` uint8 BGR, or of their regions, one sequence of these an image."""


@dataclass(frozen=True)
class Regions:
    """Where in an image a batch looks: ``center`` and ``scale`` (width, height), ``[N, 2]`` float32, pixels.

    Attributes:
        center: their middle.
        scale: their width and height.
        windows: ``[N, 4]`` int64 (x1, y1, x2, y2): nothing of the image outside of them is seen; None: all of it is.

    Example:
        >>> len(Regions(np.array([[320, 240]], np.float32), np.array([[150, 200]], np.float32)))
        1
    """

    center: Float32
    scale: Float32
    windows: NDArray[np.int64] | None = None

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
        inverse = Inverse(sizes / self.size, np.zeros_like(sizes))
        return Prepared(batch, inverse, scaled, scaled / sizes[:, ::-1], self.size)


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
        scaled, corner = self._placement(sizes * ratio)
        padded = [self._padded(*one) for one in zip(images, scaled.astype(int), corner.astype(int), strict=True)]
        batch = device.resized(device.placed(padded), self.size, self.interpolation)
        scale = np.tile(ratio, (1, 2))
        return Prepared(batch, Inverse(1 / scale, -corner / scale), scaled[:, ::-1], scale, self.size)

    def _placement(self, fitting: Float64) -> tuple[Float64, Float64]:
        """Width and height in whole pixels of images that fit with ``fitting [N, 2]``, and where they begin."""
        return np.maximum(np.floor(fitting + 1e-9), 1), np.zeros_like(fitting)

    def _padded(self, image: Image, scaled: NDArray[np.int64], corner: NDArray[np.int64]) -> Image:
        (width, height), (left, top) = scaled.tolist(), corner.tolist()
        out = np.empty((*self.size[::-1], 3), np.uint8)
        out[:] = self.fill[::-1]
        inside = out[top : top + height, left : left + width]
        if image.shape == inside.shape:
            inside[:] = image
        else:
            inside[:] = cv2.resize(image, (width, height), interpolation=self.interpolation)
        return out


@dataclass(frozen=True)
class RoundedLetterbox(Letterbox):
    """The whole image, scaled as far as it fits, in the upper left corner; the rest is filled.

    As mmdet and mmdeploy do it: the sides are rounded to whole pixels, and the way back is the ratio of each side.

    Attributes:
        size: (width, height) of the input, pixels.
        interpolation: as OpenCV numbers it.
        fill: RGB of the padding.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = RoundedLetterbox((320, 320), 1).prepare(OnHost({}), [np.zeros((427, 640, 3), np.uint8)])
        >>> prepared.scaled, prepared.inverse.factor.round(4)
        (array([[214., 320.]]), array([[2.    , 1.9953]]))
    """

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        prepared = super().prepare(device, images, regions)
        factor = _sizes(images) / prepared.scaled[:, ::-1]
        inverse = Inverse(factor, np.zeros_like(factor))
        return replace(prepared, inverse=inverse, scale=1 / factor[:, ::-1])

    def _placement(self, fitting: Float64) -> tuple[Float64, Float64]:
        return np.maximum(np.floor(fitting + 0.5), 1), np.zeros_like(fitting)


@dataclass(frozen=True)
class CenteredLetterbox(Letterbox):
    """The whole image, scaled as far as it fits, in the middle of the input; the rest is grey.

    PaddleDetection's ``LetterBoxResize``. The sides are rounded to whole pixels.

    Attributes:
        size: (width, height) of the input, pixels.
        interpolation: as OpenCV numbers it.
        fill: RGB of the padding.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = CenteredLetterbox((576, 320)).prepare(OnHost({}), [np.zeros((480, 640, 3), np.uint8)])
        >>> prepared.scaled, prepared.inverse.offset
        (array([[320., 427.]]), array([[-111.,   -0.]]))
    """

    interpolation: int = cv2.INTER_AREA
    fill: tuple[int, int, int] = (128, 128, 128)

    def _placement(self, fitting: Float64) -> tuple[Float64, Float64]:
        scaled = np.maximum(np.round(fitting), 1)
        # An odd rest has its larger half at the right and at the bottom.
        return scaled, np.floor((self.size - scaled) / 2)


@dataclass(frozen=True)
class Fit(Transform):
    """The whole image, moved and scaled by one affine map as far as it fits, in the middle of the input.

    ``BottomupResize`` of mmpose: nothing is rounded but the image's centre, to whole pixels.

    Attributes:
        size: (width, height) of the input, pixels.
        fill: RGB of the padding.

    Example:
        >>> from hpi.devices import OnHost
        >>> prepared = Fit((640, 640)).prepare(OnHost({}), [np.zeros((480, 320, 3), np.uint8)])
        >>> prepared.batch[0, 320, [0, 320], 0], prepared.inverse.offset.round(3)
        (array([114,   0], dtype=uint8), array([[-80.,   0.]]))
    """

    size: tuple[int, int]
    fill: tuple[int, int, int] = (114, 114, 114)
    takes_regions: ClassVar[bool] = False
    on_gpu: ClassVar[bool] = False

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        of_images, size = _sizes(images), np.array(self.size, np.float64)
        ratio = np.min(size / of_images, axis=1, keepdims=True)
        center, scale = np.round(of_images / 2), size / ratio
        matrices = crop_matrices(center.astype(np.float32), scale, self.size)
        fitted = [
            cv2.warpAffine(image, matrix, self.size, borderMode=cv2.BORDER_CONSTANT, borderValue=self.fill[::-1])
            for image, matrix in zip(images, matrices, strict=True)
        ]
        batch = device.resized(device.placed(fitted), self.size, cv2.INTER_LINEAR)
        scaled = np.minimum(of_images * ratio, size)[:, ::-1]
        return Prepared(batch, _isotropic_inverse(center, scale, self.size), scaled, np.tile(ratio, (1, 2)), self.size)


@dataclass(frozen=True)
class KeepRatio(Transform):
    """The whole image, its aspect ratio kept, in the upper left corner of an input with sides of a multiple of pixels.

    ``Resize`` with ``keep_ratio``, then ``PadStride``, as PaddleDetection computes them: the sides are rounded to whole
    pixels, and the image is scaled by the exact ratio. The way back is always that ratio.

    Attributes:
        short: length of the short side, pixels.
        long: the long side becomes at most this, and the short side then less.
        multiple: of which both sides of the input are one.
        interpolation: as OpenCV numbers it.
        by_ratio: whether the image is scaled by the exact ratio; else to the rounded sides, as most others do.

    Example:
        >>> from hpi.devices import OnHost
        >>> image = np.zeros((427, 640, 3), np.uint8)
        >>> prepared = KeepRatio(800, 1333, 32).prepare(OnHost({}), [image])
        >>> prepared.size, prepared.scaled, prepared.scale.round(4)
        ((1216, 800), array([[ 800., 1199.]]), array([[1.8735, 1.8735]]))
    """

    short: int
    long: int
    multiple: int = 1
    interpolation: int = cv2.INTER_LINEAR
    by_ratio: bool = True
    is_fixed: ClassVar[bool] = False
    takes_regions: ClassVar[bool] = False
    on_gpu: ClassVar[bool] = False
    pads_input: ClassVar[bool] = True

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """(width, height) of the input of a square image, pixels."""
        side = self._padded(self.short)
        return side, side

    def size_for(self, image: Any) -> tuple[int, int]:  # noqa: D102
        (width, height), _ = self._scaled(image)
        return self._padded(width), self._padded(height)

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        size = self._common_size(images)
        sizes, ratios = zip(*map(self._scaled, images), strict=True)
        batch = np.zeros((len(images), size[1], size[0], 3), np.uint8)
        for image, (width, height), ratio, target in zip(images, sizes, ratios, batch, strict=True):
            target[:height, :width] = self._resized(image, (width, height), ratio)
        scale = np.repeat(np.array(ratios, np.float64)[:, None], 2, axis=1)
        scaled = np.array(sizes, np.float64)[:, ::-1]
        placed = device.resized(device.placed(list(batch)), size, self.interpolation)
        return Prepared(placed, Inverse(1 / scale, np.zeros_like(scale)), scaled, scale, size)

    def _scaled(self, image: Any) -> tuple[tuple[int, int], float]:
        """(width, height) of the scaled image, and the ratio, as the reference rounds them."""
        height, width = image.shape[:2]
        least, most = min(width, height), max(width, height)
        ratio = self.short / least
        if np.round(ratio * most) > self.long:
            ratio = self.long / most
        return (max(round(width * ratio), 1), max(round(height * ratio), 1)), ratio

    def _resized(self, image: Image, scaled: tuple[int, int], ratio: float) -> Image:
        if ratio == 1:
            return image
        if not self.by_ratio or min(image.shape[:2]) * ratio <= 0.5:  # less than a pixel: OpenCV refuses the ratio
            resized = cv2.resize(image, scaled, interpolation=self.interpolation)
        else:
            # Not to a size: OpenCV would scale by the ratio of whole pixels.
            resized = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=self.interpolation)
        return np.asarray(resized, np.uint8)

    def _padded(self, side: int) -> int:
        return -(-side // self.multiple) * self.multiple


@dataclass(frozen=True)
class TopDownAffine(Transform):
    """One person, cut out with an affine map; see :mod:`hpi.kernels.affine`.

    Attributes:
        size: (width, height) of the input, pixels.
        udp: by the UDP convention, which measures between the centres of pixels.
        padding: enlargement of the person's box before the cut.
        crop: its name in :data:`CROPS`.

    Example:
        >>> image, boxes = np.zeros((480, 640, 3), np.uint8), np.array([[0, 0, 100, 200]], np.float32)
        >>> regions = TopDownAffine((192, 256)).regions(boxes, image)
        >>> regions.center, regions.scale
        (array([[ 50., 100.]], dtype=float32), array([[187.5, 250. ]], dtype=float32))
    """

    size: tuple[int, int]
    udp: bool = False
    padding: float = 1.25
    crop: ClassVar[Crop] = "paddlex"
    takes_regions: ClassVar[bool] = True
    on_gpu: ClassVar[bool] = True

    def regions(self, boxes: Float32, image: Any) -> Regions:
        """Regions of people given by their boxes ``[N, 4]`` in an image: padded, in the input's aspect ratio."""
        width, height = self.size
        return Regions(*boxes_to_center_scale(boxes, width / height, self.padding))

    def sees(self, boxes: Float32, image: Any) -> NDArray[np.bool_]:
        """Of which boxes ``[N, 4]`` something would be cut out of an image: ``[N]`` bool."""
        return np.ones(len(boxes), np.bool_)

    def whole_image(self, image: Any) -> Regions:
        """The region of an image that shows one person and has no box."""
        return Regions(*whole_image_center_scale(image.shape[1], image.shape[0]))

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        regions = [self.whole_image(image) for image in images] if regions is None else regions
        batch = self._crops(device, images, regions)
        center = np.concatenate([one.center for one in regions]).astype(np.float64)
        scale = np.concatenate([one.scale for one in regions]).astype(np.float64)
        scaled = np.tile(np.array(self.size[::-1], np.float64), (len(center), 1))
        inverse = self._inverse(center, scale)
        return Prepared(batch, inverse, scaled, 1 / inverse.factor[:, ::-1], self.size)

    def _crops(self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions]) -> Any:
        """The batch of all regions of all images."""
        matrices = [crop_matrices(one.center, one.scale, self.size, udp=self.udp) for one in regions]
        return device.crops(device.placed(images), matrices, self.size)

    def _inverse(self, center: Float64, scale: Float64) -> Inverse:
        """Of :func:`hpi.kernels.affine.crop_matrices`.

        PaddleX uses that without UDP even for crops by UDP, which shifts keypoints by up to 3 px.
        """
        if self.udp:
            return Inverse(scale / (np.array(self.size, np.float64) - 1), center - scale / 2)
        return _isotropic_inverse(center, scale, self.size)


@dataclass(frozen=True)
class ExpandedCrop(TopDownAffine):
    """One person as PaddleDetection cuts them out, in two steps; see :func:`hpi.kernels.boxes.expand_boxes`.

    A part of the image is taken, in whole pixels. That is then scaled to the input's width; what it does not fill is
    black, even where the image goes on. The centre that keypoints are taken back from is rounded, as in the reference,
    so of a part with an odd side they are off by half a pixel. Of a box for which there is nothing to cut the part is a
    pixel, so that each has a region; :meth:`sees` tells.

    Attributes:
        size: (width, height) of the input, pixels.
        udp: by the UDP convention.
        padding: enlargement of the person's box before the cut.

    Example:
        >>> image, boxes = np.zeros((480, 640, 3), np.uint8), np.array([[0, 0, 100, 200]], np.float32)
        >>> regions = ExpandedCrop((192, 256)).regions(boxes, image)
        >>> regions.scale, regions.windows
        (array([[147., 230.]], dtype=float32), array([[  0,   0, 147, 230]]))
    """

    padding: float = 1.3
    crop: ClassVar[Crop] = "paddledetection"

    def regions(self, boxes: Float32, image: Any) -> Regions:  # noqa: D102
        height, width = image.shape[:2]
        windows = expand_boxes(boxes, width, height, self.padding)
        start = np.minimum(windows[:, :2], (width - 1, height - 1))
        return _windows(np.concatenate([start, np.maximum(windows[:, 2:], start + 1)], axis=1))

    def sees(self, boxes: Float32, image: Any) -> NDArray[np.bool_]:  # noqa: D102
        return has_area(expand_boxes(boxes, image.shape[1], image.shape[0], self.padding))

    def whole_image(self, image: Any) -> Regions:  # noqa: D102
        return _windows(np.array([[0, 0, *image.shape[1::-1]]]))

    def _crops(self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions]) -> Any:
        cut, matrices = [], []
        for image, one in zip(device.placed(images), regions, strict=True):
            assert one.windows is not None
            cut += [image[y1:y2, x1:x2] for x1, y1, x2, y2 in one.windows.tolist()]
            within = (one.scale / 2).astype(np.float32)
            matrices += list(crop_matrices(within, one.scale, self.size, udp=self.udp)[:, None])
        return device.crops(cut, matrices, self.size)

    def _inverse(self, center: Float64, scale: Float64) -> Inverse:
        half = scale / 2
        return super()._inverse(center if self.udp else center - half + np.round(half), scale)


def _windows(windows: NDArray[np.int64]) -> Regions:
    """Regions that are the whole of these parts ``[N, 4]`` of an image."""
    start, end = windows[:, :2], windows[:, 2:]
    return Regions(((start + end) / 2).astype(np.float32), (end - start).astype(np.float32), windows)


CROPS: Mapping[str, type[TopDownAffine]] = {kind.crop: kind for kind in (TopDownAffine, ExpandedCrop)}
"""How people are cut out, by the name of the engine that does it so."""


def with_crop(transform: TopDownAffine, crop: str | None) -> TopDownAffine:
    """The same input, cut out in another way, with the padding of that way; None: as it is.

    Example:
        >>> with_crop(TopDownAffine((192, 256), padding=1.1), "paddledetection")
        ExpandedCrop(size=(192, 256), udp=False, padding=1.3)
    """
    if crop is None or crop == transform.crop:
        return transform
    return CROPS[crop](transform.size, transform.udp)


@dataclass(frozen=True)
class ShortSide(Transform):
    """The whole image, its short side scaled to a length, in the middle of an input whose sides are multiples of 64.

    PaddleDetection's ``EvalAffine``. What the long side lacks to a multiple of 64 is black.

    Attributes:
        length: of the short side, pixels.

    Example:
        >>> from hpi.devices import OnHost
        >>> image = np.zeros((480, 640, 3), np.uint8)
        >>> ShortSide(512).size_for(image), ShortSide(512).prepare(OnHost({}), [image]).inverse.offset
        ((704, 512), array([[-10.,   0.]]))
    """

    length: int
    is_fixed: ClassVar[bool] = False
    takes_regions: ClassVar[bool] = False
    on_gpu: ClassVar[bool] = True

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """(width, height) of the input of a square image, pixels."""
        return self.length, self.length

    def size_for(self, image: Any) -> tuple[int, int]:  # noqa: D102
        height, width = image.shape[:2]
        short, long = sorted((width, height))
        # In this order, in which the reference rounds.
        longer = math.ceil(self.length / short * long / _MULTIPLE) * _MULTIPLE
        if longer > _MOST_ELONGATED * self.length:
            raise InputError(
                f"{width}x{height} pixels are too elongated for a model that scales the short side to {self.length}: a "
                f"side may be at most {_MOST_ELONGATED} times the other; cut the image into parts"
            )
        return (self.length, longer) if width < height else (longer, self.length)

    @property
    def smallest(self) -> Transform:  # noqa: D102
        return ShortSide(_MULTIPLE)

    def prepare(  # noqa: D102
        self, device: DeviceArrays, images: Sequence[Any], regions: Sequence[Regions] | None = None
    ) -> Prepared:
        size = self._common_size(images)
        of_images = _sizes(images)
        center = np.round(of_images / 2)
        scale = np.array(size) * (of_images.min(axis=1, keepdims=True) / self.length)
        matrices = crop_matrices(center.astype(np.float32), scale, size)
        batch = device.crops(device.placed(images), list(matrices[:, None]), size)
        inverse = _isotropic_inverse(center, scale, size)
        scaled = np.tile(np.array(size[::-1], np.float64), (len(images), 1))
        return Prepared(batch, inverse, scaled, 1 / inverse.factor, size)


_MULTIPLE = 64
_MOST_ELONGATED = 16
"""Longer inputs need more memory than is reasonable: they grow with the image's aspect ratio."""


def _isotropic_inverse(center: Float64, scale: Float64, size: tuple[int, int]) -> Inverse:
    """Of :func:`hpi.kernels.affine.crop_matrices` without UDP."""
    factor = np.repeat(scale[:, :1] / size[0], 2, axis=1)
    return Inverse(factor, center - np.array(size, np.float64) / 2 * factor)


def alike(transform: Transform, images: Sequence[Any], most: int) -> Iterator[list[int]]:
    """The indices of images that can go through a network together: up to ``most`` of one input size.

    Example:
        >>> images = [np.zeros((480, width, 3), np.uint8) for width in (640, 320, 640)]
        >>> list(alike(KeepRatio(320, 640), images, 8)), list(alike(Stretch((320, 320)), images, 2))
        ([[0, 2], [1]], [[0, 1], [2]])
    """
    of_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        of_size[transform.size_for(image)].append(index)
    for part in of_size.values():
        yield from (part[start : start + most] for start in range(0, len(part), most))


def _sizes(images: Sequence[Any]) -> Float64:
    """``[N, 2]``: width and height of each image, pixels."""
    return np.array([image.shape[1::-1] for image in images], np.float64).reshape(-1, 2)
