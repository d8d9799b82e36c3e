"""Problems of a data set: of its annotations, and of its image files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpi.errors import InputError
from hpi.evaluation.annotations import is_file, leads_out
from hpi.evaluation.check_dataset.dataset import Dataset, Track
from hpi.evaluation.coco.checks import Findings, examine
from hpi.evaluation.coco.checks.finding import Finding, sentence
from hpi.evaluation.coco.file import CocoFile, Image
from hpi.sources import decode_image

EXIF_ORIENTATION = 0x0112
UPRIGHT, ON_ITS_SIDE = range(1, 5), range(5, 9)
"""Values of the tag: width and height are as stored, or swapped."""


def examine_dataset(dataset: Dataset, track: Track) -> Findings:
    """The problems of both sets, and warnings: a sentence each, with the file and what to do.

    Args:
        dataset: the data set.
        track: shows the progress through the files of the images.

    Example:
        >>> image = {"id": 1, "file_name": "a.png", "width": 640, "height": 480}
        >>> raw = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
        >>> train, val = (CocoFile.of(Path(f"instance_{name}.json"), raw) for name in ("train", "val"))
        >>> examine_dataset(Dataset(Path("data"), train, val), lambda images, _: images).warnings[0]
        'images in both sets: 1, such as a.png; validation on them is meaningless'
    """
    whole = Findings()
    if len({_skeletons(part) for part in dataset.parts}) > 1:
        whole.problems.append(
            f"{dataset.val.path}: its categories differ from those of {dataset.train.path.name}; make them the same"
        )
    if both := dataset.in_both:
        whole.warnings.append(
            f"images in both sets: {len(both)}, such as {min(both)}; validation on them is meaningless"
        )
    for part in dataset.parts:
        found = examine(part, "training")
        problems = [*found.problems, *_problems_of_files(part, dataset.images, track)]
        whole.problems.extend(f"{part.path}: {problem}" for problem in problems)
        whole.warnings.extend(f"{part.path}: {warning}" for warning in found.warnings)
    return whole


def _skeletons(part: CocoFile) -> frozenset[tuple[int, str, tuple[str, ...]]]:
    return frozenset((category.id, category.name, tuple(category.keypoints)) for category in part.categories)


def _problems_of_files(part: CocoFile, images: Path, track: Track) -> Iterator[str]:
    """A sentence for each kind of problem with the image files."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for image in track(part.images, f"images of {part.path.stem}"):
        if not leads_out(image.file_name) and (problem := _problem_of_file(image, images)):
            kind, message = problem
            found[kind].append(Finding(message, "image", image.id))
    yield from map(sentence, found.values())


def _problem_of_file(image: Image, images: Path) -> tuple[str, str] | None:
    """The problem of an image file: its kind, and a sentence."""
    path = images / image.file_name
    if not is_file(path):
        slash = "; write / for \\ in file_name" if "\\" in image.file_name else ""
        return "missing", f"{path} is missing; put it there or remove the entry{slash}"
    size = _upright_size(path)
    if size is None:
        return "broken", f"{path} is not an image; replace it or remove the entry"
    if size != (image.width, image.height):
        return "size", (
            f"width and height are {image.width} and {image.height}, but {path} is {size[0]} x {size[1]} after "
            "EXIF rotation; correct them, and check the annotations"
        )
    return None


def _upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image after EXIF rotation; None if it is not an image. Reads little but the header."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as header:
            orientation, (width, height), kind = _orientation(header), header.size, header.format
    except (Pillow.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
    if orientation in UPRIGHT:
        return width, height
    if orientation in ON_ITS_SIDE and kind != "TIFF":  # Pillow swaps a TIFF's size or not, depending on its version
        return height, width
    try:  # readers differ in how they treat a wrong or damaged tag
        height, width = decode_image(path.read_bytes(), str(path)).shape[:2]
    except (OSError, InputError):
        return None
    return width, height


def _orientation(header: Any) -> int | None:
    """The EXIF orientation of an image, 1 if it has none; None if it is not 1 to 8."""
    try:
        orientation = header.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data fails anywhere in Pillow's reader
        return None
    return orientation if type(orientation) is int and 1 <= orientation <= 8 else None
