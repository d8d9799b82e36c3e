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
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.draw import draw_boxes, draw_people
from hpi.errors import ConfigError, HpiError, InputError
from hpi.evaluation.annotations import is_file, leads_out
from hpi.evaluation.coco_checks import Finding, examine, sentence
from hpi.evaluation.coco_file import KEYPOINTS, Annotation, Category, CocoFile, Image
from hpi.instances import Skeleton
from hpi.io.files import save
from hpi.skeletons import COCO, load_skeleton
from hpi.sources import decode_image

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Watch = Callable[[Sequence[Any], str], Iterable[Any]]
"""Passes items on, one by one, and shows how far it is; the text says what they are."""

RESULT = "check_dataset_result.json"
PICTURES = "check_dataset"
"""Folder of the pictures, beside the result, which names them relative to its own folder."""
SAMPLES = 10
HIDDEN = 1
EXIF_ORIENTATION = 0x0112
UPRIGHT, ON_ITS_SIDE = range(1, 5), range(5, 9)
"""Values of the tag: width and height are as they are stored, or exchanged."""


@dataclass(frozen=True)
class Dataset:
    """A folder with photos and two sets of them."""

    folder: Path
    train: CocoFile
    val: CocoFile

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Read a data set, which lies in this folder or, as PaddleX has it, in one somewhere below.

        Raises:
            InputError: files are missing or not in COCO's form.
        """
        root = _root(folder)
        train, val = (
            CocoFile.read(
                root / "annotations" / f"instance_{name}.json",
                "; a data set has annotations/instance_train.json and annotations/instance_val.json",
                "; export the annotations anew, in COCO's form",
            )
            for name in ("train", "val")
        )
        return cls(root, train, val)

    @property
    def images(self) -> Path:
        """Folder of the photos."""
        return self.folder / "images"

    @property
    def parts(self) -> tuple[CocoFile, CocoFile]:
        """Both sets."""
        return self.train, self.val

    @property
    def in_both(self) -> set[str]:
        """Photos that are in both sets."""
        train, val = ({image.name for image in part.images} for part in self.parts)
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
    _figure()
    try:
        result = _check(folder, output, split, seed, watch)
    except HpiError as error:
        _write_result(output, {"done_flag": False, "err_type": str(type(error)), "err_msg": str(error)})
        raise
    _write_result(output, result)
    return result


def _check(folder: Path, output: Path, split: tuple[int, int] | None, seed: int, watch: Watch) -> dict[str, Any]:
    dataset = Dataset.read(folder)
    problems, warnings = _examine(dataset, watch)
    if problems:
        raise InputError(_list_of(problems))
    for warning in warnings:
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
            "num_classes": len(dataset.val.categories),
            "train_samples": len(dataset.train.images),
            "train_sample_paths": train,
            "val_samples": len(dataset.val.images),
            "val_sample_paths": val,
        },
        "analysis": {"histogram": f"{PICTURES}/histogram.png"},
        "dataset_path": dataset.folder.resolve().name,
        "show_type": "image",
        "dataset_type": "KeypointTopDownCocoDetDataset",
    }


def _list_of(problems: Sequence[str]) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n  ".join([f"the data set has {count}:", *problems])


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


def _examine(dataset: Dataset, watch: Watch) -> tuple[list[str], list[str]]:
    """What is wrong with a data set, each with the file and what to do, and what one should look at."""
    problems, warnings = [], []
    if len({_skeletons(part) for part in dataset.parts}) > 1:
        problems.append(
            f"{dataset.val.path}: its categories are not those of {dataset.train.path.name}; give both the same"
        )
    if both := dataset.in_both:
        warnings.append(f"{len(both)} photos are in both sets, {min(both)} for one: validation on those tells nothing")
    for part in dataset.parts:
        found = examine(part, "training")
        said = [*found.problems, *_problems_of_files(part, dataset.images, watch)]
        problems += [f"{part.path}: {problem}" for problem in said]
        warnings += [f"{part.path}: {warning}" for warning in found.warnings]
    return problems, warnings


def _skeletons(part: CocoFile) -> frozenset[tuple[int, str, tuple[str, ...]]]:
    return frozenset((category.id, category.name, tuple(category.keypoints)) for category in part.categories)


def _problems_of_files(part: CocoFile, images: Path, watch: Watch) -> Iterator[str]:
    """A sentence for each kind of problem with the files of the images."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for image in watch(part.images, f"photos of {part.path.stem}"):
        if not leads_out(image.file_name) and (problem := _problem_of_file(image, images)):
            kind, said = problem
            found[kind].append(Finding(said, "image", image.id))
    yield from map(sentence, found.values())


def _problem_of_file(image: Image, images: Path) -> tuple[str, str] | None:
    """What is wrong with an image's file: in a word, and in a sentence."""
    path = images / image.file_name
    if not is_file(path):
        slash = "; write / for \\ in file_name" if "\\" in image.file_name else ""
        return "missing", f"{path} is missing; put it there or remove the entry{slash}"
    size = _upright_size(path)
    if size is None:
        return "broken", f"{path} is not a picture; replace it or remove the entry"
    if size != (image.width, image.height):
        return "size", (
            f"width and height are {image.width} and {image.height}, but {path} is {size[0]} x {size[1]} as it is "
            "shown (EXIF orientation counts); correct them, and check the annotations"
        )
    return None


def _upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it is shown; None where it is none. Reads only its header, if that tells."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as header:
            orientation, (width, height), kind = _orientation(header), header.size, header.format
    except (Pillow.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
    if orientation in UPRIGHT:
        return width, height
    if orientation in ON_ITS_SIDE and kind != "TIFF":  # of which Pillow has turned the size, or not, by its version
        return height, width
    try:  # a tag that is wrong or damaged: readers differ in what they make of it
        height, width = decode_image(path.read_bytes(), str(path)).shape[:2]
    except (OSError, InputError):
        return None
    return width, height


def _orientation(header: Any) -> int | None:
    """The EXIF orientation of a picture, 1 where it has none; None where it is anything but 1 to 8."""
    try:
        orientation = header.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data fails anywhere in Pillow's reader
        return None
    return orientation if type(orientation) is int and 1 <= orientation <= 8 else None


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
        CocoFile.of(part.path, _assemble(dataset.train.raw, chosen))
        for part, chosen in zip(dataset.parts, (entries[:first], entries[first:]), strict=True)
    )
    return Dataset(dataset.folder, train, val)


_Raw = dict[str, Any]


def _entries(parts: Sequence[CocoFile]) -> Iterator[tuple[_Raw, list[_Raw]]]:
    """Each photo and its annotations; the ids of a set's photos follow the largest of the set before."""
    offset = 0
    for part in parts:
        people = defaultdict(list)
        for person in part.raw["annotations"]:
            people[person["image_id"]].append({**person, "image_id": person["image_id"] + offset})
        for photo in part.raw["images"]:
            yield {**photo, "id": photo["id"] + offset}, people[photo["id"]]
        # PaddleX adds the largest id, which is enough for ids that begin at 1.
        offset += max(part.image_of) + (0 if min(part.image_of) > 0 else 1 - min(part.image_of))


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
    skeleton = load_skeleton(COCO)
    places, count = [], SAMPLES
    for part in dataset.parts:
        count = min(count, len(part.images))  # PaddleX never draws more of the second set than of the first
        places.append([f"{PICTURES}/{target.name}/{photo.file_name}" for photo in part.images[:count]])
        for photo in watch(part.images[:count], f"pictures of {part.path.stem}"):
            path = dataset.images / photo.file_name
            image = decode_image(path.read_bytes(), str(path))
            _save_picture(target / photo.file_name, draw_annotations(image, part.annotations_of[photo.id], skeleton))
    return places


def draw_annotations(image: Pixels, people: Sequence[Annotation], skeleton: Skeleton) -> Pixels:
    """Draw boxes with the annotations' ids, skeletons, and hidden joints as dark dots with a light rim.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; is not changed.
        people: the annotations of the image, sound.
        skeleton: which joints are connected.

    Returns:
        ``[H, W, 3]`` uint8 BGR.
    """
    canvas = draw_boxes(image, [person.corners for person in people], [str(person.id) for person in people])
    joints = [person.points.astype(np.float32) for person in people]
    canvas = draw_people(canvas, [np.minimum(one, [np.inf, np.inf, 1], dtype=np.float32) for one in joints], skeleton)
    radius = max(2, round(max(image.shape) / 320))
    for x, y in (joint[:2] for one in joints for joint in one if joint[2] == HIDDEN):
        for size, color in ((radius + 1, (255, 255, 255)), (radius, (0, 0, 0))):
            cv2.circle(canvas, (round(float(x)), round(float(y))), size, color, cv2.FILLED, cv2.LINE_AA)
    return canvas


def _save_picture(path: Path, image: Pixels) -> None:
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
    figure = _figure()(figsize=(11, 5), dpi=120, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    categories = dataset.val.categories
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


def _figure() -> Any:
    """Matplotlib's class of figures.

    Raises:
        ConfigError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f'the histogram needs Matplotlib ({error}): pip install "hpi-pose[evaluate]"') from error
    return Figure


def _per_category(part: CocoFile, categories: Iterable[Category]) -> list[int]:
    counts = Counter(person.category_id for person in part.annotations)
    return [counts[category.id] for category in categories]


def _per_joint(part: CocoFile) -> list[int]:
    counts: Counter[int] = Counter()
    for person in part.annotations:
        counts.update(np.flatnonzero(person.points[:, 2] > 0).tolist())
    return [counts[joint] for joint in range(max(counts, default=KEYPOINTS - 1) + 1)]


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
