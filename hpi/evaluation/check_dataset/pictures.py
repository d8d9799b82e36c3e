"""Pictures of a data set: its first images with their annotations, and a histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hpi.draw import draw_boxes, draw_people
from hpi.errors import ConfigError, InputError
from hpi.evaluation.check_dataset.dataset import Dataset, Track
from hpi.evaluation.coco.file import KEYPOINTS, Annotation, Category, CocoFile
from hpi.instances import Image, Skeleton
from hpi.io.files import save
from hpi.skeletons import COCO, load_skeleton
from hpi.sources import decode_image

SAMPLES = 10
HIDDEN = 1
"""Visibility of a keypoint that is labelled, but hidden."""


def draw_samples(dataset: Dataset, target: Path, track: Track) -> list[list[str]]:
    """Draw the first images of each set.

    Returns:
        For each set, the names of the pictures in ``target``.

    Raises:
        InputError: an image cannot be read, or a picture cannot be written.
    """
    skeleton = load_skeleton(COCO)
    names, count = [], SAMPLES
    for part in dataset.parts:
        count = min(count, len(part.images))  # PaddleX never draws more of the second set than of the first
        names.append([entry.file_name for entry in part.images[:count]])
        for entry in track(part.images[:count], f"pictures of {part.path.stem}"):
            path = dataset.images / entry.file_name
            image = decode_image(path.read_bytes(), str(path))
            _save_picture(target / entry.file_name, draw_annotations(image, part.annotations_of[entry.id], skeleton))
    return names


def draw_annotations(image: Image, people: Sequence[Annotation], skeleton: Skeleton) -> Image:
    """Draw boxes with the annotations' ids, skeletons, and hidden keypoints as dark dots with a light rim.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; not modified.
        people: the annotations of the image, without problems.
        skeleton: which keypoints are connected.

    Returns:
        ``[H, W, 3]`` uint8 BGR.

    Example:
        >>> image = np.zeros((60, 40, 3), np.uint8)
        >>> person = Annotation(id=7, image_id=1, category_id=1, bbox=[5, 5, 30, 50])
        >>> picture = draw_annotations(image, [person], load_skeleton(COCO))
        >>> picture.shape, bool(picture.any()), bool(image.any())
        ((60, 40, 3), True, False)
    """
    canvas = draw_boxes(image, [person.corners for person in people], [str(person.id) for person in people])
    points = [person.points.astype(np.float32) for person in people]  # the visibility takes the place of the score
    canvas = draw_people(canvas, points, skeleton)
    radius = max(2, round(max(image.shape) / 320))
    for x, y in (point[:2] for one in points for point in one if point[2] == HIDDEN):
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
    """Draw how many people of each category and how many labelled keypoints of each kind the two sets have.

    Raises:
        InputError: the file cannot be written.
    """
    figure = figure_class()(figsize=(11, 5), dpi=120, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    categories = dataset.val.categories
    _bars(
        left,
        "annotations",
        [one.name for one in categories],
        [_per_category(part, categories) for part in dataset.parts],
    )
    names = next((one.keypoints for one in categories if one.keypoints), [])
    _bars(right, "labelled keypoints", names, [_per_keypoint(part) for part in dataset.parts])
    right.legend(frameon=False)
    data = BytesIO()
    figure.savefig(data, format="png")
    save(path, data.getvalue(), InputError)


def figure_class() -> Any:
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


def _per_keypoint(part: CocoFile) -> list[int]:
    counts: Counter[int] = Counter()
    for person in part.annotations:
        counts.update(np.flatnonzero(person.points[:, 2] > 0).tolist())
    return [counts[index] for index in range(max(counts, default=KEYPOINTS - 1) + 1)]


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
