"""Models that look at one person at a time: the regions of all people of all images go through them in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import MAX_BATCH, Session
from hpi.errors import ConfigError, ModelError
from hpi.heads.heatmap import HeatmapHead
from hpi.instances import Instances
from hpi.kernels.batches import split_by_count
from hpi.models.keypoints import CLEAREST, KeypointModel
from hpi.models.model import Deviation, Image, ModelOptions, NotFiniteError, Threshold, reference_images
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared, TopDownAffine, with_crop

Float32 = NDArray[np.float32]


class TopDown(KeypointModel):
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

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> None:
        transform, options = spec.transform, options or ModelOptions()
        assert isinstance(transform, TopDownAffine)
        if options.use_dark is not None:
            spec = replace(spec, head=_with_dark(spec, on=options.use_dark))
        super().__init__(spec, session, options)
        udp = transform.udp if options.use_udp is None else options.use_udp
        self.transform = replace(with_crop(transform, options.crop), udp=udp)
        self.options = ModelOptions(bool(options.flip), self.transform.udp, self.transform.crop, options.use_dark)
        self._check_flip()

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

    def seen(self, images: Sequence[Any], regions: Sequence[Instances]) -> list[Instances]:  # noqa: D102
        return [self._seen(image, people) for image, people in zip(images, regions, strict=True)]

    def _seen(self, image: Any, people: Instances) -> Instances:
        seen = self.transform.sees(_boxes(people), image)
        return people if seen.all() else people[seen]

    def prepare(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None
    ) -> Prepared:
        given = [None] * len(images) if regions is None else regions
        where = [
            self.transform.whole_image(image) if people is None else self.transform.regions(_boxes(people), image)
            for image, people in zip(images, given, strict=True)
        ]
        return self.transform.prepare(self.device, images, where)

    def decode(self, outputs: Sequence[Any], prepared: Prepared) -> Instances:
        """People in pixels of their images; one for each crop."""
        found, items = self._read(outputs, prepared)
        if not np.array_equal(items, np.arange(len(prepared))):
            raise ModelError(
                f"{self.spec.yml}: a head of the type {self.spec.head.type} gives {len(items)} people for "
                f"{len(prepared)} crops; it must give one for each"
            )
        points = found.points
        self._keypoints = points.shape[1]
        if not np.isfinite(points).all():
            raise NotFiniteError(self.spec, self.session)
        return prepared.inverse.apply(found, items)

    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:  # noqa: D102
        reference = reference_images().of(self.spec.skeleton)
        boxes = reference.boxes[np.arange(count) % len(reference.boxes)]
        return [reference.image] * count, [Instances(np.ones(1, np.float32), boxes=box[None]) for box in boxes]

    @property
    def example_count(self) -> int:  # noqa: D102
        return len(reference_images().of(self.spec.skeleton).boxes)

    def deviation(self, expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
        """Of the keypoints that the reference finds clearly, in pixels of the crop.

        Where the best scores more than 1, as of SimCC it may, all scores count relative to it. Of a model that is sure
        of nothing, one with random weights for instance or one for animals, its clearest keypoints are compared.
        """
        want, have = Instances.concatenate(list(expected)), Instances.concatenate(list(found))
        assert want.boxes is not None  # those of the example inputs
        scores, above = want.points[..., 2], reference_images().config.clear_above
        best = float(scores.max(initial=0))
        clear = scores > (above * max(best, 1) if best > above else CLEAREST * best)
        off = np.abs(have.points - want.points)[clear]
        regions = self.transform.regions(want.boxes, reference_images().image)
        to_crop = np.broadcast_to(self.spec.input_size[0] / regions.scale[:, None, :1], (*clear.shape, 1))[clear]
        # Of two places that are almost equally good a runtime may take the next one.
        apart = np.maximum(off[:, :2] * to_crop - self.spec.head.resolution, 0)
        return Deviation(
            len(off),
            "keypoints",
            float(np.linalg.norm(apart, axis=-1).max(initial=0)),
            float(off[:, 2].max(initial=0)),
            strictness=1.0 if above < best <= 1 else best,
        )

    def _run_part(self, prepared: Prepared, part: slice) -> Instances:
        some = prepared[part]
        return self.decode(self.raw_outputs(some.batch), some)


def _with_dark(spec: ModelSpec, *, on: bool) -> HeatmapHead:
    if not isinstance(spec.head, HeatmapHead):
        raise ConfigError(f"{spec.name}: use_dark is for heatmaps, but its outputs are {spec.head.type}")
    if on and spec.head.decoder != "quarter":
        return spec.head  # by the kind of DARK that is its own
    return spec.head.model_copy(update={"decoder": "dark" if on else "quarter"})


def _boxes(people: Instances) -> Float32:
    if people.boxes is None:
        raise ValueError("regions: Instances with boxes are needed")
    return people.boxes


def _with_boxes(people: Instances, given: Instances | None) -> Instances:
    return people if given is None else people.replaced(boxes=given.boxes)
