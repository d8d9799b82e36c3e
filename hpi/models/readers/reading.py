"""What a reader returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpi.models.description import Description
from hpi.models.spec import ModelSpec


@dataclass(frozen=True)
class Hints:
    """What somebody says of a model whose files do not say it.

    Attributes:
        kind: what it is, one of :data:`hpi.models.readers.plain_onnx.KINDS`, such as ``"simcc"`` or ``"yolo"``.
        skeleton: its keypoints: a name of ``configs/skeletons``, or the path of a YAML file.
        usual: skeletons that are meant where several have as many keypoints as the model.
        description: all of it, whatever its files say.

    Example:
        >>> Hints(skeleton="ap10k17")
        Hints(kind=None, skeleton='ap10k17', usual=(), description=None)
    """

    kind: str | None = None
    skeleton: str | None = None
    usual: tuple[str, ...] = ()
    description: Description | None = None


@dataclass(frozen=True)
class Reading:
    """What a model was taken for.

    Attributes:
        format: of its files, such as ``"mmdeploy SDK folder"``.
        spec: what the engine runs.
        because: why, one sentence for each thing that was read or concluded.
        description: what ``hpi inspect --write`` writes; None where the files of a model have it all in another form.

    Example:
        >>> from hpi.zoo import Zoo
        >>> from hpi.models.readers import read
        >>> reading = read(Zoo.default().find("MoveNet-Thunder_256x256").folder)
        >>> reading.format, reading.spec.name
        ('PaddleX or PaddleDetection folder', 'MoveNet-Thunder_256x256')
    """

    format: str
    spec: ModelSpec
    because: tuple[str, ...] = ()
    description: Description | None = None

    @property
    def path(self) -> Path:
        """The file that says what the model is."""
        return self.spec.yml
