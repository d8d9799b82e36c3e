"""The contract of a model: images in, :class:`hpi.instances.Instances` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Array, Normalization, Session, TensorSpec, image_input, to_host
from hpi.devices import device_arrays
from hpi.errors import BackendError, ModelError
from hpi.instances import Instances, Skeleton
from hpi.models.reference_images import ReferenceImages
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared, alike

Image = NDArray[np.uint8]
Threshold = float | Sequence[float | None] | None


class NotFiniteError(BackendError):
    """A model returns NaN or infinity."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        info = session.info
        super().__init__(
            f"{spec.name}: {info.model_path} on {info.backend} {info.version} returns NaN or infinity. Check that the "
            f"files in {spec.folder} are undamaged, or fetch them again; if they are, use another backend"
        )


@dataclass(frozen=True)
class ModelOptions:
    """How a keypoint model is run.

    Attributes:
        flip: average with the mirrored crop; twice the time. None: no.
        use_udp: crop by the UDP convention; None: as the model's yml says.
        crop: how people are cut out, a name of :data:`hpi.transforms.CROPS`; None: as the model's yml says.
        use_dark: refine keypoints of heatmaps by DARK; False: by a quarter of a cell; None: as the model's yml says.

    Example:
        >>> ModelOptions(flip=True)
        ModelOptions(flip=True, use_udp=None, crop=None, use_dark=None)
    """

    flip: bool | None = None
    use_udp: bool | None = None
    crop: str | None = None
    use_dark: bool | None = None


@dataclass(frozen=True)
class Deviation:
    """How far results are from those of the reference; None where that was not compared.

    Attributes:
        count: how many things were compared.
        what: which things: keypoints, boxes or scores.
        pixels: of keypoints, at most, pixels of the model's input.
        score: at most.
        iou: least overlap of boxes.
        strictness: what the allowed score difference is multiplied by.

    Example:
        >>> Deviation(17, "keypoints", pixels=0.02, score=0.001).iou is None
        True
    """

    count: int
    what: str
    pixels: float | None = None
    score: float = 0.0
    iou: float | None = None
    strictness: float = 1.0


class Model(ABC):
    """A model on a session.

    Attributes:
        spec: what it is.
        session: what it runs on.
        device: where its arrays are.
        options: how it is run.
        example_batch: most reference images that are worth running together when a runtime is validated.

    Example:
        >>> from hpi.zoo import Zoo
        >>> from hpi.models import model_class
        >>> kind: type[Model] = model_class(Zoo.default().find("MoveNet-Thunder_256x256"))
        >>> kind.expected_batches("latency"), kind.expected_batches("throughput")
        ((1, 4), (16,))
    """

    example_batch: ClassVar[int]
    _expected: ClassVar[Mapping[str, Sequence[int]]]
    _tuned: ClassVar[Mapping[str, Sequence[int]]]

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> None:
        self.spec = spec
        self.session = session
        self.options = options or ModelOptions()
        normalization = spec.normalization or spec.files.normalization
        assert normalization is not None  # every model that was read from a folder has one
        self.device = device_arrays(session, _image_input(spec, session, normalization), normalization)
        self._outputs = _output_indices(spec, session)

    @classmethod
    def expected_batches(cls, objective: str) -> Sequence[int]:
        """Batch sizes to choose a runtime for: an image with few people in it, or many of both."""
        return cls._expected[objective]

    @classmethod
    def tuned_batches(cls, objective: str) -> Sequence[int]:
        """Batch sizes to measure, in the order in which they are measured, should the time end."""
        return cls._tuned[objective]

    @abstractmethod
    def run(
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None, threshold: Threshold = None
    ) -> list[Instances]:
        """What is in images, or in regions of them.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each, or what :meth:`place` made of them.
            regions: of a model that looks at regions: boxes for each image; None where the whole image is one.
            threshold: of a model that finds its own: keep scores above it, or one for each image; None: the model's.

        Returns:
            One for each image, in pixels of the image.

        Raises:
            BackendError: the runtime failed, or returns NaN.
            ModelError: the outputs are not what the model's yml says.
        """

    def seen(self, images: Sequence[Any], regions: Sequence[Instances]) -> Sequence[Instances]:
        """What a detector has found in images, without the boxes whose crop would be empty."""
        return regions

    @abstractmethod
    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:
        """As many items of the reference images, over and over, to run."""

    @property
    @abstractmethod
    def example_count(self) -> int:
        """How many different items :meth:`example_inputs` has before they begin again."""

    @abstractmethod
    def deviation(self, expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
        """How far results are from the reference's, for the same images."""

    @abstractmethod
    def prepare(self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None) -> Prepared:
        """The batch that images or regions become; see :mod:`hpi.transforms`."""

    @abstractmethod
    def feeds(self, prepared: Prepared) -> dict[str, Array]:
        """What the session is fed with for a batch."""

    @property
    def skeleton(self) -> Skeleton | None:
        """What is known of the keypoints; None of a model without."""
        return None

    def place(self, images: Sequence[Any]) -> Sequence[Any]:
        """Images where :meth:`run` wants them, so that several models share one copy to the device."""
        return self.device.placed(images) if self.spec.transform.on_gpu else images

    def example_run(self, count: int) -> Callable[[], object]:
        """A call that runs the session on reference images, from uint8 batches on, to be timed."""
        images, regions = self.example_inputs(count)
        if not self.spec.transform.is_fixed:
            images = images[:1] * count  # of one size
        prepared = self.prepare(images, regions)

        def run() -> None:
            with self.device.active():
                self.session.run(self.feeds(prepared))
                self.device.wait()

        return run

    def outputs_of(self, feeds: Mapping[str, Array]) -> list[Any]:
        """Run the session: the outputs that the head reads, where it can read them."""
        outputs = self.session.run(feeds)
        chosen = [outputs[index] for index in self._outputs]
        return chosen if self.spec.head.decodes_on_gpu else [to_host(output) for output in chosen]

    def _run_whole(
        self,
        images: Sequence[Any],
        threshold: Threshold,
        most: int,
        run: Callable[[Sequence[Any], NDArray[np.float64]], list[Instances]],
    ) -> list[Instances]:
        """What ``run(images, least)`` finds above ``least [N]`` in whole images, those of one input size together."""
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(images)
        least = np.array([self.spec.draw_threshold if one is None else one for one in thresholds], np.float64)
        found: dict[int, Instances] = {}
        with self.device.active():
            for part in alike(self.spec.transform, images, most):
                found.update(zip(part, run([images[index] for index in part], least[part]), strict=True))
        return [found[index] for index in range(len(images))]

    def _above(
        self, found: Instances, items: NDArray[np.int64], least: NDArray[np.float64]
    ) -> tuple[Instances, NDArray[np.int64]]:
        """The instances that score above ``least [N]`` of their items; NaN is an error."""
        kept = ~(found.scores <= least[items])  # NaN is not below
        found, items = found[kept], items[kept]
        arrays = (found.scores, found.boxes, found.keypoints, found.keypoint_scores, found.embeddings)
        if not all(array is None or np.isfinite(array).all() for array in arrays):
            raise NotFiniteError(self.spec, self.session)
        return found, items

    def _read(self, outputs: Sequence[Any], prepared: Prepared) -> tuple[Instances, NDArray[np.int64]]:
        """What the head makes of the outputs of a batch."""
        on_host = all(isinstance(output, np.ndarray) for output in outputs)
        kernels = None if on_host else self.device.kernels
        try:
            return self.spec.head.decode(outputs, len(prepared), prepared.size, kernels)
        except ValueError as error:
            raise ModelError(f"{self.session.info.model_path}: its output, {error}") from error


def reference_images() -> ReferenceImages:
    """Those of the package.

    Example:
        >>> reference_images().config.limits["fp32"]
        Limits(pixels=0.3, score=0.01, iou=0.98)
    """
    return ReferenceImages.load()


def _output_indices(spec: ModelSpec, session: Session) -> list[int]:
    """Which outputs of the session the head reads."""
    head, there = spec.head, list(session.info.outputs)
    if missing := [name for name in head.outputs if name not in there]:
        raise ModelError(
            f"{session.info.model_path}: has no output {', '.join(missing)}, which the yml in {spec.folder} names; it "
            f"has {', '.join(there)}"
        )
    if len(there) < head.reads:
        raise ModelError(
            f"{session.info.model_path}: has {len(there)} outputs, but {head.type} are read from {head.reads}; "
            "export it again with all of them"
        )
    everything = head.reads + head.reads_also
    return [there.index(name) for name in head.outputs] or list(
        range(everything if len(there) >= everything else head.reads)
    )


def _image_input(spec: ModelSpec, session: Session, normalization: Normalization) -> TensorSpec:
    """The input that takes images: as uint8 ``[N, H, W, 3]``, or normalised, such as float32 ``[N, 3, H, W]``.

    Raises:
        ModelError: there is none for images of the size that the yml states, or of any size where that depends on them.
    """
    width, height = spec.input_size if spec.transform.is_fixed else (None, None)
    forms: dict[np.dtype[Any], tuple[int | None, ...]] = {
        np.dtype(np.uint8): (height, width, 3),
        np.dtype(normalization.dtype): (3, height, width) if normalization.layout == "nchw" else (height, width, 3),
    }
    inputs = {of_input.name: of_input for of_input in session.info.inputs}
    taken = inputs.get(spec.image_input or image_input(list(inputs)) or "")
    if taken is not None and taken.dtype == np.uint8 and spec.transform.pads_input:
        raise ModelError(
            f"{session.info.model_path}: takes uint8 and normalises it, the padding too, but that of the yml in "
            f"{spec.folder} is 0 after normalisation; export the model with a float32 input [N, 3, height, width]"
        )
    if taken is None or taken.dtype not in forms or not _fits(taken.shape, forms[taken.dtype]):
        takes = ", ".join(f"{one.name!r} {one.dtype} {list(one.shape)}" for one in inputs.values())
        sides = [3, height, width] if normalization.layout == "nchw" else [height, width, 3]
        made = (
            f"{normalization.dtype} [N, {', '.join(map(str, sides))}]"
            if spec.transform.is_fixed
            else "of any height and width; export the model with both left free"
        )
        raise ModelError(
            f"{session.info.model_path}: takes {takes or 'nothing'}, but the yml in {spec.folder} makes an image {made}"
        )
    return taken


def _fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and all(have in {None, want} for have, want in zip(shape[1:], wanted, strict=True))
