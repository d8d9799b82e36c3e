"""Splitting the images of both sets again."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpi.errors import InputError
from hpi.evaluation.annotations import to_json
from hpi.evaluation.check_dataset.dataset import Dataset
from hpi.evaluation.coco.file import CocoFile
from hpi.io.files import save

_Raw = dict[str, Any]


def split_again(dataset: Dataset, split: tuple[int, int], seed: int) -> Dataset:
    """Split the images of both sets again, at random. Writes nothing; see :func:`replace_annotations`.

    The ids of images and annotations become what PaddleX makes of them.

    Args:
        dataset: a data set without problems.
        split: percentages for training and validation.
        seed: of the split.

    Raises:
        InputError: there are ``.bak`` files already, an image is in both sets, or a set would be empty.

    Example:
        >>> def part(name, ids):
        ...     images = [{"id": one, "file_name": f"{name}{one}.png", "width": 640, "height": 480} for one in ids]
        ...     raw = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
        ...     return CocoFile.of(Path(f"instance_{name}.json"), raw)
        >>> dataset = Dataset(Path("data"), part("train", [1, 2]), part("val", [1, 2]))
        >>> [len(part.images) for part in split_again(dataset, (75, 25), seed=0).parts]
        [3, 1]
    """
    _check_backups(part.path for part in dataset.parts)
    if both := dataset.in_both:
        raise InputError(f"images in both sets: {len(both)}, such as {min(both)}; remove them from one to split")
    entries = list(_entries(dataset.parts))
    random.Random(seed).shuffle(entries)
    first = round(len(entries) * split[0] / 100)
    if not 0 < first < len(entries):
        raise InputError(f"{len(entries)} images are too few to split them {split[0]} to {split[1]}")
    train, val = (
        CocoFile.of(part.path, _assemble(dataset.train.raw, chosen))
        for part, chosen in zip(dataset.parts, (entries[:first], entries[first:]), strict=True)
    )
    return Dataset(dataset.folder, train, val)


def _entries(parts: Sequence[CocoFile]) -> Iterator[tuple[_Raw, list[_Raw]]]:
    """Each image and its annotations; the ids of a set's images follow the largest of the set before."""
    offset = 0
    for part in parts:
        people = defaultdict(list)
        for person in part.raw["annotations"]:
            people[person["image_id"]].append({**person, "image_id": person["image_id"] + offset})
        for image in part.raw["images"]:
            yield {**image, "id": image["id"] + offset}, people[image["id"]]
        # PaddleX adds the largest id, which is enough for ids that begin at 1.
        offset += max(part.image_of) + (0 if min(part.image_of) > 0 else 1 - min(part.image_of))


def _assemble(template: Mapping[str, Any], entries: Collection[tuple[_Raw, list[_Raw]]]) -> _Raw:
    """A file's content; what else is in the template, such as licences, stays."""
    people = (person for _, of_image in entries for person in of_image)
    return {
        **template,
        "images": [image for image, _ in entries],
        "annotations": [{**person, "id": number} for number, person in enumerate(people, 1)],
    }


def _backup(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _check_backups(paths: Iterable[Path]) -> None:
    if there := [str(_backup(path)) for path in paths if _backup(path).exists()]:
        raise InputError(f"{', '.join(there)} of an earlier split would be lost; remove or move these files")


def replace_annotations(dataset: Dataset) -> None:
    """Write both annotation files or neither; the earlier ones are kept as ``.bak``.

    Raises:
        InputError: there are ``.bak`` files already, or the files cannot be written. Nothing is changed then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = [CocoFile(Path(folder, f"instance_{name}.json"), {}, [], [], []) for name in ("train", "val")]
        ...     for part in parts:
        ...         part.path.touch()
        ...     replace_annotations(Dataset(Path(folder), *parts))
        ...     sorted(path.name for path in Path(folder).glob("*.bak"))
        ['instance_train.json.bak', 'instance_val.json.bak']
    """
    paths = [part.path for part in dataset.parts]
    _check_backups(paths)
    moved: list[Path] = []
    try:
        for path in paths:
            path.rename(_backup(path))
            moved.append(path)
        for part in dataset.parts:
            save(part.path, to_json(part.raw), InputError)
    except BaseException:
        for path in moved:
            _backup(path).replace(path)
        raise
