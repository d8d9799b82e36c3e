"""What a prediction returns: PaddleX's result dictionaries, with their print and save methods."""

from __future__ import annotations

import json
import mimetypes
import os
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.draw import draw_boxes, draw_people
from hpi.errors import InputError
from hpi.fetch import is_url
from hpi.files import save
from hpi.tasks.detection import Detections
from hpi.zoo import Skeleton

if TYPE_CHECKING:
    from PIL import Image as Pillow


# Inside the class the names ``str`` and ``json`` are its properties.
Text = str
Json = dict[str, Any]
Image = NDArray[np.uint8]
SavePath = str | os.PathLike[str]

COLOR_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Formats of the input in which its picture is saved too; others are saved as PNG."""


class Result(dict[str, Any]):
    """A dictionary of one image's results.

    ``input_path`` is the file or URL, None for an array; ``input_img`` the image, ``[H, W, 3]`` uint8 BGR.

    Attributes:
        name: file name that files in a folder are named after: the input's; for an array
            ``<unix time>_<4 digits>.png``. May be set.
    """

    def __init__(self, content: Json) -> None:
        super().__init__(content)
        self.name = _file_name(content["input_path"])

    def set_frame(self, index: int) -> None:
        """Make this the result of a video's frame: ``frame_index``, and files named after it."""
        self["frame_index"] = index
        self.name = f"{Path(self.name).stem}_{index:06d}.jpg"

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

        return {"res": Pillow.fromarray(np.ascontiguousarray(self.draw()[..., ::-1]))}

    @abstractmethod
    def draw(self) -> Image:
        """The image with the results drawn on it: ``[H, W, 3]`` uint8 BGR."""

    def print(self, json_format: bool = False, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Print the results, as a Python literal or as JSON."""
        text = json.dumps(self.json, indent=indent, ensure_ascii=ensure_ascii) if json_format else repr(self.str)
        print(text)  # noqa: T201

    def save_to_json(self, save_path: SavePath, indent: int = 4, ensure_ascii: bool = False) -> Path:
        """Save the results as JSON.

        Args:
            save_path: a file ending in ``.json``, or a folder to save ``<name>_res.json`` in.
            indent: spaces a level.
            ensure_ascii: escape other characters.

        Returns:
            The file written.
        """
        target = self._target(save_path, "application/json", f"{Path(self.name).stem}_res.json")
        text = json.dumps(self.json["res"], indent=indent, ensure_ascii=ensure_ascii)
        # A file name that is not UTF-8 has lone surrogates; escaped, they are valid JSON.
        return _write(target, text.encode("utf-8", "backslashreplace"))

    def save_to_img(self, save_path: SavePath) -> Path:
        """Save the picture with the results drawn on it.

        Args:
            save_path: an image file, or a folder to save ``<name>_res.<suffix of the input>`` in.

        Returns:
            The file written.
        """
        name = Path(self.name)
        suffix = name.suffix if name.suffix.lower() in COLOR_SUFFIXES else ".png"
        target = self._target(save_path, "image/", f"{name.stem}_res{suffix}")
        try:
            done, data = cv2.imencode(target.suffix, self.draw())
        except cv2.error as error:
            raise InputError(f"{target}: OpenCV does not write {target.suffix} files; use .jpg or .png") from error
        if not done:
            raise InputError(f"{target}: OpenCV cannot write this picture as {target.suffix}; use .png")
        return _write(target, data.tobytes())

    def save_all(self, save_path: SavePath) -> None:
        """Save JSON and picture into a folder."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)

    @staticmethod
    def _target(save_path: SavePath, kind: Text, name: Text) -> Path:
        path = Path(save_path)
        return path if _is_kind(path, kind) and not path.is_dir() else path / name


class KeypointResult(Result):
    """People of one image.

    A pipeline gives ``boxes``: for each person ``coordinate`` (x1, y1, x2, y2), ``det_score``, ``keypoints``
    ``[K, 3]`` float32 (x, y, score) and ``kpt_score``, the mean of the joint scores. A keypoint model gives
    ``kpts`` with the last two. Coordinates are pixels of the image.
    """

    def __init__(self, content: Json, skeleton: Skeleton) -> None:
        super().__init__(content)
        self._skeleton = skeleton

    @classmethod
    def of_pipeline(
        cls,
        path: Text | None,
        image: Image,
        found: Detections,
        joints: NDArray[np.float32],
        skeleton: Skeleton,
    ) -> KeypointResult:
        """The people of one image from a pipeline; ``joints [M, K, 3]`` as ``found``."""
        people = [
            {"coordinate": list(box), "det_score": float(score), **_joints(keypoints)}
            for box, score, keypoints in zip(found.boxes, found.scores, joints, strict=True)
        ]
        return cls({"input_path": path, "input_img": image, "boxes": people}, skeleton)

    @classmethod
    def of_model(
        cls, path: Text | None, image: Image, joints: NDArray[np.float32], skeleton: Skeleton
    ) -> KeypointResult:
        """The people of one image from a keypoint model, ``joints [N, K, 3]``."""
        people = [_joints(keypoints) for keypoints in joints]
        return cls({"input_path": path, "input_img": image, "kpts": people}, skeleton)

    @property
    def people(self) -> list[Json]:
        """The people, however they were found."""
        people: list[Json] = self["boxes"] if "boxes" in self else self["kpts"]
        return people

    @property
    def joint_names(self) -> list[Text]:
        """A name for each joint; numbers, where the model's joints are not those of the skeleton."""
        count = len(self.people[0]["keypoints"]) if self.people else len(self._skeleton.joints)
        known = self._skeleton.joints
        return known if count == len(known) else [f"{index}" for index in range(count)]

    def draw(self) -> Image:
        """The image with everyone's skeleton on it."""
        return draw_people(self["input_img"], [person["keypoints"] for person in self.people], self._skeleton)


class DetectionResult(Result):
    """Objects of one image: ``boxes``, for each ``cls_id``, ``label``, ``score`` and ``coordinate``."""

    @classmethod
    def of(cls, path: Text | None, image: Image, found: Detections, labels: Sequence[Text]) -> DetectionResult:
        """The objects of one image; a class without a name is labelled by its number."""
        boxes = [
            {
                "cls_id": int(index),
                "label": labels[index] if index < len(labels) else f"{index}",
                "score": float(score),
                "coordinate": list(box),
            }
            for box, score, index in zip(found.boxes, found.scores, found.classes, strict=True)
        ]
        return cls({"input_path": path, "page_index": None, "input_img": image, "boxes": boxes})

    def draw(self) -> Image:
        """The image with the boxes on it."""
        labels = [f"{box['label']} {box['score']:.2f}" for box in self["boxes"]]
        return draw_boxes(self["input_img"], [box["coordinate"] for box in self["boxes"]], labels)


def _joints(keypoints: NDArray[np.float32]) -> Json:
    return {"keypoints": keypoints, "kpt_score": keypoints[:, 2].mean()}


def _file_name(path: str | None) -> str:
    if path is None:
        return f"{int(time.time())}_{random.randint(0, 9999):04d}.png"
    return Path(urlsplit(path).path if is_url(path) else path).name or "image.png"


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


def _is_kind(path: Path, kind: str) -> bool:
    return (mimetypes.guess_type(path.name)[0] or "").startswith(kind)


def _write(target: Path, data: bytes) -> Path:
    save(target, data, InputError)
    return target
