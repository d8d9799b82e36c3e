"""Ids, and what refers to them."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hpi.evaluation.annotations import leads_out
from hpi.evaluation.coco.checks.finding import Finding, Kind
from hpi.evaluation.coco.file import Annotation, Category, CocoFile, Image
from hpi.evaluation.messages import listed

KEYS: dict[Kind, str] = {"image": "images", "annotation": "annotations", "category": "categories"}
IDS = ("id", "image_id", "category_id")
NUMBERS = ("bbox", "area", "iscrowd", "num_keypoints", "keypoints")


def _entries(file: CocoFile, kind: Kind) -> Sequence[Image | Annotation | Category]:
    if kind == "image":
        return file.images
    return file.annotations if kind == "annotation" else file.categories


def same_id(file: CocoFile, kind: Kind) -> Iterator[Finding]:
    """Several entries of a kind with the same id."""
    counts = Counter(entry.id for entry in _entries(file, kind))
    for number, count in counts.items():
        if count > 1:
            yield Finding(f"{count} entries have it; give each its own", kind, number)


def no_whole_number(file: CocoFile, kind: Kind, names: Sequence[str]) -> Iterator[Finding]:
    """Ids that are text or have a decimal point: many tools do not find what they refer to."""
    for entry, raw in zip(_entries(file, kind), file.raw[KEYS[kind]], strict=True):
        for name in (name for name in names if type(raw[name]) is not int):
            yield Finding(f"{name} is {reprlib.repr(raw[name])}; write it as a whole number", kind, entry.id)


def number_as_text(file: CocoFile, kind: Kind, names: Sequence[str]) -> Iterator[Finding]:
    """Numbers that are written as text, which many tools do not read."""
    for entry, raw in zip(_entries(file, kind), file.raw[KEYS[kind]], strict=True):
        for name in (name for name in names if any(isinstance(one, str) for one in _flat(raw.get(name)))):
            yield Finding(f"{name} is {reprlib.repr(raw[name])}; write numbers without quotes", kind, entry.id)


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def unknown_image(file: CocoFile) -> Iterator[Finding]:
    """An annotation of an image that is not listed."""
    for one in file.annotations:
        if one.image_id not in file.image_of:
            message = (
                f"image_id {reprlib.repr(one.image_id)} is not among the images; correct it or remove the annotation"
            )
            yield Finding(message, "annotation", one.id)


def unknown_category(file: CocoFile) -> Iterator[Finding]:
    """An annotation of a category that is not listed."""
    for one in [*file.annotations, *file.others]:
        if one.category_id not in file.category_of:
            yield Finding(
                f"category_id {reprlib.repr(one.category_id)} is not among the categories "
                f"({listed(file.category_of)}); correct it or add the category",
                "annotation",
                one.id,
            )


def file_outside(file: CocoFile) -> Iterator[Finding]:
    """The name of a file outside of the folder of images."""
    for image in file.images:
        if leads_out(image.file_name):
            name = reprlib.repr(image.file_name)
            yield Finding(
                f"file_name {name} leads out of the folder of images; give it relative to that", "image", image.id
            )


def same_file(file: CocoFile) -> Iterator[Finding]:
    """An image under two ids."""
    first: dict[str, int] = {}
    for image in file.images:
        other = first.setdefault(image.name, image.id)
        if other != image.id:
            yield Finding(
                f"has the same file_name as image id {reprlib.repr(other)}, {reprlib.repr(image.file_name)}; keep one "
                "entry and give all annotations its id",
                "image",
                image.id,
            )
