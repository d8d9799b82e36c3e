"""The check of a data set, its result and its pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpi.errors import ConfigError, HpiError, InputError
from hpi.evaluation.annotations import to_json
from hpi.evaluation.check_dataset.dataset import Dataset, Track
from hpi.evaluation.check_dataset.pictures import draw_samples, figure_class, save_histogram
from hpi.evaluation.check_dataset.problems import examine_dataset
from hpi.evaluation.check_dataset.split import replace_annotations, split_again
from hpi.io.files import save

logger = logging.getLogger(__name__)

RESULT = "check_dataset_result.json"
PICTURES, DEMO = "check_dataset", "demo_img"
"""Folder of the pictures, beside the result, and that of the images in it; the result names them relative to itself."""


def check_dataset(
    folder: Path,
    output: Path,
    *,
    split: tuple[int, int] | None = None,
    seed: int = 0,
    track: Track = lambda items, _: items,
) -> dict[str, Any]:
    """Check a data set as PaddleX does, and write ``check_dataset_result.json`` with its fields, and pictures.

    Args:
        folder: the data set.
        output: folder for the result; the pictures go into ``check_dataset/`` in it.
        split: percentages for training and validation: first split the images of both sets again, at random.
        seed: of the split.
        track: passes items on and shows the progress.

    Returns:
        The content of the result.

    Raises:
        ConfigError: the percentages do not add to 100, or Matplotlib is missing.
        InputError: the data set has problems: the message, which is also in the result, lists them with file, id and
            what to do. Or a file cannot be written.
    """
    if split is not None and (sum(split) != 100 or min(split) <= 0):
        raise ConfigError(f"split {split[0]} {split[1]}: give two percentages above 0 that add to 100, such as 80 20")
    figure_class()
    try:
        result = _check(folder, output, split, seed, track)
    except HpiError as error:
        _write_result(output, {"done_flag": False, "err_type": str(type(error)), "err_msg": str(error)})
        raise
    _write_result(output, result)
    return result


def _check(folder: Path, output: Path, split: tuple[int, int] | None, seed: int, track: Track) -> dict[str, Any]:
    dataset = Dataset.read(folder)
    found = examine_dataset(dataset, track)
    if found.problems:
        raise InputError(_list_of(found.problems))
    for warning in found.warnings:
        logger.warning("%s", warning)
    if split is not None:
        dataset = split_again(dataset, split, seed)
    pictures = output / PICTURES
    samples = draw_samples(dataset, pictures / DEMO, track)
    train, val = ([f"{PICTURES}/{DEMO}/{name}" for name in names] for names in samples)
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


def _write_result(output: Path, content: Mapping[str, Any]) -> None:
    save(output / RESULT, to_json(content, indent=2), InputError)
