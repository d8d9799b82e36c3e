"""The images that a runtime must get right before it is trusted with a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.instances import Skeleton
from hpi.io.validation import Record, parse, read_yaml

Image = NDArray[np.uint8]

FOLDER = files("hpi.configs") / "parity"


class Limits(Record):
    """How far a runtime may be off: keypoints in pixels of the input, scores, and the least overlap of boxes.

    Example:
        >>> Limits(pixels=0.3, score=0.01, iou=0.98).pixels
        0.3
    """

    pixels: float
    score: float
    iou: float


class BoxLimits(Record):
    """How far a detector in INT8 may be off, over all its clear boxes together.

    Attributes:
        lost: share of the reference's boxes that it may not find.
        added: share of its boxes that the reference may not find.
        iou: least median overlap.
        score: largest mean difference of scores.
        least: fewest boxes that say anything.

    Example:
        >>> BoxLimits(lost=0.03, added=0.03, iou=0.95, score=0.05, least=20).least
        20
    """

    lost: float
    added: float
    iou: float
    score: float
    least: int


class Closer(Record):
    """Boxes for models of other keypoints than those of whole people.

    Example:
        >>> Closer(skeletons=["hand21"], boxes=[(118, 136, 168, 178)]).skeletons
        ['hand21']
    """

    skeletons: list[str]
    boxes: list[tuple[float, float, float, float]]


class ParityConfig(Record):
    """``configs/parity/parity.yaml``.

    Example:
        >>> config = ReferenceImages.load().config
        >>> config.image, sorted(config.limits)
        ('people.png', ['bf16', 'fp16', 'fp32', 'int8'])
    """

    image: str
    boxes: list[tuple[float, float, float, float]]
    closer: list[Closer]
    clear_above: float
    limits: dict[str, Limits]
    int8_boxes: BoxLimits


@dataclass(frozen=True)
class ReferenceImages:
    """An image, the people in it, and how far results may be from the reference's.

    Example:
        >>> reference = ReferenceImages.load()
        >>> reference.image.shape, len(reference.views), reference.boxes.shape
        ((480, 640, 3), 4, (8, 4))
    """

    config: ParityConfig

    @classmethod
    def load(cls) -> ReferenceImages:
        """Those of the package."""
        with as_file(FOLDER / "parity.yaml") as path:
            return cls(parse(ParityConfig, read_yaml(path), str(path)))

    def of(self, skeleton: Skeleton | None) -> ReferenceImages:
        """Those for a model of these keypoints: the same image, with boxes around what has them.

        Example:
            >>> from hpi.skeletons import load_skeleton
            >>> ReferenceImages.load().of(load_skeleton("hand21")).boxes[0].tolist()
            [118.0, 136.0, 168.0, 178.0]
        """
        name = skeleton.name if skeleton else ""
        boxes = next((one.boxes for one in self.config.closer if name in one.skeletons), self.config.boxes)
        return ReferenceImages(self.config.model_copy(update={"boxes": boxes, "closer": []}))

    @property
    def key(self) -> str:
        """What a verdict hangs on; the boxes for other models are not part of it."""
        return self.config.model_dump_json(exclude={"closer"})

    @cached_property
    def image(self) -> Image:
        """``[H, W, 3]`` uint8 BGR; decoded when it is first needed."""
        with as_file(FOLDER / self.config.image) as path:
            return np.asarray(cv2.imread(str(path)), np.uint8)

    @cached_property
    def views(self) -> list[Image]:
        """For a detector: the image as it is, mirrored, and its left and right half."""
        half = self.image.shape[1] // 2
        views = (self.image, self.image[:, ::-1], self.image[:, :half], self.image[:, half:])
        return [np.ascontiguousarray(view) for view in views]

    @cached_property
    def boxes(self) -> NDArray[np.float32]:
        """Boxes of people, ``[N, 4]``, pixels."""
        return np.array(self.config.boxes, np.float32)
