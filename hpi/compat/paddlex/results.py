"""PaddleX's result dictionaries, with their print and save methods: a view of :class:`hpi.results.Result`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpi.deprecation import warn_deprecated
from hpi.draw import draw_boxes, draw_people
from hpi.instances import Frame, Instances, Skeleton
from hpi.results import Result
from hpi.sinks.json_file import save_json
from hpi.sinks.picture import save_picture
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from PIL import Image as Pillow


# Inside the class the names ``str`` and ``json`` are its properties.
Text = str
Json = dict[str, Any]
Image = NDArray[np.uint8]
SavePath = str | os.PathLike[str]


class _Dictionary(Result, dict[str, Any]):
    """A result that is also PaddleX's dictionary.

    ``input_path`` is the file or URL, None for an array; ``input_img`` the image, ``[H, W, 3]`` uint8 BGR.

    A page of a document also has a ``page_index``, a frame of a video or an animation a ``frame_index``; both from 0.
    A frame of a stream has its ``time_s`` too. Where people are tracked each has a ``track_id``, None of somebody who
    is not followed, and ``interpolated`` where it was not seen in this frame.
    """

    def _fill(self, content: Json) -> None:
        """Set the dictionary's content, with the index of the page or frame in the input, and the time in a stream."""
        self.update(content)
        frame = self.frame
        time_s = None if frame.stream is None else frame.time_s  # PaddleX's results of a video have none
        for key, value in (("page_index", frame.page), ("frame_index", frame.index), ("time_s", time_s)):
            if value is not None:
                self[key] = value

    __repr__ = Result.__repr__

    @property
    def json(self) -> Json:
        """``{"res": ...}`` without the image, in plain Python types."""
        return {"res": {key: _plain(value) for key, value in self.items() if key != "input_img"}}

    @property
    def str(self) -> Json:
        """``{"res": ...}`` without the image, as :meth:`print` shows it."""
        return {"res": {key: value for key, value in self.items() if key != "input_img"}}

    @property
    def img(self) -> dict[Text, Pillow.Image]:
        """``{"res": picture}``, RGB."""
        from PIL import Image as Pillow

        return {"res": Pillow.fromarray(np.ascontiguousarray(self.plot()[..., ::-1]))}

    def draw(self) -> Image:
        """The earlier name of :meth:`plot`."""
        return self.plot()

    def print(
        self,
        json_format: bool = False,
        indent: int = 4,
        ensure_ascii: bool = False,
        *,
        format_json: bool | None = None,
        **options: Any,
    ) -> None:
        """Print the results, as a Python literal or as JSON.

        Args:
            json_format: as JSON.
            indent: spaces per level of JSON.
            ensure_ascii: escape characters outside ASCII; always done if the output cannot encode them.
            format_json: the name of ``json_format`` in PaddleX's documentation.
            options: further arguments of :func:`json.dumps`.
        """

        def text(ensure_ascii: bool) -> Text:
            if json_format if format_json is None else format_json:
                return json.dumps(self.json, indent=indent, ensure_ascii=ensure_ascii, **options)
            return ascii(self.str) if ensure_ascii else repr(self.str)

        result = text(ensure_ascii)
        print(result if _can_print(result) else text(ensure_ascii=True))  # noqa: T201

    def save_to_json(self, save_path: SavePath, indent: int = 4, ensure_ascii: bool = False, **options: Any) -> Path:
        """:func:`hpi.sinks.json_file.save_json`, by PaddleX's name."""
        return save_json(self, Path(save_path), indent, ensure_ascii, **options)

    def save_to_img(self, save_path: SavePath, quality: int | None = None) -> Path:
        """:func:`hpi.sinks.picture.save_picture`, by PaddleX's name."""
        return save_picture(self, Path(save_path), quality)

    def save_all(self, save_path: SavePath) -> None:
        """Save JSON and picture into a folder."""
        self.save(save_path)


class KeypointResult(_Dictionary):
    """The people of one image.

    A pipeline gives ``boxes``: for each person ``coordinate`` (x1, y1, x2, y2), ``det_score``, ``keypoints``
    ``[K, 3]`` float32 (x, y, score) and ``kpt_score``, the mean of the keypoints' scores. A keypoint model gives
    ``kpts`` with the last two; so does one that finds people itself, without boxes: then ``kpt_score`` is the person's
    score. Coordinates are pixels of the image. Changes to the dictionary show in what is printed,
    drawn and saved.

    Example:
        >>> people = Instances([0.9], boxes=[[0, 0, 8, 8]], keypoints=[[[4, 4]]], keypoint_scores=[[0.5]])
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg")
        >>> result = KeypointResult(frame, people, Skeleton.numbered(1), detected=True)
        >>> result["boxes"][0]["kpt_score"]
        np.float32(0.5)
    """

    skeleton: Skeleton

    def __init__(
        self,
        frame: Frame,
        instances: Instances,
        skeleton: Skeleton,
        labels: tuple[Text, ...] = (),
        *,
        detected: bool,
    ) -> None:
        """PaddleX's dictionary of people; ``detected``: whether each has the box of a detector, or of the model."""
        detected = detected and not instances.boxes_derived
        means = instances.scores if instances.boxes_derived else instances.points[..., 2].mean(axis=1)
        people = [
            {"keypoints": points, "kpt_score": score} for points, score in zip(instances.points, means, strict=True)
        ]
        if detected and instances.boxes is not None:
            boxes = zip(instances.boxes, instances.scores, people, strict=True)
            people = [{"coordinate": list(box), "det_score": float(score), **person} for box, score, person in boxes]
        super().__init__(frame, instances, skeleton, labels)
        _add_tracks(people, instances)
        self._fill({"input_path": frame.path, "input_img": frame.image, "boxes" if detected else "kpts": people})

    @property
    def people(self) -> list[Json]:
        """The people, of a pipeline or of a keypoint model."""
        people: list[Json] = self["boxes"] if "boxes" in self else self["kpts"]
        return people

    @property
    def joint_names(self) -> list[Text]:
        """Deprecated name of :attr:`keypoint_names`."""
        warn_deprecated("KeypointResult.joint_names")
        return self.keypoint_names

    def plot(self) -> Image:
        """The image with the skeletons of all people drawn on it: ``[H, W, 3]`` uint8 BGR."""
        points = [person["keypoints"] for person in self.people]
        if self.smoothed is not None and len(self.smoothed) == len(points):  # the dictionary may have been changed
            points = list(self.smoothed.points)
        return draw_people(self["input_img"], points, self.skeleton, *_tracks(self.people))


class DetectionResult(_Dictionary):
    """The objects of one image: ``boxes``, each with ``cls_id``, ``label``, ``score`` and ``coordinate``.

    Example:
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]], class_ids=[0])
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), found, ("person",))
        >>> result.json["res"]["boxes"]
        [{'cls_id': 0, 'label': 'person', 'score': 0.5, 'coordinate': [0.0, 0.0, 8.0, 8.0]}]
    """

    def __init__(self, frame: Frame, instances: Instances, labels: tuple[Text, ...]) -> None:
        """PaddleX's dictionary of objects; a class without a name is labelled by its number."""
        super().__init__(frame, instances, None, labels)
        classes = np.zeros(len(instances), np.int64) if instances.class_ids is None else instances.class_ids
        rows = zip(classes, self.class_names, instances.scores, self.boxes, strict=True)
        boxes = [
            {"cls_id": int(index), "label": label, "score": float(score), "coordinate": list(box)}
            for index, label, score, box in rows
        ]
        _add_tracks(boxes, instances)
        self._fill({"input_path": frame.path, "page_index": None, "input_img": frame.image, "boxes": boxes})

    def plot(self) -> Image:
        """The image with the boxes drawn on it: ``[H, W, 3]`` uint8 BGR."""
        labels = [f"{box['label']} {box['score']:.2f}" for box in self["boxes"]]
        boxes = [box["coordinate"] for box in self["boxes"]]
        return draw_boxes(self["input_img"], boxes, labels, *_tracks(self["boxes"]))


def paddlex_result(
    frame: Frame, instances: Instances, skeleton: Skeleton | None, labels: tuple[Text, ...], *, detected: bool
) -> KeypointResult | DetectionResult:
    """The result of a frame.

    Args:
        frame: the image.
        instances: what was found in it.
        skeleton: of the keypoints; None without keypoints.
        labels: the names of the classes.
        detected: whether a detector has found the people.

    Example:
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]], class_ids=[0])
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg")
        >>> result = paddlex_result(frame, found, None, ("person",), detected=True)
        >>> type(result).__name__, result["boxes"][0]["label"]
        ('DetectionResult', 'person')
    """
    if skeleton is None:
        return DetectionResult(frame, instances, labels)
    return KeypointResult(frame, instances, skeleton, labels, detected=detected)


def _add_tracks(people: list[Json], instances: Instances) -> None:
    """Say of each who it is, where people are tracked, and whether it was not seen."""
    if instances.track_ids is not None:
        for person, track_id in zip(people, instances.track_ids.tolist(), strict=True):
            person["track_id"] = None if track_id == UNTRACKED else track_id
    if instances.interpolated is not None:
        for row in np.flatnonzero(instances.interpolated).tolist():
            people[row]["interpolated"] = True


def _tracks(people: list[Json]) -> tuple[list[int | None], list[bool]]:
    """What :func:`_add_tracks` has said."""
    return [person.get("track_id") for person in people], [person.get("interpolated", False) for person in people]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value


def _can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


PaddleXResult = KeypointResult | DetectionResult
