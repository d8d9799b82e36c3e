"""Models that look at whole images and find instances themselves, such as person detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import MAX_BATCH, Array, Session
from hpi.errors import ModelError
from hpi.instances import Instances
from hpi.kernels.batches import split_by_count
from hpi.kernels.boxes import box_iou, clip_boxes, has_area
from hpi.models.model import Deviation, Image, Model, ModelOptions, Threshold, reference_images
from hpi.models.spec import ModelSpec
from hpi.transforms import Prepared

_INPUTS = {"image", "scale_factor", "im_shape"}


class Detector(Model):
    """A detection model: one input, the image, or those of PaddleDetection's exports.

    Attributes:
        clips: whether boxes end at the border of the image, as with PaddleX; otherwise they are as the graph has them.

    Example:
        >>> from hpi import Predictor
        >>> from hpi.sources import read_items
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     detector, _ = predictor.pipelines[0].models
        ...     (item,) = read_items("examples/basketball.png")
        ...     (people,) = detector.run([item.image], threshold=0.5)
        >>> people
        Instances(2: scores, boxes, class_ids)
    """

    clips = True
    example_batch = 4
    _expected = {"latency": (1,), "throughput": (8,), "memory": (1,)}  # noqa: RUF012
    _tuned = _expected

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> None:
        names = [of_input.name for of_input in session.info.inputs]
        self._image = spec.image_input or (names[0] if len(names) == 1 else "image")
        if self._image not in names or not (_INPUTS | {self._image}).issuperset(names):
            raise ModelError(
                f"{session.info.model_path}: not a detector that is known: it takes {names}; one takes nothing but the "
                "image, or is exported as PaddleDetection does: then it takes 'image', and may take 'scale_factor' and "
                "'im_shape'"
            )
        super().__init__(spec, session)  # the options are for keypoint models
        self._boxes_of_image = "scale_factor" in names

    def run(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None, threshold: Threshold = None
    ) -> list[Instances]:
        most = MAX_BATCH if self.spec.head.batches else 1
        return self._run_whole(images, threshold, most, self._run_part)

    def _run_part(self, images: Sequence[Any], least: NDArray[np.float64]) -> list[Instances]:
        prepared = self.prepare(images)
        return self.decode(self.outputs_of(self.feeds(prepared)), prepared, images, least)

    def prepare(  # noqa: D102
        self, images: Sequence[Any], regions: Sequence[Instances | None] | None = None
    ) -> Prepared:
        return self.spec.transform.prepare(self.device, images)

    def feeds(self, prepared: Prepared) -> dict[str, Array]:  # noqa: D102
        values: dict[str, Any] = {
            "scale_factor": prepared.scale.astype(np.float32),
            "im_shape": prepared.scaled.astype(np.float32),
            self._image: prepared.batch,
        }
        feeds = self.device.feeds({one.name: values[one.name] for one in self.session.info.inputs})
        if self.spec.transform.pads_input:
            for image, (height, width) in zip(feeds[self._image], prepared.scaled.astype(int).tolist(), strict=True):
                image[:, height:], image[:, :, width:] = 0, 0
        return feeds

    def decode(
        self, outputs: Sequence[Any], prepared: Prepared, images: Sequence[Image], least: NDArray[np.float64]
    ) -> list[Instances]:
        """What scores above ``least [N]`` in the images of the outputs: best first, inside the image, none empty."""
        found, items = self._above(*self._read(outputs, prepared), least)
        if not self._boxes_of_image:
            found = prepared.inverse.apply(found, items)
        rows = split_by_count(np.arange(len(found)), np.bincount(items, minlength=len(images)).tolist())
        return [self._inside(found, of_image, image) for of_image, image in zip(rows, images, strict=True)]

    def _inside(self, found: Instances, rows: NDArray[np.int64], image: Image) -> Instances:
        """Those of an image: best first (OpenVINO's NMS returns them in another order), none beside it or empty."""
        found = found[rows[np.argsort(-found.scores[rows], kind="stable")]]
        boxes = clip_boxes(_boxes(found), image.shape[1], image.shape[0])
        return (found.replaced(boxes=boxes) if self.clips else found)[has_area(boxes)]

    def example_inputs(self, count: int) -> tuple[list[Image], list[Instances] | None]:  # noqa: D102
        views = reference_images().views
        return [views[index % len(views)] for index in range(count)], None

    @property
    def example_count(self) -> int:  # noqa: D102
        return len(reference_images().views)

    def deviation(self, expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
        """Each clear box of the reference against the one that overlaps it most.

        Of a detector that is sure of nothing, one with random weights for instance, only the scores can be compared:
        which of its boxes survive NMS hangs on the last bits of equal ones.
        """
        above = reference_images().config.clear_above
        clear = [of_image[of_image.scores > above] for of_image in expected]
        count = sum(map(len, clear))
        if count == 0:
            return _score_deviation(expected, found)
        matches = [_match(want, have) for want, have in zip(clear, found, strict=True)]
        return Deviation(count, "boxes", score=max(score for _, score in matches), iou=min(iou for iou, _ in matches))


def _boxes(found: Instances) -> NDArray[np.float32]:
    assert found.boxes is not None  # what this model's head gives
    return found.boxes


def _classes(found: Instances) -> NDArray[np.int64]:
    assert found.class_ids is not None
    return found.class_ids


_BEST = 10
"""Boxes of an image whose scores are compared where none is clear."""
_STRICTER = 100


def _score_deviation(expected: Sequence[Instances], found: Sequence[Instances]) -> Deviation:
    best, have = (np.concatenate([of_image.scores[:_BEST] for of_image in one]) for one in (expected, found))
    if not len(best) or len(have) != len(best):
        return Deviation(0, "scores")
    score = float(np.abs(have - best).max())
    return Deviation(len(best), "scores", score=score, strictness=float(best.max()) / _STRICTER)


def _match(expected: Instances, found: Instances) -> tuple[float, float]:
    """Least overlap and largest difference over the expected boxes and their best partners of the same class."""
    if not len(expected):
        return 1.0, 0.0
    if not len(found):
        return 0.0, 1.0
    iou = box_iou(_boxes(expected), _boxes(found)) * (_classes(expected)[:, None] == _classes(found))
    partner = iou.argmax(axis=1)
    return float(iou.max(axis=1).min()), float(_differences(expected, found[partner]).max())


def _differences(expected: Instances, found: Instances) -> NDArray[np.float64]:
    """Of scores, and where there are embeddings, how far apart these point if that is more: ``[M]``."""
    scores: NDArray[np.float64] = np.abs(expected.scores - found.scores).astype(np.float64)
    if expected.embeddings is None or found.embeddings is None:
        return scores
    lengths = np.linalg.norm(expected.embeddings, axis=1) * np.linalg.norm(found.embeddings, axis=1)
    cosines = (expected.embeddings * found.embeddings).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    apart: NDArray[np.float64] = np.maximum(scores, 1 - cosines)
    return apart
