"""Who is annotated: the categories, and the annotations as a whole."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator

from hpi.evaluation.coco.checks.finding import Finding
from hpi.evaluation.coco.file import PERSON, Annotation, CocoFile, Image
from hpi.evaluation.messages import ids
from hpi.skeletons import COCO, load_skeleton

MAX_PEOPLE = 20
"""Results that count in an image, as COCO defines it."""


def no_person(file: CocoFile) -> Iterator[Finding]:
    """No category of people, or several."""
    if not file.person_categories:
        names = reprlib.repr([one.name for one in file.categories])
        yield Finding(f"no category is named '{PERSON}', but {names}; COCO's figures are for that one")
    elif len(file.person_categories) > 1:
        yield Finding(f"{ids('category', file.person_categories)} are all named '{PERSON}'; make them one")


def _skeleton() -> list[str]:
    return list(load_skeleton(COCO).keypoints)


def other_skeleton(file: CocoFile) -> Iterator[Finding]:
    """Keypoints that are not COCO's, or in another order."""
    expected = [_plain(name) for name in _skeleton()]
    for number in file.person_categories:
        names = [_plain(name) for name in file.category_of[number].keypoints]
        if names and len(names) != len(expected):
            yield Finding(f"has {len(names)} keypoints; OKS is defined for COCO's {len(expected)}", "category", number)
        elif names != expected and sorted(names) == sorted(expected):
            message = "its keypoints are in another order than COCO's; put names and numbers into that"
            yield Finding(message, "category", number)


def unknown_names(file: CocoFile) -> Iterator[Finding]:
    """As many keypoints as COCO's, under other names."""
    expected = [_plain(name) for name in _skeleton()]
    for number in file.person_categories:
        names = file.category_of[number].keypoints
        if len(names) == len(expected) and set(map(_plain, names)) != set(expected):
            unknown = next(name for name in names if _plain(name) not in expected)
            message = f"its keypoints have other names than COCO's, such as {unknown[:40]!r}, and are taken to be those"
            yield Finding(message, "category", number)


def _plain(name: str) -> str:
    """``lefteye`` for ``Left-Eye``."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def no_annotations(file: CocoFile) -> Iterator[Finding]:
    """No annotations, or none of a person."""
    if file.annotations:
        return
    if not file.others:
        yield Finding("has no annotations; add them, or give the right file")
    elif file.person_categories:
        which = ids("category", file.person_categories)
        yield Finding(f"none of its {len(file.others)} annotations is of a person, {which}; correct their category_id")


def nothing_labelled(file: CocoFile) -> Iterator[Finding]:
    """Not one labelled keypoint in the whole file."""
    if file.annotations and not any(one.is_measured for one in file.annotations):
        yield Finding("no keypoint is labelled: each visibility is 0, or iscrowd is 1; give the right file")


def annotated_twice(file: CocoFile) -> Iterator[Finding]:
    """The same person under two ids."""
    first: dict[object, int] = {}
    for one in file.annotations:
        key = (one.image_id, one.category_id, tuple(one.bbox), tuple(one.keypoints))
        other = first.setdefault(key, one.id)
        if other != one.id:
            message = f"image, box and keypoints are those of annotation id {reprlib.repr(other)}; remove one"
            yield Finding(message, "annotation", one.id)


def too_many_people(file: CocoFile) -> Iterator[Finding]:
    """More people in an image than COCO looks at."""
    for number, found in file.annotations_of.items():
        count = sum(one.is_measured for one in found)
        if count > MAX_PEOPLE:
            yield Finding(
                f"{count} people have labelled keypoints, and COCO counts the {MAX_PEOPLE} best results of an image; "
                "the others are missed whatever the model finds",
                "image",
                number,
            )


def no_iscrowd(one: Annotation, _: Image | None) -> str | None:
    """No ``iscrowd``."""
    return "iscrowd is missing, so that it counts as 0; add 0, or 1 for a group" if one.iscrowd is None else None


def wrong_iscrowd(one: Annotation, _: Image | None) -> str | None:
    """An ``iscrowd`` other than 0 and 1."""
    return None if one.iscrowd in {None, 0, 1} else f"iscrowd is {one.iscrowd}; it is 0, or 1 for a group"
