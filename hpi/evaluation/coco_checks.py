"""What can be wrong with annotations in COCO's form, and what each mistake spoils: one list for all who read them.

``evaluate`` refuses what makes its figures wrong, and warns of the rest. The data-set check refuses also what other
tools stumble over. COCO's own files pass: segments smaller than their boxes, boxes that reach out by less than a pixel,
people without labelled keypoints and crowds are all right.
"""

from __future__ import annotations

import re
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.evaluation.annotations import leads_out
from hpi.evaluation.coco_file import KEYPOINTS, PERSON, Annotation, Category, CocoFile, Image
from hpi.skeletons import COCO, load_skeleton

Use = Literal["keypoints", "boxes", "training"]
"""What annotations are for: the AP of keypoints, the AP of boxes, training."""
Kind = Literal["image", "annotation", "category"]
KEYS: dict[Kind, str] = {"image": "images", "annotation": "annotations", "category": "categories"}
NUMBERS = ("bbox", "area", "iscrowd", "num_keypoints", "keypoints")

MAX_IDS = 5
MAX_PEOPLE = 20
"""Results that count in an image, as COCO has it."""
VISIBILITIES = {0, 1, 2}

# Limits on what is plausible. COCO's own people are far from all of them.
PIXEL = 1
FAR = 0.1  # of the image's longer side: no slip of the annotator's hand
MANY = 10  # people: enough to judge a whole file by
CORNERS_OUT, CORNERS_FIT = 0.25, 0.95  # shares of the boxes
BESIDE = 0.1  # of the box: how far outside of it its keypoints may be
TINY = 1e-3  # of the box: no segment with keypoints in it
LARGE = 1.05  # of the box: more than rounding
SEGMENTS = (0.05, LARGE)  # of the box: what half of the people may be below, and above


class Level(IntEnum):
    """What a finding is for a use."""

    NONE = 0
    WARN = 1
    REFUSE = 2


NONE, WARN, REFUSE = Level


@dataclass(frozen=True)
class Finding:
    """Something wrong, and what to do. Without an id it is about the file."""

    said: str
    kind: Kind | None = None
    id: int | None = None


Find = Callable[[CocoFile], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """What to look for, and what it is for each use."""

    find: Find
    keypoints: Level
    boxes: Level
    training: Level

    def level(self, use: Use) -> Level:
        """What it is for one of them."""
        return {"keypoints": self.keypoints, "boxes": self.boxes, "training": self.training}[use]


@dataclass(frozen=True)
class Findings:
    """What to refuse a file for, and what to warn of; a sentence for each check that found something."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def examine(file: CocoFile, use: Use) -> Findings:
    """Look for everything that is wrong with a file for a use."""
    found = Findings()
    for check in CHECKS:
        level = check.level(use)
        if level is not NONE and (findings := list(check.find(file))):
            (found.problems if level is REFUSE else found.warnings).append(sentence(findings))
    return found


def several(problems: Sequence[str], where: str) -> str:
    """Problems as one message: one on its line, several on lines of their own."""
    if len(problems) == 1:
        return f"{where}: {problems[0]}"
    return "\n  ".join([f"{where}: {len(problems)} problems:", *problems])


def ids(kind: str, numbers: Iterable[int]) -> str:
    """The first few ids of a kind, and how many more there are.

    >>> ids("image", [3])
    'image id 3'
    >>> ids("image", range(8))
    'image ids 0, 1, 2, 3, 4 and 3 more'
    """
    numbers = list(dict.fromkeys(numbers))
    return f"{kind} {'id' if len(numbers) == 1 else 'ids'} {listed(numbers)}"


def listed(numbers: Iterable[int]) -> str:
    """:func:`ids` without their kind."""
    numbers = list(numbers)
    more = f" and {len(numbers) - MAX_IDS} more" if len(numbers) > MAX_IDS else ""
    return ", ".join(map(reprlib.repr, numbers[:MAX_IDS])) + more


def sentence(findings: Sequence[Finding]) -> str:
    """What was found first, and the ids of the others."""
    first, *others = findings
    if first.kind is None or first.id is None:
        return first.said
    text = f"{ids(first.kind, [first.id])}: {first.said}"
    numbers = [one.id for one in others if one.id is not None and one.id != first.id]
    return f"{text} (likewise {ids(first.kind, numbers)})" if numbers else text


# Ids and references


def _entries(file: CocoFile, kind: Kind) -> Sequence[Image | Annotation | Category]:
    if kind == "image":
        return file.images
    return file.annotations if kind == "annotation" else file.categories


def _same_id(file: CocoFile, kind: Kind) -> Iterator[Finding]:
    counts: dict[int, int] = defaultdict(int)
    for entry in _entries(file, kind):
        counts[entry.id] += 1
    for number, count in counts.items():
        if count > 1:
            yield Finding(f"{count} entries have it; give each its own", kind, number)


def _no_whole_number(file: CocoFile, kind: Kind, names: Sequence[str]) -> Iterator[Finding]:
    """Ids that are text or have a decimal point: many tools do not find what they refer to."""
    for entry, raw in zip(_entries(file, kind), file.raw[KEYS[kind]], strict=True):
        for name in (name for name in names if type(raw[name]) is not int):
            yield Finding(f"{name} is {reprlib.repr(raw[name])}; write it as a whole number", kind, entry.id)


def _text(file: CocoFile, kind: Kind, names: Sequence[str]) -> Iterator[Finding]:
    """Numbers that are written as text, which many tools do not read."""
    for entry, raw in zip(_entries(file, kind), file.raw[KEYS[kind]], strict=True):
        for name in (name for name in names if any(isinstance(one, str) for one in _flat(raw.get(name)))):
            yield Finding(f"{name} is {reprlib.repr(raw[name])}; write numbers without quotes", kind, entry.id)


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unknown_image(file: CocoFile) -> Iterator[Finding]:
    for one in file.annotations:
        if one.image_id not in file.image_of:
            said = f"image_id {reprlib.repr(one.image_id)} is not among the images; correct it or remove the annotation"
            yield Finding(said, "annotation", one.id)


def _unknown_category(file: CocoFile) -> Iterator[Finding]:
    for one in [*file.annotations, *file.others]:
        if one.category_id not in file.category_of:
            yield Finding(
                f"category_id {reprlib.repr(one.category_id)} is not among the categories "
                f"({listed(file.category_of)}); correct it or add the category",
                "annotation",
                one.id,
            )


# Images


def _leads_out(file: CocoFile) -> Iterator[Finding]:
    for image in file.images:
        if leads_out(image.file_name):
            name = reprlib.repr(image.file_name)
            yield Finding(
                f"file_name {name} leads out of the folder of images; give it relative to that", "image", image.id
            )


def _same_file(file: CocoFile) -> Iterator[Finding]:
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


# Categories


def _no_person(file: CocoFile) -> Iterator[Finding]:
    if not file.person_categories:
        names = reprlib.repr([one.name for one in file.categories])
        yield Finding(f"no category is named '{PERSON}', but {names}; COCO's figures are for that one")
    elif len(file.person_categories) > 1:
        yield Finding(f"{ids('category', file.person_categories)} are all named '{PERSON}'; make them one")


def _skeleton() -> list[str]:
    return list(load_skeleton(COCO).keypoints)


def _other_skeleton(file: CocoFile) -> Iterator[Finding]:
    expected = [_plain(name) for name in _skeleton()]
    for number in file.person_categories:
        names = [_plain(name) for name in file.category_of[number].keypoints]
        if names and len(names) != len(expected):
            yield Finding(f"has {len(names)} keypoints; OKS is defined for COCO's {len(expected)}", "category", number)
        elif names != expected and sorted(names) == sorted(expected):
            said = "its keypoints are in another order than COCO's; put names and numbers into that"
            yield Finding(said, "category", number)


def _unknown_names(file: CocoFile) -> Iterator[Finding]:
    expected = [_plain(name) for name in _skeleton()]
    for number in file.person_categories:
        names = file.category_of[number].keypoints
        if len(names) == len(expected) and set(map(_plain, names)) != set(expected):
            unknown = next(name for name in names if _plain(name) not in expected)
            said = f"its keypoints have other names than COCO's, such as {unknown[:40]!r}, and are taken to be those"
            yield Finding(said, "category", number)


def _plain(name: str) -> str:
    """``lefteye`` for ``Left-Eye``."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


# Annotations as a whole


def _no_annotations(file: CocoFile) -> Iterator[Finding]:
    if file.annotations:
        return
    if not file.others:
        yield Finding("has no annotations; add them, or give the right file")
    elif file.person_categories:
        which = ids("category", file.person_categories)
        yield Finding(f"none of its {len(file.others)} annotations is of a person, {which}; correct their category_id")


def _nothing_labelled(file: CocoFile) -> Iterator[Finding]:
    if file.annotations and not any(one.is_measured for one in file.annotations):
        yield Finding("no keypoint is labelled: each visibility is 0, or iscrowd is 1; give the right file")


def _annotated_twice(file: CocoFile) -> Iterator[Finding]:
    first: dict[object, int] = {}
    for one in file.annotations:
        key = (one.image_id, one.category_id, tuple(one.bbox), tuple(one.keypoints))
        other = first.setdefault(key, one.id)
        if other != one.id:
            said = f"image, box and keypoints are those of annotation id {reprlib.repr(other)}; remove one"
            yield Finding(said, "annotation", one.id)


def _too_many_people(file: CocoFile) -> Iterator[Finding]:
    for number, found in file.annotations_of.items():
        count = sum(one.is_measured for one in found)
        if count > MAX_PEOPLE:
            yield Finding(
                f"{count} people have labelled keypoints, and COCO counts the {MAX_PEOPLE} best results of an image; "
                "the others are missed whatever the model finds",
                "image",
                number,
            )


def _each(file: CocoFile, wrong: Callable[[Annotation, Image | None], str | None]) -> Iterator[Finding]:
    """The annotations of which something is said."""
    for one in file.annotations:
        if said := wrong(one, file.image_of.get(one.image_id)):
            yield Finding(said, "annotation", one.id)


def _no_iscrowd(one: Annotation, _: Image | None) -> str | None:
    return "iscrowd is missing, so that it counts as 0; add 0, or 1 for a group" if one.iscrowd is None else None


def _wrong_iscrowd(one: Annotation, _: Image | None) -> str | None:
    return None if one.iscrowd in {None, 0, 1} else f"iscrowd is {one.iscrowd}; it is 0, or 1 for a group"


# Boxes


def _no_box(one: Annotation, _: Image | None) -> str | None:
    return None if len(one.bbox) == 4 else f"bbox has {len(one.bbox)} numbers; give 4: x, y, width, height, pixels"


def _empty_box(one: Annotation, _: Image | None) -> str | None:
    if len(one.bbox) != 4 or one.has_size:
        return None
    return f"bbox {one.bbox} is empty; give x, y, width, height, pixels, or remove the annotation"


def _outside_box(one: Annotation, image: Image | None) -> str | None:
    if not one.has_size or image is None or _meets(one, image):
        return None
    size = f"{image.width} x {image.height}"
    return f"bbox {one.bbox} is outside its photo of {size}; give x, y, width, height, pixels"


def _reaching_box(one: Annotation, image: Image | None) -> str | None:
    """By more than a pixel: COCO's own boxes do by less."""
    if not one.has_size or image is None or not _meets(one, image):
        return None
    x1, y1, x2, y2 = one.corners
    if min(x1, y1) >= -PIXEL and x2 <= image.width + PIXEL and y2 <= image.height + PIXEL:
        return None
    return (
        f"bbox {one.bbox} reaches out of its image of {image.width} x {image.height}; make sure that it is "
        "x, y, width, height and not two corners"
    )


def _meets(one: Annotation, image: Image) -> bool:
    """Whether a box and its image have pixels in common."""
    x1, y1, x2, y2 = one.corners
    return x1 < image.width and y1 < image.height and x2 > 0 and y2 > 0


def _boxes(file: CocoFile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes ``[N, 4]`` as they are written, and the sizes of their images ``[N, 2]``."""
    whole = [one for one in file.annotations if one.has_size and one.image_id in file.image_of]
    images = [file.image_of[one.image_id] for one in whole]
    boxes = np.array([one.bbox for one in whole], np.float64).reshape(-1, 4)
    return boxes, np.array([(image.width, image.height) for image in images], np.float64).reshape(-1, 2)


def are_corners(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> bool:
    """Whether boxes are two corners rather than corner and size.

    As sizes they reach far out of their images, and as corners they do not.

    Args:
        boxes: ``[N, 4]`` pixels.
        sizes: ``[N, 2]`` width and height of the image of each, pixels.
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    far_out = (first + second > sizes + FAR * sizes).any(axis=1)
    fit = ((second > first) & (second <= sizes + PIXEL)).all(axis=1)
    return len(boxes) > 0 and bool(far_out.mean() >= CORNERS_OUT and fit.mean() >= CORNERS_FIT)


def are_fractions(boxes: NDArray[np.float64]) -> bool:
    """Whether boxes ``[N, 4]`` are fractions of their images rather than pixels: all end in the first pixel."""
    return len(boxes) > 0 and bool((boxes[:, :2] + boxes[:, 2:] <= 1 + FAR).all())


def _corner_boxes(file: CocoFile) -> Iterator[Finding]:
    boxes, sizes = _boxes(file)
    if are_corners(boxes, sizes):
        which = ids("annotation", (one.id for one in file.annotations if one.has_size))
        yield Finding(f"the boxes of {which} are two corners, x1, y1, x2, y2; give x, y, width, height")


def _fraction_boxes(file: CocoFile) -> Iterator[Finding]:
    boxes, _ = _boxes(file)
    if are_fractions(boxes):
        which = ids("annotation", (one.id for one in file.annotations if one.has_size))
        yield Finding(f"the boxes of {which} are fractions of their images; give pixels")


def _are_strangers(file: CocoFile) -> bool:
    """Whether boxes and keypoints of the file do not belong together: most keypoints are not in their boxes."""
    people = [one for one in file.annotations if _is_framed(one)]
    inside = sum(_share_inside(one) * len(one.labelled) for one in people)
    return len(people) >= MANY and inside < sum(len(one.labelled) for one in people) / 2


def _stranger_boxes(file: CocoFile) -> Iterator[Finding]:
    if _are_strangers(file):
        which = ids("annotation", (one.id for one in file.annotations if _is_stranger(one)))
        yield Finding(
            f"most keypoints are outside of their own boxes, {which}; give both in pixels of the image, and boxes as x "
            "and y of the upper left corner, width, height"
        )


def _stranger_box(file: CocoFile) -> Iterator[Finding]:
    if not _are_strangers(file):
        for one in file.annotations:
            if _is_stranger(one):
                said = f"most of its keypoints are outside of its bbox {one.bbox}; look at both"
                yield Finding(said, "annotation", one.id)


def _is_framed(one: Annotation) -> bool:
    return one.is_measured and one.has_size


def _is_stranger(one: Annotation) -> bool:
    return _is_framed(one) and _share_inside(one) < 0.5


def _share_inside(one: Annotation) -> float:
    """Share of the labelled keypoints that are inside of the box, or not far from it."""
    low, size = np.array(one.bbox[:2]), np.array(one.bbox[2:])
    inside = (one.labelled >= low - BESIDE * size) & (one.labelled <= low + (1 + BESIDE) * size)
    return float(inside.all(axis=1).mean())


# Keypoints


def _no_keypoints(one: Annotation, _: Image | None) -> str | None:
    return None if one.keypoints else "keypoints are missing, so that none counts as labelled; add them"


def _wrong_length(file: CocoFile) -> Iterator[Finding]:
    for one in file.annotations:
        category = file.category_of.get(one.category_id)
        if category is None or not one.keypoints:
            continue
        count = len(category.keypoints) or KEYPOINTS
        if len(one.keypoints) != 3 * count:
            yield Finding(
                f"keypoints has {len(one.keypoints)} numbers; give 3 x {count} = {3 * count}: x, y, visibility of each "
                "joint",
                "annotation",
                one.id,
            )


def _wrong_visibility(one: Annotation, _: Image | None) -> str | None:
    if wrong := set(one.points[:, 2].tolist()) - VISIBILITIES:
        return f"a visibility is {min(wrong):g}; it is 0 (not labelled), 1 (labelled but hidden) or 2 (visible)"
    return None


def _no_count(one: Annotation, _: Image | None) -> str | None:
    if one.num_keypoints is not None:
        return None
    labelled = len(one.labelled)
    return f"num_keypoints is missing, but {labelled} joints have a visibility above 0; set it to {labelled}"


def _contradicting_count(one: Annotation, _: Image | None) -> str | None:
    """COCO leaves out people with none, so that it matters whether there are any."""
    return _count(one) if _contradicts(one) else None


def _inexact_count(one: Annotation, _: Image | None) -> str | None:
    return None if _contradicts(one) else _count(one)


def _contradicts(one: Annotation) -> bool:
    return one.num_keypoints is not None and not one.iscrowd and (one.num_keypoints > 0) != (len(one.labelled) > 0)


def _count(one: Annotation) -> str | None:
    labelled = len(one.labelled)
    if one.num_keypoints is None or one.num_keypoints == labelled or len(one.keypoints) % 3:
        return None
    return (
        f"num_keypoints is {one.num_keypoints}, but {labelled} joints have a visibility above 0; set it to {labelled}"
    )


def _fraction_keypoints(one: Annotation, image: Image | None) -> str | None:
    if not len(one.labelled) or one.labelled.min() < 0 or one.labelled.max() > 1:
        return None
    if image is None or (one.labelled == one.labelled[0]).all():
        return None
    return "keypoints are fractions of the image; give pixels"


def _far_keypoint(one: Annotation, image: Image | None) -> str | None:
    if image is None or not len(one.labelled):
        return None
    beyond = np.maximum(-one.labelled, one.labelled - (image.width, image.height)).max(axis=1)
    if beyond.max() <= FAR * max(image.width, image.height):
        return None
    x, y = one.labelled[beyond.argmax()]
    return (
        f"the keypoint at {x:g}, {y:g} is far outside of its image of {image.width} x {image.height}; correct it, or "
        "set its visibility to 0"
    )


def _keypoint_at_origin(one: Annotation, _: Image | None) -> str | None:
    if (one.labelled == 0).all(axis=1).any():
        return "a keypoint at 0, 0 is labelled; set its visibility to 0 if that stands for a missing one"
    return None


# Areas


def _no_area(one: Annotation, _: Image | None) -> str | None:
    if one.area is not None:
        return None
    return "area is missing; add that of the segment, in square pixels: it is the scale of OKS"


def _negative_area(one: Annotation, _: Image | None) -> str | None:
    if one.area is None or one.area >= 0:
        return None
    return f"area is {one.area:g}; give that of the segment, in square pixels"


def _tiny_area(one: Annotation, _: Image | None) -> str | None:
    if one.area is None or one.area < 0 or not one.is_measured or len(one.bbox) != 4:
        return None
    box = max(one.bbox[2], 0) * max(one.bbox[3], 0)
    if one.area > TINY * box:
        return None
    return f"area is {one.area:g} in a box of {box:g} square pixels; give that of the segment: it is the scale of OKS"


def _foreign_areas(file: CocoFile) -> Iterator[Finding]:
    """Areas in another unit than the boxes, such as that of images of another size."""
    people = [one for one in file.annotations if _is_framed(one) and one.area is not None]
    shares = [(one.area or 0) / (one.bbox[2] * one.bbox[3]) for one in people]
    if len(people) >= MANY and not SEGMENTS[0] <= np.median(shares) <= SEGMENTS[1]:
        which = ids("annotation", (one.id for one in people))
        yield Finding(
            f"the areas of {which} are {np.median(shares):.3g} times their boxes (median); give those of the segments, "
            "in square pixels of the image: they are the scale of OKS"
        )


def _large_area(one: Annotation, image: Image | None) -> str | None:
    return _area_above_box(one, image) if image and (one.area or 0) > LARGE * image.width * image.height else None


def _larger_area(one: Annotation, image: Image | None) -> str | None:
    return _area_above_box(one, image) if image and not _large_area(one, image) else None


def _area_above_box(one: Annotation, image: Image | None) -> str | None:
    if one.area is None or not one.has_size or image is None or not _meets(one, image):
        return None
    box = one.bbox[2] * one.bbox[3]
    if one.area <= LARGE * box + PIXEL:
        return None
    return (
        f"area is {one.area:g}, but its box has {box:g} and its image {image.width * image.height} square pixels; give "
        "that of the segment"
    )


def _for_each(wrong: Callable[[Annotation, Image | None], str | None]) -> Find:
    return partial(_each, wrong=wrong)


CHECKS = (
    # what it is                                             for keypoint AP, box AP, training
    Check(partial(_same_id, kind="image"), REFUSE, REFUSE, REFUSE),
    Check(partial(_same_id, kind="annotation"), REFUSE, REFUSE, REFUSE),
    Check(partial(_same_id, kind="category"), REFUSE, REFUSE, REFUSE),
    Check(partial(_no_whole_number, kind="image", names=["id"]), NONE, NONE, REFUSE),
    Check(partial(_no_whole_number, kind="annotation", names=["id", "image_id", "category_id"]), NONE, NONE, REFUSE),
    Check(partial(_no_whole_number, kind="category", names=["id"]), NONE, NONE, REFUSE),
    Check(partial(_text, kind="image", names=["width", "height"]), NONE, NONE, REFUSE),
    Check(partial(_text, kind="annotation", names=NUMBERS), NONE, NONE, REFUSE),
    Check(_unknown_image, REFUSE, REFUSE, REFUSE),
    Check(_unknown_category, WARN, WARN, REFUSE),
    Check(_leads_out, REFUSE, REFUSE, REFUSE),
    Check(_same_file, REFUSE, REFUSE, REFUSE),
    Check(_no_person, REFUSE, REFUSE, WARN),
    Check(_other_skeleton, REFUSE, NONE, WARN),
    Check(_unknown_names, WARN, NONE, NONE),
    Check(_no_annotations, REFUSE, REFUSE, REFUSE),
    Check(_nothing_labelled, REFUSE, NONE, REFUSE),
    Check(_annotated_twice, WARN, WARN, WARN),
    Check(_too_many_people, WARN, NONE, NONE),
    Check(_for_each(_no_iscrowd), WARN, WARN, REFUSE),
    Check(_for_each(_wrong_iscrowd), REFUSE, REFUSE, REFUSE),
    Check(_for_each(_no_box), REFUSE, REFUSE, REFUSE),
    Check(_for_each(_empty_box), WARN, WARN, REFUSE),
    Check(_for_each(_outside_box), WARN, WARN, REFUSE),
    Check(_for_each(_reaching_box), WARN, WARN, WARN),
    Check(_corner_boxes, REFUSE, REFUSE, REFUSE),
    Check(_fraction_boxes, REFUSE, REFUSE, REFUSE),
    Check(_stranger_boxes, REFUSE, WARN, REFUSE),
    Check(_stranger_box, WARN, WARN, WARN),
    Check(_for_each(_no_keypoints), WARN, NONE, REFUSE),
    Check(_wrong_length, REFUSE, NONE, REFUSE),
    Check(_for_each(_wrong_visibility), WARN, NONE, REFUSE),
    Check(_for_each(_no_count), WARN, NONE, REFUSE),
    Check(_for_each(_contradicting_count), REFUSE, NONE, REFUSE),
    Check(_for_each(_inexact_count), WARN, NONE, REFUSE),
    Check(_for_each(_fraction_keypoints), REFUSE, NONE, REFUSE),
    Check(_for_each(_far_keypoint), WARN, NONE, REFUSE),
    Check(_for_each(_keypoint_at_origin), WARN, NONE, WARN),
    Check(_for_each(_no_area), REFUSE, WARN, REFUSE),
    Check(_for_each(_negative_area), REFUSE, REFUSE, REFUSE),
    Check(_for_each(_tiny_area), REFUSE, WARN, REFUSE),
    Check(_foreign_areas, REFUSE, WARN, REFUSE),
    Check(_for_each(_large_area), REFUSE, WARN, REFUSE),
    Check(_for_each(_larger_area), WARN, WARN, WARN),
)  # fmt: skip
