"""Annotations in the JSON of PoseTrack18: COCO's form, with videos, ids, head boxes and regions to ignore."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from hpi.errors import InputError
from hpi.evaluation.annotations import Entry, FileName, Pixels, read_json
from hpi.evaluation.mpii import HEAD_BOX_SHARE, SMALLEST_HEAD
from hpi.io.validation import parse

GROUPS = {
    "Head": ("nose", "head_bottom", "head_top"),
    **{
        name.capitalize(): (f"left_{name}", f"right_{name}")
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
KEYPOINTS = tuple(name for names in GROUPS.values() for name in names)
"""Those that count: all of PoseTrack's but the ears, which are not annotated."""


def _polygons(value: Any) -> Any:
    """A single polygon may come without a list around it."""
    return [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value


_Coordinates = Annotated[list[list[Pixels]], BeforeValidator(_polygons)]


class Image(Entry):
    """An entry of ``images``: a frame.

    Example:
        >>> Image(id=10003420007, file_name="images/val/000342_mpii_test/000007.jpg").video
        'images/val/000342_mpii_test'
    """

    id: int
    file_name: FileName
    frame_id: int | None = None
    is_labeled: bool = True
    ignore_regions_x: _Coordinates = Field(default_factory=list)
    ignore_regions_y: _Coordinates = Field(default_factory=list)

    @property
    def video(self) -> str:
        """The folder of the frames of its video."""
        return Path(self.file_name).parent.as_posix()

    @property
    def frame(self) -> int:
        """Its number, of which only differences count."""
        return self.id if self.frame_id is None else self.frame_id

    @property
    def ignored(self) -> list[NDArray[np.float32]]:
        """Polygons in which nothing counts, ``[N, 2]`` pixels each."""
        pairs = zip(self.ignore_regions_x, self.ignore_regions_y, strict=True)
        return [np.array([xs, ys], np.float32).T for xs, ys in pairs]


class Annotation(Entry):
    """An entry of ``annotations``: a person in a frame.

    Example:
        >>> Annotation(image_id=1, track_id=0, bbox_head=[10, 10, 30, 40]).head
        30.0
    """

    image_id: int
    track_id: int
    keypoints: list[Pixels] = Field(default_factory=list)
    bbox_head: list[Pixels] = Field(default_factory=list)

    @property
    def head(self) -> float:
        """Head size, pixels; 0 where it is not known."""
        return HEAD_BOX_SHARE * math.hypot(*self.bbox_head[2:]) if len(self.bbox_head) == 4 else 0.0

    @property
    def points(self) -> NDArray[np.float64]:
        """``[K, 3]``: x, y, and above 0 where the keypoint is labelled."""
        return np.array(self.keypoints).reshape(-1, 3)

    @property
    def is_labelled(self) -> bool:
        """Whether there are keypoints to find."""
        return bool((self.points[:, 2] > 0).any())

    @property
    def is_headless(self) -> bool:
        """Whether there are keypoints, but no size by which to measure them."""
        return self.is_labelled and self.head < SMALLEST_HEAD


class _Category(Entry):
    keypoints: list[str]


class _Content(Entry):
    images: Annotated[list[Image], Field(min_length=1)]
    annotations: list[Annotation]
    categories: Annotated[list[_Category], Field(min_length=1, max_length=1)]


@dataclass(frozen=True)
class PosetrackFile:
    """A file of annotations.

    Attributes:
        images: the frames, in order of their videos and numbers.
        people: those annotated in each frame, by the id of the image.
        places: where each of :data:`KEYPOINTS` is among the annotated ones.
    """

    images: list[Image]
    people: dict[int, list[Annotation]]
    places: list[int]

    @classmethod
    def read(cls, path: Path) -> PosetrackFile:
        """Read and check a file.

        Raises:
            InputError: it is not in this form, or contradicts itself.
        """
        content = parse(_Content, read_json(path), str(path), InputError)
        names = content.categories[0].keypoints
        if missing := [name for name in KEYPOINTS if name not in names]:
            raise InputError(f"{path}: categories: keypoints: PoseTrack's {missing[0]} is not among them")
        people = defaultdict(list)
        for one in content.annotations:
            people[one.image_id].append(one)
        _check(path, content, people)
        images = sorted(content.images, key=lambda image: (image.video, image.frame))
        return cls(images, people, [names.index(name) for name in KEYPOINTS])


def _check(path: Path, content: _Content, people: dict[int, list[Annotation]]) -> None:
    """Refuse what contradicts itself."""
    known = {image.id for image in content.images}
    if min(len(known), len({image.file_name for image in content.images})) < len(content.images):
        raise InputError(f"{path}: images: an id or a file_name is there more than once")
    for image in content.images:
        corners = ([*map(len, of_image)] for of_image in (image.ignore_regions_x, image.ignore_regions_y))
        if len({*map(tuple, corners)}) > 1:
            raise InputError(
                f"{path}: image id {image.id}: ignore_regions_x and ignore_regions_y are not of one length"
            )
    size = 3 * len(content.categories[0].keypoints)
    for number, of_image in people.items():
        where = f"{path}: annotations of image id {number}"
        if number not in known:
            raise InputError(f"{where}: there is no such image")
        if any(len(one.keypoints) not in {0, size} for one in of_image):
            raise InputError(f"{where}: keypoints need {size} numbers: x, y and visibility of each")
        ids = [one.track_id for one in of_image]
        if len({*ids}) < len(ids):
            raise InputError(f"{where}: a track_id is there more than once")
