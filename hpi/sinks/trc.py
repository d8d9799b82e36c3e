"""TRC, the marker files of OpenSim and other programs of biomechanics: one for each person of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from itertools import islice
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
_BLANK = "\t\t0"  # a blank Z as well would end some rows with blanks, which OpenSim takes for too few columns
_NUMBER_LINES, _LABEL_LINES = 3, 3


class TrcSink(StreamSink):
    r"""Writes ``<name>_person<track id>.trc`` for each person who is followed.

    A file has a row for each frame from the first to the last in which the person was found: its index, its time in
    seconds, and X, Y and Z of each keypoint. X and Y are pixels of the image, Y goes down, Z is 0; the header says
    ``px``. X and Y are blank of keypoints that score too low to be drawn, and in frames in which the person was not
    found. A row goes to its file at once, and the number of rows to the header, so that a file can be read at any time,
    also after a kill.

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
        (['25', '25', '1', '1', 'px', '25', '7', '1'], ['7', '0.280000', '4.0', '5.0', '0'])
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
            raise InputError("a TRC file is for one person, known by track id: choose a tracker, or another format")
        index, time_s = result.frame.index, result.frame.time_s
        if index is None or time_s is None:
            raise InputError(f"{self.path}: a frame without a time; only the results of a stream become TRC files")
        labels = _labels(result.skeleton)
        for track_id, points in zip(result.track_ids.tolist(), people.points if len(people) else (), strict=True):
            if track_id != UNTRACKED:
                coordinates = _coordinates(points, result.skeleton.visible_above)
                self._add_row(track_id, _Moment(index, time_s), labels, coordinates)

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

    def _add_row(self, track_id: int, moment: _Moment, labels: bytes, coordinates: str) -> None:
        if track_id not in self._files:
            path = self.path / f"{self._name}_person{track_id}.trc"
            self._files[track_id] = _PersonFile(path, self._rate, labels, moment, moment)
        file = self._files[track_id]
        if file.labels != labels:
            raise InputError(f"{file.path}: has other markers: resume with the same model, or start anew")
        try:
            file.append(moment, coordinates)
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

    def __init__(self, path: Path, rate: Fraction | None, labels: bytes, first: _Moment, last: _Moment) -> None:
        self.path = path
        self.labels = labels
        """The lines that name the columns."""
        self._rate = rate
        self._markers = labels.splitlines()[1].count(b"\tX")
        self._first = first
        self._last = last
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
        size = whole = len(start) + len(labels)
        first = last = None
        for line in lines:
            index, time_s, coordinates = line.split(b"\t", 2)
            if int(index) >= next_index:
                break
            whole += len(line)
            if coordinates.strip(b"\t0\n"):  # else it is in a gap, of which nobody knows yet whether it ends
                size, last = whole, _Moment(int(index), float(time_s))
                first = first or last
        if first is None or last is None:
            path.unlink()
            return None
        file = cls(path, rate, labels, first, last)
        file._size = size
        with path.open("r+b", buffering=0) as opened:
            opened.truncate(size)
            _write_at(opened, 0, file._numbers())
        return file

    def append(self, moment: _Moment, coordinates: str) -> None:
        """Write a row, with blank ones for the frames since the last, and then how many there are."""
        rows = "".join(self._blank_rows(moment)) + _row(moment.index, moment.time_s, coordinates)
        self._last = moment
        numbers = self._numbers()
        with self.path.open("r+b" if self._size else "wb", buffering=0) as opened:
            data = (b"" if self._size else numbers + self.labels) + rows.encode()
            try:
                _write_at(opened, self._size, data)
            except OSError:
                opened.truncate(self._size)
                raise
            self._size += len(data)
            _write_at(opened, 0, numbers)

    def _blank_rows(self, moment: _Moment) -> Iterator[str]:
        indices = range(self._last.index, moment.index + 1)
        times = np.linspace(self._last.time_s, moment.time_s, len(indices)).tolist()
        blank = "\t".join([_BLANK] * self._markers)
        return (_row(index, time_s, blank) for index, time_s in list(zip(indices, times, strict=True))[1:-1])

    def _numbers(self) -> bytes:
        """The first lines, of the same length for every row; blanks after the file's name fill them up."""
        first, last = self._first, self._last
        passed, rows = last.time_s - first.time_s, last.index - first.index + 1
        rate = f"{float(self._rate or ((rows - 1) / passed if passed > 0 else USUAL_RATE)):.8g}"
        line = "\t".join(map(str, (rate, rate, rows, self._markers, "px", rate, first.index, rows)))
        title = f"PathFileType\t4\t(X/Y/Z)\t{_word(self.path.name)}{' ' * (_VALUES_BYTES - len(line))}"
        return "\n".join((title, "\t".join(_FIELDS), line, "")).encode("utf-8", "backslashreplace")


def _write_at(file: FileIO, place: int, data: bytes) -> None:
    file.seek(place)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _row(index: int, time_s: float, coordinates: str) -> str:
    return f"{index}\t{time_s:.6f}\t{coordinates}\n"


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
    texts = (f"{x}\t{y}\t0" if is_seen else _BLANK for (x, y), is_seen in zip(points[:, :2], seen, strict=True))
    return "\t".join(texts)
