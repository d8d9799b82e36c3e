"""OpenPose's folder of JSON files, one for each frame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpi.errors import InputError
from hpi.instances import Float32
from hpi.io.files import check_folder, save
from hpi.sinks.stream import NOTHING, Kept, StreamSink

if TYPE_CHECKING:
    from hpi.results import Result

_COCO_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
_NO_PARTS: dict[str, list[float]] = {
    name: []
    for name in (
        "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d",
        "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d",
    )
}  # fmt: skip


class OpenPoseSink(StreamSink):
    """Writes ``<name>_<frame, 12 digits>_keypoints.json`` for each frame, as OpenPose does.

    Where the skeleton has COCO's keypoints, ``pose_keypoints_2d`` are OpenPose's 18 (``--model_pose COCO``); the neck
    is the middle of the shoulders, with the lower of their scores. Of another skeleton they are its own, in its order.
    ``person_id`` is the track id, -1 without one.

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
        people = [
            {"person_id": [track_id], "pose_keypoints_2d": points.ravel().tolist(), **_NO_PARTS}
            for track_id, points in zip(result.track_ids.tolist(), _points(result), strict=True)
        ]
        content: dict[str, Any] = {"version": 1.3, "people": people}
        target = self.path / f"{self._name}_{result.frame.index:012d}_keypoints.json"
        save(target, json.dumps(content).encode(), InputError)

    def close(self) -> None:
        """Nothing is left to do."""


def _points(result: Result) -> Float32:
    """``[M, K, 3]``: in OpenPose's order where the skeleton has its keypoints."""
    if result.skeleton is None:
        raise InputError("a detector finds no keypoints, which OpenPose's files are for; choose another format")
    points = result.instances.points
    names = {name: index for index, name in enumerate(result.skeleton.keypoints)}
    if not {*_COCO_18} - {"neck"} <= names.keys():
        return points
    shoulders = points[:, [names["left_shoulder"], names["right_shoulder"]]]
    neck = np.concatenate([shoulders[..., :2].mean(axis=1), shoulders[..., 2:].min(axis=1)], axis=1)
    order = [names[name] for name in _COCO_18 if name != "neck"]
    return np.insert(points[:, order], 1, neck, axis=1)
