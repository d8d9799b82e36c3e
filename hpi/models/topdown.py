"""Models that look at one person at a time: the regions of all people of all images go through them in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import MAX_BATCH, Array, Session
from hpi.errors import ConfigError, ModelError
from hpi.instances import Instances, Skeleton
from hpi.kernels.batches import split_by_count
from hpi.models.model import (
    Deviation,
    Image,
    Model,
    ModelOptions,
    NotFiniteError,
    Threshold,
    reference_images,
)
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared, TopDownAffine

Float32 = NDArray[np.float32]


class TopDown(Model):
    """A keypoint model for the regions of people.

    Example:
        >>> from hpi import Predictor
        >>> from hpi.sources import read_items
        >>> boxes = Instances([1.0, 1.0], boxes=[[0, 0, 300, 480], [300, 0, 640, 480]])
        >>> with Predictor("MoveNet-Thunder_256x256") as predictor:
        ...     (model,) = predictor.pipelines[0].models
        ...     (item,) = read_items("examples/basketball.png")
        ...     (people,) = model.run([item.image], [boxes])
        >>> people.keypoints.shape
        (2, 17, 2)
    """

    example_batch = MAX_BATCH
    _expected = {"latency": (1, 4), "throughput": (16,), "memory": (1, 4)}  # noqa: RUF012
    _tuned = {"latency": (1, 4, 2, 8), "throughput": (16, MAX_BATCH), "memory": (1, 4, 2, 8)}  # noqa: RUF012

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions) -> None:
        assert isinstance(spec.transform, TopDownAffine)
        inputs = [of_input.name for of_input in session.info.inputs]
        if len(inputs) != 1:
            others = [name for name in inputs if name != "image"]
            raise ModelError(
                f"{session.info.model_path}: takes {', '.join(inputs) or 'nothing'}, but a keypoint model takes one "
                f"input, the image; there is nothing to give it as {', '.join(others)}"
            )
        super().__init__(spec, session)
        self._input = inputs[0]
        udp = spec.transform.udp if options.use_udp is None else options.use_udp
        self.transform = replace(spec.transform, udp=udp)
        self._keypoints: int | None = None  # how many it finds; known after the first run
        self.options = ModelOptions(bool(options.flip), self.transform.udp)
        if self.options.flip and not self.skeleton.swaps:
            raise ConfigError(
                f"{spec.name}: flip needs to know left and right, which nobody says of the model's "
                f"{len(self.skeleton)} keypoints; name its skeleton in {spec.yml}, such as hpi: {{skeleton: coco17}}"
            )

    @cached_property
    def skeleton(self) -> Skeleton:
        """What is known of the keypoints that the model finds; numbered ones where nobody knows.

        Raises:
            ModelError: the model's yml names a skeleton of another number of keypoints.
        """
        if (count := self._keypoints) is None:
            nothing = np.zeros((64, 64, 3), np.uint8)
            with self.device.active():
                count = self._count(self.outputs_of(self.feeds(self.prepare([nothing]))))
        named = self.spec.skeleton
        if named is not None and len(named) == count:
            return named
        if named is not None and self.spec.skeleton_is_stated:
            raise ModelError(
                f"{self.spec.yml}: names the skeleton {named.name} of {len(named)} keypoints, but the model finds "
                f"{count}; name one of {count} keypoints"
            )
        return Skeleton.numbered(count)

    def run(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None, threshold: Threshold = None
    ) -> list[Instances]:
        if not images:
            return []
        given = [None] * len(images) if regions is None else regions
        with self.device.active():
            prepared = self.prepare(images, given)
            count = len(prepared)
            parts = [self._run_part(prepared, slice(start, start + MAX_BATCH)) for start in range(0, count, MAX_BATCH)]
        everyone = Instances.concatenate(parts) if parts else Instances.empty(len(self.skeleton), boxes=False)
        rows = split_by_count(np.arange(count), (1 if people is None else len(people) for people in given))
        return [_with_boxes(everyone[of_image], boxes) for of_image, boxes in zip(rows, given, strict=True)]

    def prepare(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None
    ) -> Prepared:
        given = [None] * len(images) if regions is None else regions
        where = [
            self.transform.whole_image(image) if people is None else self.transform.regions(_boxes(people))
            for image, people in zip(images, given, strict=True)
        ]
        return self.transform.prepare(self.device, images, where)

    def feeds(self, prepared: Prepared) -> dict[str, Array]:  # noqa: D102
        return self._feeds(prepared.batch)

    def raw_outputs(self, batch: Any) -> list[Any]:
        """What the head reads for a batch of crops; averaged with those of their mirror images where flip is on."""
        outputs = self.outputs_of(self._feeds(batch))
        if not self.options.flip:
            return outputs
        mirrored = self.outputs_of(self._feeds(self.device.mirrored(batch)))
        fused = self.spec.head.fuse_flip(outputs, mirrored, self.skeleton.mirrored)
        self.device.wait()  # before a runtime gives the memory of its outputs to its next run
        return fused

    def decode(self, outputs: Sequence[Any], prepared: Prepared) -> Instances:
        """People in pixels of their images; one for each crop."""
        found, items = self._read(outputs, len(prepared))
        points = found.points
        self._keypoints = points.shape[1]
        if not np.isfinite(points).all():
            raise NotFiniteError(self.spec, self.session)
        return prepared.inverse.apply(found, items)

    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:  # noqa: D102
        reference = reference_images()
        boxes = reference.boxes[np.arange(count) % len(reference.boxes)]
        return [reference.image] * count, [Instances(np.ones(1, np.float32), boxes=box[None]) for box in boxes]

    def deviation(self, expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
        """Of the keypoints that the reference finds clearly, in pixels of the crop."""
        want, have = Instances.concatenate(list(expected)), Instances.concatenate(list(found))
        assert want.boxes is not None  # those of the example inputs
        clear = want.points[..., 2] > reference_images().config.clear_above
        off = np.abs(have.points - want.points)
        to_crop = self.spec.input_size[0] / self.transform.regions(want.boxes).scale[:, :1]
        pixels = (np.linalg.norm(off[..., :2], axis=-1) * to_crop)[clear]
        score = off[..., 2][clear]
        return Deviation(int(clear.sum()), "keypoints", float(pixels.max(initial=0)), float(score.max(initial=0)))

    def _feeds(self, batch: Any) -> dict[str, Array]:
        return self.device.feeds({self._input: batch})

    def _run_part(self, prepared: Prepared, part: slice) -> Instances:
        some = prepared[part]
        return self.decode(self.raw_outputs(some.batch), some)

    def _count(self, outputs: Sequence[Any]) -> int:
        try:
            count = self.spec.head.keypoints_in(outputs)
        except ValueError as error:
            raise ModelError(f"{self.session.info.model_path}: its first output, {error}") from error
        if count is None:
            raise ModelError(f"{self.spec.yml}: a head of the type {self.spec.head.type} finds no keypoints in crops")
        return count


def _boxes(people: Instances) -> Float32:
    if people.boxes is None:
        raise ValueError("regions: Instances with boxes are needed")
    return people.boxes


def _with_boxes(people: Instances, given: Instances | None) -> Instances:
    return people if given is None else people.replaced(boxes=given.boxes)
