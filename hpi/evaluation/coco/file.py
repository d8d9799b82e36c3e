"""Annotations in COCO's form: the one reader of the evaluation and of the data-set check.

It takes whatever it can understand, with fields missing and numbers that contradict each other, so that
:mod:`hpi.evaluation.coco.checks` can say everything that is wrong at once, by the ids of the annotations.
"""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from hpi.errors import InputError
from hpi.evaluation.annotations import Entry, Pixels, Size, read_json
from hpi.io.validation import parse
from hpi.skeletons import COCO, load_skeleton

KEYPOINTS = len(load_skeleton(COCO))
"""Keypoints of a person whose category does not list them."""
PERSON = "person"

_Numbers = Annotated[list[Pixels], BeforeValidator(lambda value: [] if value is None else value)]
_Names = Annotated[
    list[str], BeforeValidator(lambda value: [str(name) for name in value] if isinstance(value, list) else value or [])
]


class Image(Entry):
    """An entry of ``images``; ``file_name`` is relative to the folder of the images.

    Example:
        >>> Image(id=1, file_name="./a.png", width=640, height=480).name
        'a.png'
    """

    id: int
    file_name: Annotated[str, Field(min_length=1, max_length=1000)]
    width: Size
    height: Size

    @property
    def name(self) -> str:
        """``file_name`` in one spelling: ``a.png`` for ``./a.png``."""
        return Path(self.file_name).as_posix()


class Annotation(Entry):
    """An entry of ``annotations``: a person, or a thing of another category.

    Attributes:
        bbox: x, y, width, height, pixels; empty where it is missing.
        area: of the segment, square pixels: the scale of OKS.
        iscrowd: 1 where the box is that of a group.
        num_keypoints: how many keypoints are labelled.
        keypoints: x, y and visibility of each: 0 not labelled, 1 labelled but hidden, 2 visible.

    Example:
        >>> one = Annotation(id=7, image_id=1, category_id=1, bbox=[10, 20, 30, 40], keypoints=[15, 25, 2, 0, 0, 0])
        >>> one.corners, one.labelled.tolist()
        ((10.0, 20.0, 40.0, 60.0), [[15.0, 25.0]])
    """

    id: int
    image_id: int
    category_id: int
    bbox: _Numbers = Field(default_factory=list)
    area: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    iscrowd: int | None = None
    num_keypoints: int | None = None
    keypoints: _Numbers = Field(default_factory=list)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """``[K, 3]``: x, y, visibility; ``K = 0`` where these are not whole."""
        whole = self.keypoints if len(self.keypoints) % 3 == 0 else []
        return np.array(whole, np.float64).reshape(-1, 3)

    @cached_property
    def labelled(self) -> NDArray[np.float64]:
        """``[L, 2]``: x and y of the labelled keypoints."""
        return self.points[self.points[:, 2] > 0, :2]

    @property
    def is_measured(self) -> bool:
        """Whether keypoints are to be found: some are labelled, and it is no crowd."""
        return not self.iscrowd and len(self.labelled) > 0

    @property
    def has_size(self) -> bool:
        """Whether there is a box with a width and a height."""
        return len(self.bbox) == 4 and min(self.bbox[2:]) > 0

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The box as x1, y1, x2, y2, pixels."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height


class Category(Entry):
    """An entry of ``categories``; ``keypoints`` are the names of its keypoints.

    Example:
        >>> Category(id=1, name="person", keypoints=["nose", "left_eye"]).keypoints
        ['nose', 'left_eye']
    """

    id: int
    name: str
    keypoints: _Names = Field(default_factory=list)


class _Content(Entry):
    images: Annotated[list[Image], Field(min_length=1)]
    annotations: list[Annotation]
    categories: Annotated[list[Category], Field(min_length=1)]


@dataclass(frozen=True)
class CocoFile:
    """A file of annotations.

    Attributes:
        path: where it is.
        raw: its content as it is.
        images: its content as it is understood.
        annotations: the same; after :meth:`of_people` only those of people.
        categories: the same.
        others: the other annotations.

    Example:
        >>> images = [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}]
        >>> categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
        >>> annotations = [{"id": 7, "image_id": 1, "category_id": 1}, {"id": 8, "image_id": 1, "category_id": 2}]
        >>> raw = {"images": images, "annotations": annotations, "categories": categories}
        >>> [one.id for one in CocoFile.of(Path("a.json"), raw).of_people().annotations]
        [7]
    """

    path: Path
    raw: dict[str, Any]
    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]
    others: list[Annotation] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, if_missing: str = "", if_broken: str = "") -> CocoFile:
        """Read a file; arguments and errors as :func:`read_json`.

        Raises:
            InputError: it is not COCO's form; the message names field and id.
        """
        return cls.of(path, read_json(path, if_missing, if_broken))

    @classmethod
    def of(cls, path: Path, raw: Any) -> CocoFile:
        """A file with this content, read already; errors as :meth:`read`."""
        if not isinstance(raw, dict):
            raise InputError(f"{path}: not COCO's form, an object with images, annotations and categories")
        content = parse(_Content, raw, str(path), InputError, owner=lambda place: _owner(raw, place))
        return cls(path, raw, content.images, content.annotations, content.categories)

    @cached_property
    def image_of(self) -> dict[int, Image]:
        """The images by id."""
        return {image.id: image for image in self.images}

    @cached_property
    def category_of(self) -> dict[int, Category]:
        """The categories by id."""
        return {category.id: category for category in self.categories}

    @cached_property
    def annotations_of(self) -> dict[int, list[Annotation]]:
        """The annotations of each image, by its id."""
        found = defaultdict(list)
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return found

    @cached_property
    def person_categories(self) -> list[int]:
        """Ids of the categories named ``person``: of those with annotations, where there are such.

        Some tools write a first category that has the name of the project and no annotations.
        """
        named = [one.id for one in self.categories if one.name.strip().casefold() == PERSON]
        used = {annotation.category_id for annotation in self.annotations}
        return list(dict.fromkeys([number for number in named if number in used] or named))

    def of_people(self) -> CocoFile:
        """The same file, with the annotations of people apart from the others."""
        parts: tuple[list[Annotation], list[Annotation]] = ([], [])
        for one in self.annotations:
            parts[one.category_id not in self.person_categories].append(one)
        return replace(self, annotations=parts[0], others=parts[1])


def _owner(raw: dict[str, Any], place: Sequence[int | str]) -> str:
    """Which entry a place in the file belongs to, by its id."""
    if len(place) < 2:
        return ""
    key = str(place[0])
    entry, kind = raw[key][place[1]], {"images": "image", "annotations": "annotation", "categories": "category"}[key]
    return f" of {kind} id {reprlib.repr(entry['id'])}" if isinstance(entry, dict) and "id" in entry else ""
