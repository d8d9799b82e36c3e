"""JSON lines: one for each frame of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hpi.errors import InputError
from hpi.instances import Instances
from hpi.sinks.line_file import GrowingSink, whole_lines
from hpi.sinks.stream import NOTHING, Kept
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from hpi.results import Result


class LinesSink(GrowingSink):
    """Writes a line of JSON for each frame: what ``result.json`` has under ``res``.

    Args:
        path: the file.
        smoothed: also write ``keypoints_smoothed`` of each person.
        kept: what stays of the file of an interrupted run.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from hpi import DetectionResult, Frame
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), index=0, time_s=0.0, stream="a")
        >>> result = DetectionResult(frame, Instances.empty(), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = LinesSink(Path(folder) / "a_res.jsonl")
        ...     sink.add(result)
        ...     sink.close()
        ...     [(index, time_s, len(people)) for index, time_s, people in read_lines(sink.path)]
        [(0, 0.0, 0)]
    """

    def __init__(self, path: Path, *, smoothed: bool = False, kept: Kept = NOTHING) -> None:
        self._smoothed = smoothed
        super().__init__(path, kept)

    def text(self, result: Result) -> str:
        """The line of a frame."""
        content = result.json["res"]
        if self._smoothed and result.smoothed is not None and result.skeleton is not None:
            people = content["boxes"] if "boxes" in content else content["kpts"]
            for person, points in zip(people, result.smoothed.points, strict=True):
                person["keypoints_smoothed"] = points.tolist()
        return json.dumps(content, ensure_ascii=False) + "\n"

    def frame_of(self, line: bytes) -> int:
        """Index of the frame of a line."""
        return _parse(self.path, line).frame_index


_Number = Annotated[float, Field(ge=-1e9, le=1e9)]  # float32 holds it


class _Person(BaseModel):
    model_config = ConfigDict(strict=True)

    coordinate: tuple[_Number, _Number, _Number, _Number] | None = None
    det_score: _Number | None = None
    score: _Number | None = None
    kpt_score: _Number | None = None
    cls_id: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    keypoints: list[tuple[_Number, _Number, _Number]] | None = None
    track_id: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    interpolated: bool = False


class _Line(BaseModel):
    """What is read of a line; the rest is not needed."""

    model_config = ConfigDict(strict=True)

    frame_index: Annotated[int, Field(ge=0, lt=1 << 63)]
    time_s: _Number
    boxes: list[_Person] | None = None
    kpts: list[_Person] | None = None


def read_lines(path: Path) -> Iterator[tuple[int, float, Instances]]:
    """Read what :class:`LinesSink` has written; a last line that a kill has cut is left out.

    Args:
        path: the file.

    Yields:
        Index and time of each frame, and its people. Where there is nobody, the arrays have no rows, and the number of
        keypoints is not known.

    Raises:
        InputError: the file cannot be read, or a line is not that of a frame after the one before.
    """
    last = -1
    for number, line in enumerate(whole_lines(path), 1):
        where = f"{path}: line {number}"
        found = _parse(where, line)
        if found.frame_index <= last:
            raise InputError(f"{where}: frame {found.frame_index} comes after frame {last}; {_START_ANEW}")
        last = found.frame_index
        try:
            people = _instances(found)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: people with different fields or numbers of keypoints; {_START_ANEW}") from error
        yield found.frame_index, found.time_s, people


_START_ANEW = "the file is damaged or not one of results: start anew, into another folder or without resuming"


def _parse(where: Path | str, line: bytes) -> _Line:
    try:
        return _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {field + ': ' if field else ''}{first['msg']}; {_START_ANEW}") from error


def _instances(line: _Line) -> Instances:
    people = line.kpts if line.boxes is None else line.boxes
    if not people:
        return Instances.empty(0 if line.boxes is None else None, boxes=line.boxes is not None)
    arrays: dict[str, Any] = {"scores": [_score(person) for person in people]}
    if line.boxes is not None:
        arrays["boxes"] = [person.coordinate for person in people]
    if any(person.cls_id is not None for person in people):
        arrays["class_ids"] = [person.cls_id for person in people]
    if any(person.keypoints is not None for person in people):
        points = np.array([person.keypoints for person in people], np.float32)
        arrays |= {"keypoints": points[..., :2], "keypoint_scores": points[..., 2]}
    if any("track_id" in person.model_fields_set for person in people):
        arrays["track_ids"] = [UNTRACKED if person.track_id is None else person.track_id for person in people]
    if any(person.interpolated for person in people):
        arrays["interpolated"] = [person.interpolated for person in people]
    return Instances(**arrays)


def _score(person: _Person) -> float:
    """The detector's, or the keypoint model's own."""
    for score in (person.det_score, person.score, person.kpt_score):
        if score is not None:
            return score
    raise ValueError("no score")
