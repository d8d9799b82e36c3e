"""A model's INT8 calibration: the graph, what it was made from, and the images that it is validated by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hpi.backends.artifacts import NOTE, content_hash
from hpi.errors import ModelError
from hpi.io.validation import Record, parse

GRAPH, IMAGES = "model.onnx", "images"


class MadeFrom(Record):
    """Everything that an INT8 calibration depends on.

    Attributes:
        model: the model's name.
        content: hash of its files.
        images: hash of the image files, in the order in which they were used.
        calibrated_on: how many of them the ranges of values were taken from.
        validated_on: how many others it was validated by.
        recipe: version of how it is done.
        rewrites: of the graph before, with their versions.
        nncf: version of NNCF.
        openvino: version of OpenVINO.

    Example:
        >>> MadeFrom(
        ...     model="mine", content="0a", images="1b", calibrated_on=48, validated_on=16, recipe="1", rewrites="",
        ...     nncf="3.4.0", openvino="2026.0",
        ... ).calibrated_on
        48
    """

    model: str
    content: str
    images: str
    calibrated_on: int
    validated_on: int
    recipe: str
    rewrites: str
    nncf: str
    openvino: str


class ApLoss(Record):
    """What INT8 costs a detector.

    Attributes:
        points: of box AP, percent; below 0 where it gains.
        how: how that is known.

    Example:
        >>> str(ApLoss(points=1.04, how="estimated from 94 boxes"))
        '1.0 points of AP, estimated from 94 boxes'
    """

    points: float
    how: str

    def __str__(self) -> str:
        return f"{self.points:.1f} points of AP, {self.how}"


class Int8Note(Record):
    """The note beside the graph.

    Attributes:
        key: what it was made from.
        sha256: hash of the graph and the images.
        created: date and time.
        verdict: what the parity gate found then.
        ap_loss: what it costs; None of a keypoint model, where nobody knows.
    """

    key: MadeFrom
    sha256: str
    created: str
    verdict: str = ""
    ap_loss: ApLoss | None = None


@dataclass(frozen=True)
class Int8Artifact:
    """A folder that :mod:`hpi.quantization` has written.

    Attributes:
        folder: where it lies.
        note: its ``artifact.json``.
    """

    folder: Path
    note: Int8Note

    @classmethod
    def read(cls, folder: Path, content: str) -> Int8Artifact:
        """Read and check a folder.

        Args:
            folder: the folder.
            content: hash of the files of the model that it must be of.

        Raises:
            ModelError: it is damaged, or of another model.

        Example:
            >>> Int8Artifact.read(Path("examples"), "0a")
            Traceback (most recent call last):
            hpi.errors.ModelError: examples/artifact.json: cannot be read: No such file or directory; make it again \
with: hpi quantize
        """
        path, again = folder / NOTE, "make it again with: hpi quantize"
        try:
            note = parse(Int8Note, json.loads(path.read_text(encoding="utf-8")), str(path), ModelError)
            found = content_hash(files_of(folder))
        except OSError as error:
            raise ModelError(f"{error.filename}: cannot be read: {error.strerror}; {again}") from error
        except (ValueError, RecursionError, ModelError) as error:
            raise ModelError(f"{path}: {error}; {again}") from error
        if note.key.content != content:
            raise ModelError(f"{path}: this INT8 calibration is of {note.key.model} with other weights; {again}")
        if note.sha256 != found:
            raise ModelError(f"{folder}: the INT8 calibration is damaged; {again}")
        return cls(folder, note)

    @property
    def graph(self) -> Path:
        """The graph in INT8."""
        return self.folder / GRAPH

    @property
    def images(self) -> list[Path]:
        """Images that it was not calibrated on, made smaller."""
        return files_of(self.folder)[1:]

    @property
    def notes(self) -> tuple[str, ...]:
        """What it is, for :attr:`hpi.backends.base.SessionInfo.notes`."""
        key = self.note.key
        return (
            f"calibrated for INT8 on {key.calibrated_on} images {key.images[:12]}, recipe {key.recipe}",
            f"NNCF {key.nncf}, OpenVINO {key.openvino}",
            f"loss {self.note.ap_loss or 'not known'}",
        )


def files_of(folder: Path) -> list[Path]:
    """The graph, then the images.

    Example:
        >>> [path.name for path in files_of(Path("examples"))]
        ['model.onnx']
    """
    return [folder / GRAPH, *sorted((folder / IMAGES).glob("*.jpg"))]
