"""PaddleX's check of a keypoint data set: is it sound, how large is it, what does it look like.

A data set is a folder with ``images/`` and, in COCO's form, ``annotations/instance_train.json`` and
``annotations/instance_val.json``.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Strict

from hpi.backends.base import is_installed
from hpi.draw import draw_boxes, draw_people
from hpi.errors import ConfigError, HpiError, InputError
from hpi.evaluation.annotations import Entry, is_file, leads_out, read_json
from hpi.files import save
from hpi.sources import decode_image
from hpi.validation import parse
from hpi.zoo import Skeleton, Zoo

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Watch = Callable[[Sequence[Any], str], Iterable[Any]]
"""Passes items on, one by one, and shows how far it is; the text says what they are."""

RESULT = "check_dataset_result.json"
PICTURES = "check_dataset"
"""Folder of the pictures, beside the result, which names them relative to its own folder."""
SAMPLES = 10
JOINTS = 17
"""Joints of a person whose category does not list them."""
UNLABELLED, HIDDEN, VISIBLE = 0, 1, 2
MAX_PROBLEMS = 20
EXIF_ORIENTATION, ON_ITS_SIDE = 0x0112, 5
"""The tag, and the first of its values with width and height exchanged."""


Id = Annotated[int, Strict()]


class Photo(Entry):
    """An entry of ``images``; ``file_name`` is relative to the folder of the images."""

    id: Id
    file_name: Annotated[str, Field(min_length=1)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class Person(Entry):
    """An entry of ``annotations``.

    Attributes:
        bbox: x, y, width, height, pixels.
        keypoints: x, y and visibility of each joint: 0 not labelled, 1 labelled but hidden, 2 visible.
        num_keypoints: how many are labelled.
    """

    id: Id
    image_id: Id
    category_id: Id
    bbox: list[float] = Field(default_factory=list)
    keypoints: list[float] = Field(default_factory=list)
    num_keypoints: int | None = None

    @property
    def joints(self) -> NDArray[np.float32]:
        """``[K, 3]``: x, y, visibility."""
        return np.array(self.keypoints, np.float32).reshape(-1, 3)


class Category(Entry):
    """An entry of ``categories``; ``keypoints`` are the names of its joints."""

    id: Id
    name: str
    keypoints: list[str] = Field(default_factory=list)


class Coco(Entry):
    """A file of annotations."""

    images: Annotated[list[Photo], Field(min_length=1)]
    annotations: list[Person]
    categories: Annotated[list[Category], Field(min_length=1)]


@dataclass(frozen=True)
class Part:
    """One of the two sets: its file, and what is in it, as it is and as it is understood."""

    path: Path
    raw: dict[str, Any]
    coco: Coco

    @classmethod
    def read(cls, path: Path) -> Part:
        """Read a file of annotations.

        Raises:
            InputError: there is none, or it is not COCO's JSON.
        """
        layout = "; a data set has annotations/instance_train.json and annotations/instance_val.json"
        return cls.of(path, read_json(path, layout, "; export the annotations anew, in COCO's form"))

    @classmethod
    def of(cls, path: Path, raw: Any) -> Part:
        """What a file has, or shall have, in it; errors as :meth:`read`."""
        return cls(path, raw, parse(Coco, raw, f"{path}: not COCO's form", InputError))

    @cached_property
    def photos(self) -> dict[int, Photo]:
        """The photos by id."""
        return {photo.id: photo for photo in self.coco.images}

    @cached_property
    def people(self) -> dict[int, list[Person]]:
        """The people of each photo, by its id."""
        people = defaultdict(list)
        for person in self.coco.annotations:
            people[person.image_id].append(person)
        return people


@dataclass(frozen=True)
class Dataset:
    """A folder with photos and two sets of them."""

    folder: Path
    train: Part
    val: Part

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Read a data set, which lies in this folder or, as PaddleX has it, in one somewhere below.

        Raises:
            InputError: files are missing or not in COCO's form.
        """
        root = _root(folder)
        train, val = (root / "annotations" / f"instance_{name}.json" for name in ("train", "val"))
        return cls(root, Part.read(train), Part.read(val))

    @property
    def images(self) -> Path:
        """Folder of the photos."""
        return self.folder / "images"

    @property
    def parts(self) -> tuple[Part, Part]:
        """Both sets."""
        return self.train, self.val

    @property
    def in_both(self) -> set[str]:
        """Photos that are in both sets."""
        train, val = ({photo.file_name for photo in part.coco.images} for part in self.parts)
        return train & val


def check_dataset(
    folder: Path,
    output: Path,
    *,
    split: tuple[int, int] | None = None,
    seed: int = 0,
    watch: Watch = lambda items, _: items,
) -> dict[str, Any]:
    """Check a data set as PaddleX does, and write ``check_dataset_result.json`` with its fields, and pictures.

    Args:
        folder: the data set.
        output: folder for the result; the pictures go into ``check_dataset/`` in it.
        split: before, divide the photos of both sets anew: percentages for training and validation.
        seed: of that division.
        watch: shows the progress.

    Returns:
        The content of the result.

    Raises:
        ConfigError: the percentages do not add to 100, or Matplotlib is missing.
        InputError: the data set is not sound; the message lists the problems, each with file, id and remedy, and is in
            the result too. Or something cannot be written.
    """
    if split is not None and (sum(split) != 100 or min(split) <= 0):
        raise ConfigError(f"split {split[0]} {split[1]}: give two percentages above 0 that add to 100, such as 80 20")
    if not is_installed("matplotlib"):
        raise ConfigError('the histogram needs Matplotlib: pip install "hpi-pose[bench]"')
    try:
        result = _check(folder, output, split, seed, watch)
    except HpiError as error:
        _write_result(output, {"done_flag": False, "err_type": str(type(error)), "err_msg": str(error)})
        raise
    _write_result(output, result)
    return result


def _check(folder: Path, output: Path, split: tuple[int, int] | None, seed: int, watch: Watch) -> dict[str, Any]:
    dataset = Dataset.read(folder)
    if problems := list(_problems(dataset, watch)):
        raise InputError(_list_of(problems))
    for warning in _warnings(dataset):
        logger.warning("%s", warning)
    if split is not None:
        dataset = split_anew(dataset, split, seed)
    pictures = output / PICTURES
    train, val = _draw_samples(dataset, pictures / "demo_img", watch)
    save_histogram(pictures / "histogram.png", dataset)
    if split is not None:  # only now, when nothing else can fail
        replace_annotations(dataset)
    return {
        "done_flag": True,
        "check_pass": True,
        "attributes": {
            "num_classes": len(dataset.val.coco.categories),
            "train_samples": len(dataset.train.coco.images),
            "train_sample_paths": train,
            "val_samples": len(dataset.val.coco.images),
            "val_sample_paths": val,
        },
        "analysis": {"histogram": f"{PICTURES}/histogram.png"},
        "dataset_path": dataset.folder.resolve().name,
        "show_type": "image",
        "dataset_type": "KeypointTopDownCocoDetDataset",
    }


def _list_of(problems: Sequence[str]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    more = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
    return "\n  ".join([f"the data set has {count}:", *problems[:MAX_PROBLEMS], *more])


def _root(folder: Path) -> Path:
    if (folder / "images").is_dir():
        return folder
    found = [path.parent for path in folder.glob("**/images") if path.is_dir()]
    if len(found) != 1:
        raise InputError(
            f"{folder}: there must be one folder 'images' in it, and there are {len(found)}; a data set has images/, "
            "annotations/instance_train.json and annotations/instance_val.json"
        )
    return found[0]


def _problems(dataset: Dataset, watch: Watch) -> Iterator[str]:
    """What is wrong with a data set, each with the file and what to do."""
    names = [{(category.id, category.name) for category in part.coco.categories} for part in dataset.parts]
    if names[0] != names[1]:
        yield f"{dataset.val.path}: its categories are not those of {dataset.train.path.name}; give both the same"
    for part in dataset.parts:
        for problem in _problems_of_part(part, dataset.images, watch):
            yield f"{part.path}: {problem}"


def _problems_of_part(part: Part, images: Path, watch: Watch) -> Iterator[str]:
    coco = part.coco
    yield from _duplicates("image", coco.images)
    yield from _duplicates("annotation", coco.annotations)
    yield from _duplicates("category", coco.categories)
    for photo in watch(coco.images, f"photos of {part.path.stem}"):
        if problem := _problem_of_photo(photo, images):
            yield f"image id {photo.id}: {problem}"
    categories = {category.id: category for category in coco.categories}
    for person in coco.annotations:
        for problem in _problems_of_person(person, part.photos, categories):
            yield f"annotation id {person.id}: {problem}"


def _duplicates(kind: str, entries: Iterable[Photo | Person | Category]) -> Iterator[str]:
    for number, count in Counter(entry.id for entry in entries).items():
        if count > 1:
            yield f"{kind} id {number}: {count} entries have it; give each its own"


def _problem_of_photo(photo: Photo, images: Path) -> str | None:
    if leads_out(photo.file_name):
        return f"file_name {photo.file_name!r} leads out of {images}; give it relative to that folder"
    path = images / photo.file_name
    if not is_file(path):
        return f"{path} is missing; put it there or remove the entry"
    size = _upright_size(path)
    if size is None:
        return f"{path} is not a picture; replace it or remove the entry"
    if size != (photo.width, photo.height):
        return (
            f"width and height are {photo.width} and {photo.height}, but {path} is {size[0]} x {size[1]} as it is "
            "shown (EXIF orientation counts); correct them, and check the annotations"
        )
    return None


def _upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it is shown; None where it is none. Reads only its header."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as header:
            turned = header.getexif().get(EXIF_ORIENTATION, 1) >= ON_ITS_SIDE
            width, height = header.size
    except (Pillow.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
    return (height, width) if turned else (width, height)


def _problems_of_person(
    person: Person, photos: Mapping[int, Photo], categories: Mapping[int, Category]
) -> Iterator[str]:
    photo, category = photos.get(person.image_id), categories.get(person.category_id)
    if photo is None:
        yield f"image_id {person.image_id} is not among the images; correct it or remove the annotation"
    if category is None:
        known = ", ".join(map(str, categories))
        yield f"category_id {person.category_id} is not among the categories ({known}); correct it or add the category"
    else:
        yield from _problems_of_joints(person, len(category.keypoints) or JOINTS)
    yield from _problems_of_box(person.bbox, photo)


def _problems_of_joints(person: Person, joints: int) -> Iterator[str]:
    found = person.keypoints
    if len(found) != 3 * joints:
        yield f"keypoints has {len(found)} numbers; give 3 x {joints} = {3 * joints}: x, y, visibility of each joint"
        return
    if wrong := set(found[2::3]) - {UNLABELLED, HIDDEN, VISIBLE}:
        yield f"a visibility is {min(wrong):g}; it is 0 (not labelled), 1 (labelled but hidden) or 2 (visible)"
    labelled = sum(visibility > UNLABELLED for visibility in found[2::3])
    if person.num_keypoints != labelled:
        stated = "missing" if person.num_keypoints is None else person.num_keypoints
        yield f"num_keypoints is {stated}, but {labelled} joints have a visibility above 0; set it to {labelled}"


def _problems_of_box(box: Sequence[float], photo: Photo | None) -> Iterator[str]:
    if len(box) != 4:
        yield f"bbox has {len(box)} numbers; give 4: x, y, width, height, pixels"
        return
    x, y, width, height = box
    if width <= 0 or height <= 0:
        yield f"bbox {box} is empty; give x, y, width, height, pixels, or remove the annotation"
    elif photo and (x >= photo.width or y >= photo.height or x + width <= 0 or y + height <= 0):
        yield f"bbox {box} is outside its photo of {photo.width} x {photo.height}; give x, y, width, height, pixels"


def _warnings(dataset: Dataset) -> Iterator[str]:
    """What one can train with, but should look at."""
    if both := dataset.in_both:
        yield f"{len(both)} photos are in both sets, {min(both)} for one: validation on those tells nothing"
    for part in dataset.parts:
        ids = [person.id for person in part.coco.annotations if _reaches_out(person.bbox, part.photos[person.image_id])]
        if ids:
            yield (
                f"{part.path}: {len(ids)} boxes reach out of their photo, annotation id {ids[0]} for one, and training "
                "cuts them off; make sure that they are x, y, width, height and not two corners"
            )


def _reaches_out(box: Sequence[float], photo: Photo) -> bool:
    """By more than a pixel: COCO's own boxes do by less."""
    x, y, width, height = box
    return min(x, y) < -1 or x + width > photo.width + 1 or y + height > photo.height + 1


def split_anew(dataset: Dataset, split: tuple[int, int], seed: int) -> Dataset:
    """Divide the photos of both sets anew, at random; nothing is written yet (see :func:`replace_annotations`).

    The ids of photos and annotations become what PaddleX makes of them.

    Args:
        dataset: a sound data set.
        split: percentages for training and validation.
        seed: of the division.

    Raises:
        InputError: there are ``.bak`` files already, a photo is in both sets, or a set would be empty.
    """
    _check_backups(part.path for part in dataset.parts)
    if both := dataset.in_both:
        raise InputError(f"{len(both)} photos are in both sets, {min(both)} for one; remove them from one to split")
    entries = list(_entries(dataset.parts))
    random.Random(seed).shuffle(entries)
    first = round(len(entries) * split[0] / 100)
    if not 0 < first < len(entries):
        raise InputError(f"{len(entries)} photos are too few to split them {split[0]} to {split[1]}")
    train, val = (
        Part.of(part.path, _assemble(dataset.train.raw, chosen))
        for part, chosen in zip(dataset.parts, (entries[:first], entries[first:]), strict=True)
    )
    return Dataset(dataset.folder, train, val)


_Raw = dict[str, Any]


def _entries(parts: Sequence[Part]) -> Iterator[tuple[_Raw, list[_Raw]]]:
    """Each photo and its annotations; the ids of a set's photos follow the largest of the set before."""
    offset = 0
    for part in parts:
        people = defaultdict(list)
        for person in part.raw["annotations"]:
            people[person["image_id"]].append({**person, "image_id": person["image_id"] + offset})
        for photo in part.raw["images"]:
            yield {**photo, "id": photo["id"] + offset}, people[photo["id"]]
        # PaddleX adds the largest id, which is enough for ids that begin at 1.
        offset += max(part.photos) + (0 if min(part.photos) > 0 else 1 - min(part.photos))


def _assemble(template: Mapping[str, Any], entries: Collection[tuple[_Raw, list[_Raw]]]) -> _Raw:
    """A file's content; what else is in the template, such as licences, stays."""
    people = (person for _, of_photo in entries for person in of_photo)
    return {
        **template,
        "images": [photo for photo, _ in entries],
        "annotations": [{**person, "id": number} for number, person in enumerate(people, 1)],
    }


def _backup(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _check_backups(paths: Iterable[Path]) -> None:
    if there := [str(_backup(path)) for path in paths if _backup(path).exists()]:
        raise InputError(f"{', '.join(there)} of an earlier split would be lost; move away what is not needed")


def replace_annotations(dataset: Dataset) -> None:
    """Write both files of annotations or none; those that were there are kept as ``.bak``.

    Raises:
        InputError: there are ``.bak`` files already, or the files cannot be written; nothing has changed then.
    """
    paths = [part.path for part in dataset.parts]
    _check_backups(paths)
    moved: list[Path] = []
    try:
        for path in paths:
            path.rename(_backup(path))
            moved.append(path)
        for part in dataset.parts:
            save(part.path, _to_json(part.raw), InputError)
    except BaseException:
        for path in moved:
            _backup(path).replace(path)
        raise


def _draw_samples(dataset: Dataset, target: Path, watch: Watch) -> list[list[str]]:
    """Draw the first photos of each set; their places relative to the result."""
    skeleton = Zoo.default().skeleton_of("PP-TinyPose_128x96")
    places, count = [], SAMPLES
    for part in dataset.parts:
        count = min(count, len(part.coco.images))  # PaddleX never draws more of the second set than of the first
        places.append([f"{PICTURES}/{target.name}/{photo.file_name}" for photo in part.coco.images[:count]])
        for photo in watch(part.coco.images[:count], f"pictures of {part.path.stem}"):
            path = dataset.images / photo.file_name
            image = decode_image(path.read_bytes(), str(path))
            _save_picture(target / photo.file_name, draw_annotations(image, part.people[photo.id], skeleton))
    return places


def draw_annotations(image: Image, people: Sequence[Person], skeleton: Skeleton) -> Image:
    """Draw boxes with the annotations' ids, skeletons, and hidden joints as dark dots with a light rim.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; is not changed.
        people: the annotations of the image, sound.
        skeleton: which joints are connected.

    Returns:
        ``[H, W, 3]`` uint8 BGR.
    """
    corners = [(x, y, x + width, y + height) for x, y, width, height in (person.bbox for person in people)]
    canvas = draw_boxes(image, corners, [str(person.id) for person in people])
    joints = [person.joints for person in people]
    canvas = draw_people(canvas, [np.minimum(one, [np.inf, np.inf, 1], dtype=np.float32) for one in joints], skeleton)
    radius = max(2, round(max(image.shape) / 320))
    for x, y in (joint[:2] for one in joints for joint in one if joint[2] == HIDDEN):
        for size, color in ((radius + 1, (255, 255, 255)), (radius, (0, 0, 0))):
            cv2.circle(canvas, (round(float(x)), round(float(y))), size, color, cv2.FILLED, cv2.LINE_AA)
    return canvas


def _save_picture(path: Path, image: Image) -> None:
    try:
        _, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV does not write {path.suffix} files; use .jpg or .png") from error
    save(path, data.tobytes(), InputError)


def save_histogram(path: Path, dataset: Dataset) -> None:
    """Draw how many people of each category and how many labelled joints of each kind the two sets have.

    Raises:
        InputError: the file cannot be written.
    """
    from io import BytesIO

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), dpi=120, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    categories = dataset.val.coco.categories
    _bars(
        left,
        "annotations",
        [one.name for one in categories],
        [_per_category(part, categories) for part in dataset.parts],
    )
    names = next((one.keypoints for one in categories if one.keypoints), [])
    _bars(right, "labelled joints", names, [_per_joint(part) for part in dataset.parts])
    right.legend(frameon=False)
    data = BytesIO()
    figure.savefig(data, format="png")
    save(path, data.getvalue(), InputError)


def _per_category(part: Part, categories: Iterable[Category]) -> list[int]:
    counts = Counter(person.category_id for person in part.coco.annotations)
    return [counts[category.id] for category in categories]


def _per_joint(part: Part) -> list[int]:
    counts: Counter[int] = Counter()
    for person in part.coco.annotations:
        counts.update(np.flatnonzero(person.joints[:, 2] > UNLABELLED).tolist())
    return [counts[joint] for joint in range(max(counts, default=JOINTS - 1) + 1)]


def _bars(axes: Any, title: str, names: Sequence[str], heights: Sequence[Sequence[int]]) -> None:
    """Bars of the two sets side by side."""
    width = 0.4
    for offset, label, values in zip((-width / 2, width / 2), ("train", "val"), heights, strict=True):
        bars = axes.bar(np.arange(len(values)) + offset, values, width, label=label)
        axes.bar_label(bars, fontsize=7, rotation=90, padding=2)
    places = range(max(map(len, heights)))
    axes.set_xticks(places, [names[place] if place < len(names) else str(place) for place in places], rotation=90)
    axes.set_title(title)
    axes.margins(y=0.12)
    axes.set_xlim(-0.7, len(places) - 0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _write_result(output: Path, content: Mapping[str, Any]) -> None:
    save(output / RESULT, _to_json(content, indent=2), InputError)


def _to_json(content: Any, indent: int | None = None) -> bytes:
    return json.dumps(content, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")
