"""The contract of a model: images in, :class:`hpi.instances.Instances` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Array, Session, TensorSpec, image_input, to_host
from hpi.devices import device_arrays
from hpi.errors import BackendError, ModelError
from hpi.instances import Instances, Skeleton
from hpi.models.reference_images import ReferenceImages
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared

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

    Example:
        >>> ModelOptions(flip=True)
        ModelOptions(flip=True, use_udp=None)
    """

    flip: bool | None = None
    use_udp: bool | None = None


@dataclass(frozen=True)
class Deviation:
    """How far results are from those of the reference; None where that was not compared.

    Attributes:
        count: how many things were compared.
        what: which things: keypoints, boxes or scores.
        pixels: of keypoints, at most, pixels of the model's input.
        score: at most.
        iou: least overlap of boxes.
        strictness: the share of the allowed score difference that may be used up.

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

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        self.spec = spec
        self.session = session
        self.options = ModelOptions()
        normalization = spec.files.normalization
        assert normalization is not None  # every model that was read from a folder has one
        self.device = device_arrays(session, _image_input(spec, session), normalization)
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

    @abstractmethod
    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:
        """As many items of the reference images, over and over, to run."""

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
        prepared = self.prepare(*self.example_inputs(count))

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

    def _read(self, outputs: Sequence[Any], count: int) -> tuple[Instances, NDArray[np.int64]]:
        """What the head makes of the outputs of a batch of so many items."""
        on_host = all(isinstance(output, np.ndarray) for output in outputs)
        try:
            return self.spec.head.decode(outputs, count, self.spec.input_size, None if on_host else self.device.kernels)
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
            f"{session.info.model_path}: has {len(there)} outputs, but {head.type} are read from {head.reads}"
        )
    return [there.index(name) for name in head.outputs] or list(range(head.reads))


def _image_input(spec: ModelSpec, session: Session) -> TensorSpec:
    """The input that takes images: as uint8 ``[N, H, W, 3]``, or normalised as float32 ``[N, 3, H, W]``.

    Raises:
        ModelError: there is none for images of the size that the yml states.
    """
    width, height = spec.input_size
    forms = {np.dtype(np.uint8): (height, width, 3), np.dtype(np.float32): (3, height, width)}
    inputs = {of_input.name: of_input for of_input in session.info.inputs}
    taken = inputs.get(spec.image_input or image_input(list(inputs)) or "")
    if taken is None or taken.dtype not in forms or not _fits(taken.shape, forms[taken.dtype]):
        takes = ", ".join(f"{one.name!r} {one.dtype} {list(one.shape)}" for one in inputs.values())
        raise ModelError(
            f"{session.info.model_path}: takes {takes or 'nothing'}, but the yml in {spec.folder} makes an image "
            f"float32 [N, 3, {height}, {width}]"
        )
    return taken


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == 4 and all(have in {None, want} for have, want in zip(shape[1:], wanted, strict=True))
