"""What a model is, as data, before a runtime loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpi.backends.base import ModelFiles
from hpi.heads.base import Head, Task
from hpi.instances import Skeleton
from hpi.transforms import Transform


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
        draw_threshold: of detectors: the score to keep above by default.
        skeleton: of keypoint models: what is known of the keypoints; None where nobody says.
        skeleton_is_stated: whether the model's own files name it, so that it must fit.
        image_input: name of the input that takes images; None: the only one, or ``image``.

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
    skeleton_is_stated: bool = False
    image_input: str | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the model's input, pixels."""
        return self.transform.size

    @property
    def task(self) -> Task:
        """What it does, by PaddleX's names."""
        return self.head.task
