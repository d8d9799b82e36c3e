"""OpenPose's folder of JSON files, one for each frame."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpi.errors import InputError
from hpi.instances import OPENPOSE_PARTS, Float32
from hpi.io.files import check_folder, save
from hpi.sinks.stream import NOTHING, Kept, StreamSink

if TYPE_CHECKING:
    from hpi.results import Result

_PARTS_3D: dict[str, list[float]] = {f"{part}_keypoints_3d": [] for part in OPENPOSE_PARTS}


class OpenPoseSink(StreamSink):
    """Writes ``<name>_<frame, 12 digits>_keypoints.json`` for each frame, as OpenPose does.

    What goes where is :attr:`hpi.instances.Skeleton.openpose`: COCO's 17 keypoints are OpenPose's 18 (``COCO``), those
    with feet its 25 (``BODY_25``), and a whole body also has ``face_keypoints_2d``, ``hand_left_keypoints_2d`` and
    ``hand_right_keypoints_2d``. The middle of several keypoints, such as the neck, has the lowest of their scores; what
    the skeleton lacks is 0, 0, 0, as OpenPose writes what it has not found. Of a skeleton that does not say it,
    ``pose_keypoints_2d`` are its own keypoints, in its order. ``person_id`` is the track id, -1 without one.

    Args:
        path: the folder.
        name: the beginning of the files' names.
        kept: what stays of an interrupted run; files of that name of later frames are removed.

    Raises:
        InputError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from hpi import Frame, Instances, KeypointResult, Skeleton
        >>> found = Instances([0.9], keypoints=[[[4, 5]]], keypoint_scores=[[0.5]])
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), index=7)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = OpenPoseSink(Path(folder), "a")
        ...     sink.add(KeypointResult(frame, found, Skeleton.numbered(1), detected=False))
        ...     file, = Path(folder).iterdir()
        ...     file.name, json.loads(file.read_text())["people"][0]["pose_keypoints_2d"]
        ('a_000000000007_keypoints.json', [4.0, 5.0, 0.5])
    """

    def __init__(self, path: Path, name: str, *, kept: Kept = NOTHING) -> None:
        self.path = path
        self._name = name
        check_folder(path, InputError)
        named = re.compile(re.escape(name) + r"_(\d{12})_keypoints\.json")
        for file in path.iterdir():
            if (found := named.fullmatch(file.name)) and int(found[1]) >= kept.next_index:
                file.unlink()

    def add(self, result: Result) -> None:
        """Write the file of a frame."""
        parts = _parts(result)
        people = [
            {"person_id": [track_id], **{f"{part}_keypoints_2d": parts[part][row] for part in parts}, **_PARTS_3D}
            for row, track_id in enumerate(result.track_ids.tolist())
        ]
        content: dict[str, Any] = {"version": 1.3, "people": people}
        target = self.path / f"{self._name}_{result.frame.index:012d}_keypoints.json"
        save(target, json.dumps(content).encode(), InputError)

    def close(self) -> None:
        """Nothing is left to do."""


def _parts(result: Result) -> dict[str, list[list[float]]]:
    """Of each part the numbers of each person: x, y and score of every keypoint."""
    skeleton = result.skeleton
    if skeleton is None:
        raise InputError("a detector finds no keypoints, which OpenPose's files are for; choose another format")
    if skeleton.openpose is not None and not skeleton.openpose:
        raise InputError(
            f"OpenPose's files have no place for the {len(skeleton)} keypoints of {skeleton.name}; choose another "
            "format, or give the model a skeleton of your own that says where they belong (openpose:)"
        )
    places = skeleton.openpose or {"pose": tuple((index,) for index in range(len(skeleton)))}
    points = result.instances.points
    return {part: _placed(points, places.get(part, ())).tolist() for part in OPENPOSE_PARTS}


def _placed(points: Float32, places: Sequence[Sequence[int]]) -> Float32:
    """``[M, 3 len(places)]``: at each place the middle of some of the points ``[M, K, 3]``, and their lowest score."""
    placed = np.zeros((len(points), len(places), 3), np.float32)
    for index, members in enumerate(places):
        if members:
            placed[:, index, :2] = points[:, members, :2].mean(axis=1)
            placed[:, index, 2] = points[:, members, 2].min(axis=1)
    return placed.reshape(len(points), 3 * len(places))
