"""Models that find people with their keypoints in whole images, without a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session
from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.kernels.boxes import boxes_around
from hpi.models.keypoints import CLEAREST, KeypointModel
from hpi.models.model import Deviation, Image, ModelOptions, Threshold, reference_images
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared

MOST_TOGETHER = 4
"""Images of a run: the maps of whole images are large, and one image gives a processor enough to do."""


class BottomUp(KeypointModel):
    """A model that finds people and their keypoints in whole images.

    Where its head gives no boxes, these are derived from the keypoints, and the instances say so.

    Example:
        >>> BottomUp.expected_batches("latency"), BottomUp.expected_batches("throughput")
        ((1,), (4,))
    """

    example_batch = 2
    _expected = {"latency": (1,), "throughput": (MOST_TOGETHER,), "memory": (1,)}  # noqa: RUF012
    _tuned = _expected

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> None:
        super().__init__(spec, session, options)
        if any(one is not None for one in (self.options.use_udp, self.options.crop, self.options.use_dark)):
            raise ConfigError(
                f"{spec.name} looks at whole images: use_udp, crop and use_dark are for models that crop people"
            )
        self.options = ModelOptions(bool(self.options.flip))
        self._check_flip()

    def run(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None, threshold: Threshold = None
    ) -> list[Instances]:
        return self._run_whole(images, threshold, MOST_TOGETHER, self._run_part)

    def _run_part(self, images: Sequence[Any], least: NDArray[np.float64]) -> list[Instances]:
        prepared = self.prepare(images)
        return self.decode(self.raw_outputs(prepared.batch), prepared, least)

    def prepare(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None
    ) -> Prepared:
        return self.spec.transform.prepare(self.device, images)

    def decode(self, outputs: Sequence[Any], prepared: Prepared, least: NDArray[np.float64]) -> list[Instances]:
        """The people of each image of a batch, best first, in its pixels; those that score above ``least [N]``."""
        found, items = self._read(outputs, prepared)
        self._keypoints = found.points.shape[1]
        found, items = self._above(found, items, least)
        found = _with_boxes(prepared.inverse.apply(found, items))
        return [_best_first(found[items == item]) for item in range(len(prepared))]

    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:
        """The reference image as it is and mirrored: of one size, so that they can run together."""
        views = reference_images().views
        return [views[index % self.example_count] for index in range(count)], None

    @property
    def example_count(self) -> int:  # noqa: D102
        return 2

    def deviation(self, expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
        """Of the people that either finds clearly from those of the other that are closest to them.

        Of a model that is sure of nobody, one with random weights for instance, its clearest keypoints are compared,
        whosever they are: whose they are hangs on the last bits of nearly equal tags.
        """
        above = reference_images().config.clear_above
        there, back = _differences(expected, found, above, _of_people), _differences(found, expected, above, _of_people)
        if not there and not back:
            best = max(float(one.points[..., 2].max(initial=0)) for one in (*expected, *found))
            above = min(above, CLEAREST * best)
            there, back = (_differences(*both, above, _of_keypoints) for both in ((expected, found), (found, expected)))
        pixels, scores = np.array([*there, *back], np.float64).reshape(-1, 2).max(axis=0, initial=0).tolist()
        to_input = float(self.prepare(self.example_inputs(1)[0]).scale.max())
        return Deviation(len(there), "keypoints", pixels * to_input, scores)


def _with_boxes(found: Instances) -> Instances:
    if found.boxes is not None:
        return found
    points = found.points
    return found.replaced(boxes=boxes_around(points[..., :2], points[..., 2]), boxes_derived=True)


def _best_first(found: Instances) -> Instances:
    return found[np.argsort(-found.scores, kind="stable")]


Difference = tuple[float, float]
"""Of a keypoint, or of the person that it belongs to: the distance, pixels of the image, and that of the scores."""


def _differences(
    wanted: Sequence[Instances],
    there: Sequence[Instances],
    above: float,
    compare: Callable[[Instances, Instances, float], Iterator[Difference]],
) -> list[Difference]:
    return [one for want, have in zip(wanted, there, strict=True) for one in compare(want, have, above)]


def _of_people(want: Instances, have: Instances, above: float) -> Iterator[Difference]:
    """Of each clear keypoint of clear people, from those of the closest others."""
    for person in want[want.scores > above]:
        points = person.points[0]
        clear = points[:, 2] > above
        if not len(have):
            yield np.inf, np.inf
            continue
        if not clear.any():
            continue
        apart = np.linalg.norm(have.points[:, clear, :2] - points[clear, :2], axis=-1)
        closest = int(apart.mean(axis=1).argmin())
        of_person = np.abs(have.scores[closest] - person.scores[0])
        differences = np.maximum(np.abs(have.points[closest, clear, 2] - points[clear, 2]), of_person)
        yield from zip(apart[closest].tolist(), differences.tolist(), strict=True)


def _of_keypoints(want: Instances, have: Instances, above: float) -> Iterator[Difference]:
    """Of each clear keypoint, from the closest one of its kind."""
    wanted, there = want.points, have.points
    for person, keypoint in np.argwhere(wanted[..., 2] > above).tolist():
        if not len(there):
            yield np.inf, np.inf
            continue
        apart = np.linalg.norm(there[:, keypoint, :2] - wanted[person, keypoint, :2], axis=-1)
        score = wanted[person, keypoint, 2]
        # A salvaged keypoint may be at the place of another's peak, with a lower score.
        same = there[apart <= apart.min(), keypoint, 2]
        yield float(apart.min()), float(np.abs(same - score).min())
