"""TRC, the marker files of OpenSim and other programs of biomechanics: one for each person of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpi.errors import InputError
from hpi.instances import Float32, Skeleton
from hpi.io.files import check_folder
from hpi.sinks.line_file import whole_lines
from hpi.sinks.stream import NOTHING, Kept, StreamSink
from hpi.sources.streams import USUAL_RATE
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from hpi.results import Result

_FIELDS = (
    "DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame", "OrigNumFrames",
)  # fmt: skip
_VALUES_BYTES = 128  # so long are their values, with blanks
_NUMBER_LINES, _LABEL_LINES = 3, 3


class TrcSink(StreamSink):
    r"""Writes ``<name>_person<track id>.trc`` for each person who is followed.

    A file has a row for each frame in which the person was found: its index, its time in seconds, and X, Y and Z of
    each keypoint. X and Y are pixels of the image, Y goes down, Z is 0; the header says ``px``. X and Y of keypoints
    that score too low to be drawn are blank. Each row goes to its file at once, and the number of rows to the header,
    so that a file can be read at any time, also after a kill.

    The format is that of OpenSim's documentation, "Marker (.trc) Files". Pixels, Y and Z are as Sports2D writes them.

    Args:
        path: the folder.
        name: the beginning of the files' names.
        rate: of the source, frames per second; without it, the mean of each file.
        smoothed: write smoothed keypoints, where there are some, in place of those that were found.
        kept: what stays of an interrupted run; rows of that name of later frames are removed.

    Raises:
        InputError: the folder cannot be written, or a file that stays is damaged.

    Example:
        >>> import tempfile
        >>> from hpi import Frame, Instances, KeypointResult
        >>> found = Instances([0.9], keypoints=[[[4, 5]]], keypoint_scores=[[0.5]], track_ids=[3])
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), index=7, time_s=0.28)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = TrcSink(Path(folder), "a", rate=Fraction(25))
        ...     sink.add(KeypointResult(frame, found, Skeleton("nose", ("nose",)), detected=False))
        ...     lines = (Path(folder) / "a_person3.trc").read_text().splitlines()
        >>> lines[2].split("\t"), lines[-1].split("\t")
        (['25', '25', '1', '1', 'px', '25', '7', '1'], ['7', '0.28', '4.0', '5.0', '0'])
    """

    def __init__(
        self, path: Path, name: str, *, rate: Fraction | None = None, smoothed: bool = False, kept: Kept = NOTHING
    ) -> None:
        self.path = path
        self._name = name
        self._rate = rate
        self._smoothed = smoothed
        self._failure: InputError | None = None
        check_folder(path, InputError)
        self._files: dict[int, _PersonFile] = {}
        named = re.compile(re.escape(name) + r"_person(\d+)\.trc")
        for file in sorted(path.iterdir()):
            if found := named.fullmatch(file.name):
                self._keep(int(found[1]), file, kept.next_index)

    def add(self, result: Result) -> None:
        """Write a row for each person of a frame."""
        if self._failure:
            raise self._failure
        people = result.smoothed if self._smoothed and result.smoothed is not None else result.instances
        if result.skeleton is None:
            raise InputError("a detector finds no keypoints, which TRC files are for; choose another format")
        if people.track_ids is None and len(people):
            raise InputError("a TRC file is for one person, told by track id: choose a tracker, or another format")
        index, time_s = result.frame.index, result.frame.time_s
        if index is None or time_s is None:
            raise InputError(f"{self.path}: a frame without a time; only the results of a stream become TRC files")
        for track_id, points in zip(result.track_ids.tolist(), people.points if len(people) else (), strict=True):
            if track_id != UNTRACKED:
                self._add_row(track_id, _Moment(index, time_s), points, result.skeleton)

    def close(self) -> None:
        """Nothing is left to do."""

    def _keep(self, track_id: int, path: Path, next_index: int) -> None:
        try:
            file = _PersonFile.kept(path, self._rate, next_index)
        except ValueError as error:
            raise InputError(f"{path}: is damaged; start anew, into another folder or without resuming") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        if file is not None:
            self._files[track_id] = file

    def _add_row(self, track_id: int, moment: _Moment, points: Float32, skeleton: Skeleton) -> None:
        labels = _labels(skeleton)
        if track_id not in self._files:
            path = self.path / f"{self._name}_person{track_id}.trc"
            self._files[track_id] = _PersonFile(path, self._rate, labels, moment)
        file = self._files[track_id]
        if file.labels != labels:
            raise InputError(f"{file.path}: has other markers: resume with the same model, or start anew")
        try:
            file.append(moment, _coordinates(points, skeleton.visible_above))
        except OSError as error:
            reason = error.strerror or error
            self._failure = InputError(f"{file.path}: cannot be written: {reason}; what was written before stays")
            raise self._failure from error


@dataclass(frozen=True)
class _Moment:
    """Index and time of a frame."""

    index: int
    time_s: float


class _PersonFile:
    """The file of a person."""

    def __init__(self, path: Path, rate: Fraction | None, labels: bytes, first: _Moment) -> None:
        self.path = path
        self.labels = labels
        """The lines that name the columns."""
        self._rate = rate
        self._first = first
        self._rows = 0
        self._size = 0

    @classmethod
    def kept(cls, path: Path, rate: Fraction | None, next_index: int) -> _PersonFile | None:
        """What stays of a file of an earlier run, before a frame; None, and no file, where that is nothing.

        Raises:
            ValueError: it is not such a file.
            OSError: it cannot be written.
        """
        lines = whole_lines(path)
        start, labels = (b"".join(islice(lines, count)) for count in (_NUMBER_LINES, _LABEL_LINES))
        rows = list(takewhile(lambda row: row[0].index < next_index, map(_parsed, lines)))
        if not rows:
            path.unlink()
            return None
        file = cls(path, rate, labels, rows[0][0])
        file._rows, file._size = len(rows), len(start) + len(labels) + sum(length for _, length in rows)
        with path.open("r+b", buffering=0) as opened:
            opened.truncate(file._size)
            _write_at(opened, 0, file._numbers(rows[-1][0]))
        return file

    def append(self, moment: _Moment, coordinates: str) -> None:
        """Write a row, and then how many there are."""
        row = f"{moment.index}\t{moment.time_s}\t{coordinates}\n".encode()
        with self.path.open("r+b" if self._rows else "wb", buffering=0) as opened:
            self._rows += 1
            numbers = self._numbers(moment)
            data = row if self._size else numbers + self.labels + row
            try:
                _write_at(opened, self._size, data)
            except OSError:
                opened.truncate(self._size)
                raise
            self._size += len(data)
            _write_at(opened, 0, numbers)

    def _numbers(self, last: _Moment) -> bytes:
        """The first lines, of the same length for every row; blanks after the file's name fill them up."""
        passed = last.time_s - self._first.time_s
        mean = (last.index - self._first.index) / passed if passed > 0 else float(USUAL_RATE)
        rate = f"{float(self._rate or mean):.8g}"
        markers = self.labels.count(b"\tX")
        values = (rate, rate, self._rows, markers, "px", rate, self._first.index, self._rows)
        line = "\t".join(map(str, values))
        title = f"PathFileType\t4\t(X/Y/Z)\t{_word(self.path.name)}{' ' * (_VALUES_BYTES - len(line))}"
        return "\n".join((title, "\t".join(_FIELDS), line, "")).encode("utf-8", "backslashreplace")


def _write_at(file: FileIO, place: int, data: bytes) -> None:
    file.seek(place)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _parsed(line: bytes) -> tuple[_Moment, int]:
    """The frame of a row, and the row's length."""
    index, time_s, _ = line.split(b"\t", 2)
    return _Moment(int(index), float(time_s)), len(line)


def _labels(skeleton: Skeleton) -> bytes:
    """Names of the markers, and their axes; an empty line follows."""
    names = "".join(f"{_word(name)}\t\t\t" for name in skeleton.keypoints)
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(skeleton) + 1))
    return f"Frame#\tTime\t{names}\n\t\t{axes}\n\n".encode("utf-8", "backslashreplace")


def _word(text: str) -> str:
    """A text without what ends a column or a line."""
    return " ".join(text.split())


def _coordinates(points: Float32, visible_above: float) -> str:
    """The columns of a person ``[K, 3]``: of float32 the shortest texts that read back as the same."""
    seen = np.isfinite(points[:, :2]).all(axis=1) & (points[:, 2] > visible_above)
    # A blank Z as well would end some rows with blanks, which OpenSim takes for too few columns.
    texts = (f"{x}\t{y}\t0" if is_seen else "\t\t0" for (x, y), is_seen in zip(points[:, :2], seen, strict=True))
    return "\t".join(texts)
