"""What a model is, as data, before a runtime loads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from hpi.backends.base import ModelFiles, Normalization
from hpi.heads.base import Head, Task
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.instances import Skeleton
from hpi.models.int8 import Int8Artifact
from hpi.transforms import Transform

STATED: Final = "stated"
ASKED_FOR: Final = "asked for"


@dataclass(frozen=True)
class ModelSpec:
    """Everything known about a model before a runtime loads it.

    Attributes:
        name: the model's name.
        folder: where it lies.
        yml: the file that describes it.
        files: what the runtimes load.
        transform: how an image becomes its input.
        head: what its outputs mean.
        labels: of detectors: the name of each class.
        draw_threshold: of models that find people or objects themselves: the score to keep above by default.
        skeleton: of keypoint models: what is known of the keypoints; None where nobody says.
        skeleton_is: ``"stated"`` by the model's own files, or ``"asked for"`` by the caller: then it must fit. None: it
            is known of models of that name, and taken where it fits.
        name_is_stated: whether somebody has given the name; otherwise it is that of the folder.
        normalization: of the images, where the runtimes are not to do it; None: that of the files.
        image_input: name of the input that takes images; None: the only one, or ``image``.
        int8: its calibration for INT8, where that is wanted and there is one; see :meth:`hpi.zoo.Zoo.with_int8`.

    Example:
        >>> from hpi.zoo import Zoo
        >>> spec = Zoo.default().find("MoveNet-Thunder_256x256")
        >>> spec.task, spec.input_size, len(spec.skeleton)
        ('keypoint_detection', (256, 256), 17)
    """

    name: str
    folder: Path
    yml: Path
    files: ModelFiles
    transform: Transform
    head: Head
    labels: tuple[str, ...]
    draw_threshold: float
    skeleton: Skeleton | None = None
    skeleton_is: Literal["stated", "asked for"] | None = None
    name_is_stated: bool = True
    normalization: Normalization | None = None
    image_input: str | None = None
    int8: Int8Artifact | None = None

    @property
    def is_bottom_up(self) -> bool:
        """Whether it finds people together with their keypoints, in whole images."""
        return self.head.finds_keypoints and not self.transform.takes_regions

    @property
    def embeddings(self) -> EmbeddedBoxesHead | None:
        """What is known of the embeddings that it gives beside boxes; None where it gives none."""
        return self.head if isinstance(self.head, EmbeddedBoxesHead) else None

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the model's input, pixels; where it depends on the image, that of a square one."""
        return self.transform.size

    @property
    def task(self) -> Task:
        """What it does, by PaddleX's names."""
        return self.head.task

    def with_int8(self, artifact: Int8Artifact) -> ModelSpec:
        """The same model with a calibration for INT8, wherever that lies."""
        return replace(self, int8=artifact, files=replace(self.files, int8=artifact.graph))
