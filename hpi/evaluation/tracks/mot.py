"""Videos in the layout of MOTChallenge: frames as images, boxes and ids in text files."""

from __future__ import annotations

import configparser
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpi.assignment import load_assign
from hpi.errors import ConfigError, InputError
from hpi.evaluation.predictions import DatasetImage, Figures, Person
from hpi.evaluation.tracks.measures import FrameDistances, Tally, count, tracking_figures
from hpi.evaluation.tracks.mot_file import Row, read_rows
from hpi.evaluation.tracks.videos import Video, VideoDataset, with_identity
from hpi.instances import Float32, Instances, Skeleton
from hpi.kernels.boxes import box_iou
from hpi.sources.streams import USUAL_RATE

LARGEST_DISTANCE = 0.5  # 1 - IoU

_PROTOCOL = (
    "People of class 1 that are not marked 0 are to be found, by boxes with an IoU of at least 0.5. Who is found where "
    "somebody is marked 0, or where a person on a vehicle, a static person, a distractor or a reflection is, does not "
    "count; neither do frames without annotations, nor people without a track. Coordinates are compared as they are. "
    "MOTA, IDF1 and the number of switches are motmetrics'; of several videos, they come from the sums of all counts. "
    "People are followed by {tracker}."
)


class MotDataset(VideoDataset):
    """Videos in MOTChallenge's layout: ``NAME/img1/000001.jpg``, ``NAME/gt/gt.txt``, ``NAME/seqinfo.ini``."""

    title = "MOT"
    _protocol = _PROTOCOL

    def __init__(self, annotations: Path, images: Path, boxes: object = "detector", tracker: str | None = None) -> None:
        """Read and check the annotations.

        Args:
            annotations: a ``gt.txt``, or a folder with ``NAME/gt/gt.txt`` for each video.
            images: the folder of the frames, whose names are their numbers, from 1; or that with ``NAME/img1`` for each
                video. The rate is that of ``seqinfo.ini`` beside the folder of the frames, else 25 frames a second.
            boxes: ``"detector"``, ``"model"``, or the ``det.txt`` of the video.
            tracker: as in :class:`hpi.evaluation.tracks.videos.VideoDataset`.

        Raises:
            InputError: a file is invalid; the message names the file and the line.
            ConfigError: as in :class:`hpi.evaluation.tracks.videos.VideoDataset`; or detections of one video are given
                for several.
        """
        super().__init__(tracker, boxes)
        self._truth: dict[int, list[Row]] = {}
        missing: list[str] = []
        sequences = list(_sequences(annotations, images))
        if isinstance(boxes, Path) and len(sequences) > 1:
            raise ConfigError(
                f"--boxes {boxes}: a file of detections is of one video; give --annotations NAME/gt/gt.txt"
            )
        for name, file, frames in sequences:
            missing += self._add(name, file, frames, boxes if isinstance(boxes, Path) else None)
        self._leave_out("annotated frames without an image", missing)

    def measure(self, videos: Sequence[Mapping[int, Instances]], skeleton: Skeleton | None) -> Figures:
        """MOTA, IDF1 and switches."""
        del skeleton
        tallies = [
            count(_distances(self._truth[number], people) for number, people in video.items() if number in self._truth)
            for video in videos
        ]
        return tracking_figures(sum(tallies, Tally()))

    def _add(self, name: str, file: Path, frames: Path, detections: Path | None) -> list[str]:
        """Add a video; returns the annotated frames that it does not have."""
        truth, given = _by_frame(read_rows(file)), None if detections is None else _by_frame(read_rows(detections))
        paths, rate = _frames(frames), _rate(frames.parent / "seqinfo.ini")
        if not truth.keys() & paths.keys():
            raise InputError(
                f"{frames}: none of the {len(truth)} annotated frames is there, such as {min(truth):06}.jpg"
            )
        for frame, rows in truth.items():
            _check_ids(rows, f"{file}: frame {frame}")
        numbers = {frame: len(self.images) + place for place, frame in enumerate(paths)}
        self._truth |= {numbers[frame]: rows for frame, rows in truth.items() if frame in numbers}
        self._videos.append(Video(name, {number: frame / rate for frame, number in numbers.items()}))
        for frame, path in paths.items():
            people = None if given is None else [Person(row.box, row.mark) for row in given.get(frame, [])]
            self.images.append(DatasetImage(numbers[frame], path, None, people))
        return [f"{name} {frame}" for frame in truth if frame not in paths]


def _sequences(annotations: Path, images: Path) -> Iterator[tuple[str, Path, Path]]:
    """For each video its name, the file of its annotations and the folder of its frames."""
    if not annotations.is_dir():
        yield annotations.stem, annotations, images
        return
    files = sorted(annotations.glob("*/gt/gt.txt"))
    if not files:
        raise InputError(f"{annotations}: no video is annotated there; each needs NAME/gt/gt.txt")
    for file in files:
        name = file.parent.parent.name
        yield name, file, images / name / "img1"


def _by_frame(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.frame].append(row)
    return found


def _check_ids(rows: Sequence[Row], where: str) -> None:
    ids = [row.number for row in rows if row.counts]
    if twice := [number for number in ids if ids.count(number) > 1]:
        raise InputError(f"{where}: id {twice[0]} is there more than once")


def _frames(folder: Path) -> dict[int, Path]:
    """The images of a folder by their numbers, in order."""
    try:
        paths = {int(path.stem): path for path in folder.iterdir() if path.stem.isdecimal()}
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from error
    return dict(sorted(paths.items()))


def _rate(path: Path) -> float:
    """Frames a second according to ``seqinfo.ini``."""
    content = configparser.ConfigParser()
    try:
        content.read(path, "utf-8")
        rate = content.getfloat("Sequence", "frameRate", fallback=float(USUAL_RATE))
    except (configparser.Error, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    if not 0 < rate < np.inf:
        raise InputError(f"{path}: frameRate is {rate}; give frames a second, more than 0")
    return rate


def _distances(rows: Sequence[Row], people: Instances) -> FrameDistances:
    """A frame, without those that do not count."""
    found = with_identity(people)
    found = found[~_matches_ignored(rows, found)]
    true = [row for row in rows if row.counts]
    ids = [row.number for row in true]
    assert found.track_ids is not None and found.boxes is not None
    return FrameDistances.of(ids, found.track_ids, 1 - box_iou(_boxes(true), found.boxes), LARGEST_DISTANCE)


def _matches_ignored(rows: Sequence[Row], found: Instances) -> NDArray[np.bool_]:
    """``[F]``: who is found where it does not matter, by the best matching with all that is annotated."""
    assert found.boxes is not None
    iou = box_iou(_boxes(rows), found.boxes)
    iou[iou < 1 - LARGEST_DISTANCE] = 0
    matched = zip(*load_assign("to match people with annotations", "evaluate")(-iou), strict=True)
    ignored = [column for row, column in matched if iou[row, column] and rows[row].is_ignored]
    return np.isin(np.arange(len(found)), ignored)


def _boxes(rows: Sequence[Row]) -> Float32:
    return np.array([row.box for row in rows], np.float32).reshape(-1, 4)
