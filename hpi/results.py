"""What a prediction returns: PaddleX's result dictionaries, with their print and save methods."""

from __future__ import annotations

import json
import mimetypes
import os
import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.draw import draw_boxes, draw_people
from hpi.errors import InputError
from hpi.instances import Skeleton
from hpi.io.files import save
from hpi.names import file_name
from hpi.options import check_count
from hpi.tasks.detection import Detections

if TYPE_CHECKING:
    from PIL import Image as Pillow


# Inside the class the names ``str`` and ``json`` are its properties.
Text = str
Json = dict[str, Any]
Image = NDArray[np.uint8]
SavePath = str | os.PathLike[str]

COLOR_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Formats of the input in which its picture is saved too; others are saved as PNG."""

_QUALITY = {  # Pillow's defaults, with which PaddleX saves; OpenCV's make files 2.5 and 7 times as large
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".jpe": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 80),
}


class Result(dict[str, Any]):
    """A dictionary of one image's results.

    ``input_path`` is the file or URL, None for an array; ``input_img`` the image, ``[H, W, 3]`` uint8 BGR.

    One of a document of several pages also has its ``page_index``, one of a video or an animation its ``frame_index``,
    both from 0.

    Attributes:
        name: file name that files in a folder are named after; no two results of one call have the same. It is that of
            the input, with ``_2`` where another result has it already, and with the number of the page (``a_0.tif``) or
            frame (``a_000000.jpg``); for an image in memory ``<unix time>_<16 digits>.png``. May be set.
    """

    def __init__(self, content: Json) -> None:
        super().__init__(content)
        self.name = file_name(content["input_path"])

    def set_place(self, page: int | None, frame: int | None) -> None:
        """Make this the result of a page or a frame of its input."""
        for key, index in (("page_index", page), ("frame_index", frame)):
            if index is not None:
                self[key] = index

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
            indent: spaces a level of JSON.
            ensure_ascii: escape other characters of JSON; done anyway where the output cannot show them.
            format_json: ``json_format``, as PaddleX's documentation calls it.
            options: others of :func:`json.dumps`.
        """

        def text(ensure_ascii: bool) -> Text:
            if json_format if format_json is None else format_json:
                return json.dumps(self.json, indent=indent, ensure_ascii=ensure_ascii, **options)
            return ascii(self.str) if ensure_ascii else repr(self.str)

        wanted = text(ensure_ascii)
        print(wanted if _can_print(wanted) else text(ensure_ascii=True))  # noqa: T201

    def save_to_json(self, save_path: SavePath, indent: int = 4, ensure_ascii: bool = False, **options: Any) -> Path:
        """Save the results as JSON.

        Args:
            save_path: a file ending in ``.json``, or a folder to save ``<name>_res.json`` in.
            indent: spaces a level.
            ensure_ascii: escape other characters.
            options: others of :func:`json.dumps`, such as ``sort_keys``.

        Returns:
            The file written.

        Raises:
            InputError: it cannot be written, or is the input itself.
        """
        target = self._target(save_path, "application/json", f"{Path(self.name).stem}_res.json")
        text = json.dumps(self.json["res"], indent=indent, ensure_ascii=ensure_ascii, **options)
        # A file name that is not UTF-8 has lone surrogates; escaped, they are valid JSON.
        return self._write(target, text.encode("utf-8", "backslashreplace"))

    def save_to_img(self, save_path: SavePath, quality: int | None = None) -> Path:
        """Save the picture with the results drawn on it.

        Args:
            save_path: an image file, or a folder to save ``<name>_res.<suffix of the input>`` in.
            quality: of a JPEG or WebP, from 1 to 100; by default 75 and 80, as PaddleX's.

        Returns:
            The file written.

        Raises:
            InputError: it cannot be written, or is the input itself, or ``quality`` is none.
        """
        name = Path(self.name)
        suffix = name.suffix if name.suffix.lower() in COLOR_SUFFIXES else ".png"
        target = self._target(save_path, "image/", f"{name.stem}_res{suffix}")
        try:
            done, data = cv2.imencode(target.suffix, self.draw(), _encoding(target.suffix, quality))
        except cv2.error as error:
            raise InputError(f"{target}: OpenCV does not write {target.suffix} files; use .jpg or .png") from error
        if not done:
            raise InputError(f"{target}: OpenCV cannot write this picture as {target.suffix}; use .png")
        return self._write(target, data.tobytes())

    def save_all(self, save_path: SavePath) -> None:
        """Save JSON and picture into a folder."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)

    @staticmethod
    def _target(save_path: SavePath, kind: Text, name: Text) -> Path:
        path = Path(save_path)
        return path if _is_kind(path, kind) and not path.is_dir() else path / name

    def _write(self, target: Path, data: bytes) -> Path:
        if _is_same_file(target, self["input_path"]):
            raise InputError(f"{target}: is the input itself, which is not overwritten; save to another place")
        save(target, data, InputError)
        return target


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
        count = len(self.people[0]["keypoints"]) if self.people else len(self._skeleton)
        known = list(self._skeleton.keypoints)
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


def _encoding(suffix: str, quality: int | None) -> list[int]:
    """OpenCV's parameters for a kind of file."""
    quality = check_count("quality", quality, 100, InputError)
    if suffix.lower() not in _QUALITY:
        return []
    parameter, default = _QUALITY[suffix.lower()]
    return [parameter, default if quality is None else quality]


def _is_same_file(target: Path, source: str | None) -> bool:
    try:
        return source is not None and target.samefile(source)
    except (OSError, ValueError):  # one of them is no file
        return False


def _is_kind(path: Path, kind: str) -> bool:
    return (mimetypes.guess_type(path.name)[0] or "").startswith(kind)
