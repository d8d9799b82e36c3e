"""MPII: PCKh, the share of keypoints that are near their true places, measured in head sizes.

The convention is that of the dataset's own Matlab toolkit (human-pose.mpi-inf.mpg.de), as HRNet (lib/dataset/mpii.py),
mmpose and PaddleDetection have it in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, RootModel

from hpi.errors import ConfigError, InputError
from hpi.evaluation.annotations import MANY, Entry, FileName, Pixels, existing, read_json
from hpi.evaluation.messages import listed
from hpi.evaluation.predictions import Box, Case, DatasetImage, Figures, Person, Predictions, require_keypoints
from hpi.io.validation import parse
from hpi.predictor import Predictor
from hpi.skeletons import COCO, load_skeleton

SKELETON = load_skeleton("mpii16")
KEYPOINTS = len(SKELETON)
UPPER_NECK, HEAD_TOP = map(SKELETON.keypoints.index, SKELETON.head or ())
NOT_COUNTED = ("pelvis", "thorax")
LIMITS = (0.5, 0.1)  # HRNet's "Mean@0.1" is really at 0.11

GROUPS = {
    "Head": ("head_top",),
    **{
        name.capitalize(): (f"left_{name}", f"right_{name}")
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}

# Keypoints and centers count pixels from 1, as Matlab does.
FIRST_PIXEL = 1
SIDE = 200  # pixels of a person's box at scale 1
DOWN = 15  # pixels at scale 1 that the box is moved down, so that no feet are cut off
HEAD_BOX_SHARE = 0.6  # SC_BIAS
MISSING = -1  # center and scale of a person without them
SCALES = (1e-3, 1e3)
SMALLEST_HEAD = 1  # pixels: anything smaller cannot be an annotated head
LARGEST_BOX = 20  # times the extent of the keypoints; MPII's own are about twice as large

_PROTOCOL = (
    "PCKh: share of the labelled keypoints that are within 0.5 (or 0.1) head sizes of the true place, over all "
    "keypoints but pelvis and thorax; Head to Ankle: at 0.5, mean of left and right. A person's crop comes from center "
    "and scale as in HRNet: a square of 200 x scale pixels, moved down by 15 x scale, then padded as the model "
    "requires. For a model with COCO's 17 keypoints, the common ones count: shoulders, elbows, wrists, hips, knees, "
    "ankles. "
)
_KEYPOINTS_OF = "PCKh needs those of MPII (16) or COCO (17)"
_HEAD_BOXES = "The head size is 0.6 times the diagonal of the head box (headboxes_src)."
_HEAD_SEGMENT = (
    "The head size is the distance of head_top and upper_neck, which is what 0.6 times the diagonal of the head box "
    "stands for; people without these two keypoints are left out."
)


def _scale(scale: float) -> float:
    if scale != MISSING and not SCALES[0] <= scale <= SCALES[1]:
        raise ValueError(f"a scale is between {SCALES[0]} and {SCALES[1]}, or {MISSING} where it is missing")
    return scale


class _Annotation(Entry):
    image: FileName
    center: tuple[Pixels, Pixels]
    scale: Annotated[float, AfterValidator(_scale)]
    joints: Annotated[list[tuple[Pixels, Pixels]], Field(min_length=KEYPOINTS, max_length=KEYPOINTS)]
    joints_vis: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=KEYPOINTS, max_length=KEYPOINTS)]

    @property
    def is_placed(self) -> bool:
        """Whether the annotation says where the person is."""
        return MISSING not in {self.center[0], self.scale}


class _Annotations(RootModel[Annotated[list[_Annotation], Field(min_length=1)]]):
    pass


class _HeadBoxes(Entry):
    headboxes_src: list[list[list[float]]]


class MpiiDataset:
    """MPII's annotations in the JSON that HRNet, mmpose and PaddleDetection share, and the folder of the images.

    Example:
        >>> import json, tempfile
        >>> keypoints = {"joints": [[10 * number, 50] for number in range(16)], "joints_vis": [1] * 16}
        >>> person = {"image": "basketball.png", "center": [101, 101], "scale": 1, **keypoints}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mpii.json")
        ...     _ = path.write_text(json.dumps([person]))
        ...     dataset = MpiiDataset(path, Path("examples"))
        >>> [one.box for one in dataset.images[0].given]
        [(0.0, 15.0, 200.0, 215.0)]
    """

    title = "MPII"
    threshold = 0.0

    def __init__(self, annotations: Path, images: Path, headboxes: Path | None = None) -> None:
        """Read and check the annotations.

        Args:
            annotations: JSON, a list of ``{image, center, scale, joints [16][2], joints_vis [16]}``; center and joints
                in pixels from 1, scale in 200 pixels.
            images: folder of the images; missing files are left out.
            headboxes: ``.mat`` (needs SciPy) or ``.json`` with ``headboxes_src`` ``[2, 2, N]``: upper left and lower
                right corner, x and y, for each annotation. None: head sizes come from head_top and upper_neck.

        Raises:
            InputError: a file is invalid; the message names the file and the field.
            ConfigError: SciPy is needed and not installed.
        """
        self._coco = list(load_skeleton(COCO).keypoints)
        self._people = parse(_Annotations, read_json(annotations), str(annotations), InputError).root
        self._truth = np.array([one.joints for one in self._people], np.float64) - FIRST_PIXEL
        self._labelled = np.array([one.joints_vis for one in self._people]) > 0
        self._check_places(annotations)
        self._heads = self._head_segments() if headboxes is None else _head_sizes(headboxes, len(self._people))
        self.protocol = _PROTOCOL + (_HEAD_SEGMENT if headboxes is None else _HEAD_BOXES)
        names = dict.fromkeys(one.image for one in self._people)
        there = existing(images, names)
        measured = [size >= SMALLEST_HEAD and self._counted(number).any() for number, size in enumerate(self._heads)]
        given: dict[str, list[Person]] = defaultdict(list)
        for number, one in enumerate(self._people):
            if measured[number] and one.is_placed:
                given[one.image].append(Person(_box(one), annotation=number))
        if not given:
            raise InputError(
                f"{annotations}: none of its {len(self._people)} people can be measured: that needs center, scale, a "
                f"head size of at least {SMALLEST_HEAD} pixel and a labelled keypoint"
            )
        self.images = [
            DatasetImage(number, images / name, None, given[name]) for number, name in enumerate(names) if name in there
        ]
        left_out = {
            "images without a file": [number for number, name in enumerate(names) if name not in there],
            "people without a head size or a labelled keypoint": [
                number for number, is_measured in enumerate(measured) if not is_measured
            ],
            "people without center or scale": [
                number for number, one in enumerate(self._people) if measured[number] and not one.is_placed
            ],
        }
        self.counts = {what: len(numbers) for what, numbers in left_out.items() if numbers}
        self._warnings = [
            f"left out: {len(numbers)} {what}, number {listed(numbers)} (from 0)"
            for what, numbers in left_out.items()
            if numbers
        ]
        self._warnings += self._doubts()

    def check(self, predictor: Predictor) -> list[str]:
        """Check, before any image is predicted, that this predictor's keypoints can be measured.

        Returns:
            Warnings about the figures, a sentence each.

        Raises:
            ConfigError: the model has neither COCO's nor MPII's keypoints.
        """
        if predictor.pipelines[0].skeleton:
            require_keypoints(predictor, [SKELETON.keypoints, self._coco], _KEYPOINTS_OF)
        return self._warnings

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """PCKh of the predicted people.

        Returns:
            Percent: ``PCKh@0.5``, ``PCKh@0.1``, and the keypoints at 0.5 from ``Head`` to ``Ankle``; None for those
            that the model does not have.

        Raises:
            ConfigError: the model has neither COCO's nor MPII's keypoints.
        """
        del predictor
        people = [person for people in predictions.values() for person in people]
        if not people:
            return dict.fromkeys([f"PCKh@{limit}" for limit in LIMITS] + list(GROUPS))
        numbers = [_number(person) for person in people]
        found = np.stack([_mpii_keypoints(person.keypoints, self._coco) for person in people])
        counts = np.stack([self._counted(number) for number in numbers]) & np.isfinite(found).all(axis=-1)
        distances = head_distances(self._truth[numbers], found, self._heads[numbers])
        totals = counts.sum(axis=0)
        means = {f"PCKh@{limit}": _percent(((distances <= limit) & counts).sum(), totals.sum()) for limit in LIMITS}
        hits = ((distances <= LIMITS[0]) & counts).sum(axis=0)
        by_keypoint = [_percent(hit, total) for hit, total in zip(hits, totals, strict=True)]
        return means | {name: _group(by_keypoint, members) for name, members in GROUPS.items()}

    def cases(self, predictions: Predictions) -> list[Case]:
        """The predicted people with the share of their keypoints within half a head size."""
        paths = {image.number: image.path for image in self.images}
        return [self._case(paths[image], person) for image, people in predictions.items() for person in people]

    def _case(self, path: Path, person: Person) -> Case:
        number = _number(person)
        found = _mpii_keypoints(person.keypoints, self._coco)
        counts = self._counted(number) & np.isfinite(found).all(axis=-1)
        distances = head_distances(self._truth[number], found, self._heads[number])[counts]
        truth = np.column_stack([self._truth[number], self._labelled[number]]).astype(np.float32)
        pairs = np.stack([truth[:, :2], found], axis=1)[counts].astype(np.float32)
        share = float((distances <= LIMITS[0]).mean()) if counts.any() else 0.0
        error = float(distances.mean()) if counts.any() else np.inf
        return Case(path, number, "PCKh", share, error, person.box, truth, SKELETON, person.keypoints, pairs)

    def _counted(self, number: int) -> NDArray[np.bool_]:
        """Which keypoints of a person count: ``[16]``."""
        counted: NDArray[np.bool_] = self._labelled[number] & [name not in NOT_COUNTED for name in SKELETON.keypoints]
        return counted

    def _check_places(self, annotations: Path) -> None:
        """Refuse centers and scales in other units than the keypoints: the crops would be wrong."""
        people = [number for number, one in enumerate(self._people) if one.is_placed and self._labelled[number].any()]
        if len(people) < MANY:
            return
        points, labelled = self._truth[people], self._labelled[people]
        boxes = np.array([_box(self._people[number]) for number in people]).reshape(-1, 1, 2, 2)
        inside = ((points >= boxes[:, :, 0]) & (points <= boxes[:, :, 1])).all(axis=-1) & labelled
        extents = np.array([np.ptp(one[which], axis=0).max() for one, which in zip(points, labelled, strict=True)])
        too_large = np.ptp(boxes[:, 0, :, 0], axis=-1) > LARGEST_BOX * extents
        if inside.sum() < labelled.sum() / 2 or too_large.mean() > 0.5:
            raise InputError(
                f"{annotations}: center and scale do not frame the keypoints, those of people number {listed(people)} "
                f"(from 0); give center and joints in pixels of the image, and scale in {SIDE} pixels"
            )

    def _doubts(self) -> list[str]:
        """Probable mistakes: labelled keypoints at the coordinates that mark missing ones."""
        missing = np.isin(self._truth + FIRST_PIXEL, (MISSING, 0)).all(axis=-1)
        people = np.flatnonzero((missing & self._labelled).any(axis=1)).tolist()
        message = "a keypoint at 0, 0 or -1, -1 is labelled; set joints_vis to 0 if it is missing"
        return [f"people number {listed(people)} (from 0): {message}"] if people else []

    def _head_segments(self) -> NDArray[np.float64]:
        """Distance of head_top and upper_neck, ``[N]`` pixels; 0 where one of them is not labelled."""
        both = self._labelled[:, HEAD_TOP] & self._labelled[:, UPPER_NECK]
        return np.asarray(both * np.linalg.norm(self._truth[:, HEAD_TOP] - self._truth[:, UPPER_NECK], axis=-1))


def head_distances(truth: NDArray[Any], found: NDArray[Any], heads: NDArray[Any]) -> NDArray[np.float64]:
    """Distance of keypoints from their true positions.

    Args:
        truth: ``[..., K, 2]`` pixels.
        found: the same.
        heads: ``[...]`` size of each person's head, pixels.

    Returns:
        ``[..., K]`` in head sizes.

    Example:
        >>> head_distances(np.array([[[0, 0], [9, 0]]]), np.array([[[3, 4], [9, 0]]]), np.array([10.0])).tolist()
        [[0.5, 0.0]]
    """
    distances: NDArray[np.float64] = np.linalg.norm(found - truth, axis=-1) / heads[..., None]
    return distances


def _number(person: Person) -> int:
    assert person.annotation is not None  # this dataset gives the boxes of all people
    return person.annotation


def _mpii_keypoints(found: NDArray[np.float32], coco: Sequence[str]) -> NDArray[np.float64]:
    """Keypoints of a model in MPII's order, ``[16, 2]``; NaN for those that it does not have."""
    names = {KEYPOINTS: SKELETON.keypoints, len(coco): coco}.get(len(found))
    if names is None:
        raise ConfigError(f"the model has {len(found)} keypoints, but {_KEYPOINTS_OF}")
    places = [names.index(name) if name in names else -1 for name in SKELETON.keypoints]
    return np.where(np.array(places)[:, None] < 0, np.nan, found[places, :2].astype(np.float64))


def _box(one: _Annotation) -> Box:
    x, y = one.center
    middle = (x - FIRST_PIXEL, y + DOWN * one.scale - FIRST_PIXEL)
    half = SIDE * one.scale / 2
    return middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half


def _head_sizes(path: Path, count: int) -> NDArray[np.float64]:
    """0.6 times the diagonals of the head boxes, ``[count]`` pixels."""
    if path.suffix == ".mat":
        content = _read_mat(path)
    else:
        content = parse(_HeadBoxes, read_json(path), str(path), InputError).headboxes_src
    try:
        boxes = np.asarray(content, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: headboxes_src is not an array of numbers") from error
    if boxes.shape != (2, 2, count):
        raise InputError(f"{path}: headboxes_src has shape {boxes.shape} instead of (2, 2, {count}), one per person")
    if not np.isfinite(boxes).all():
        raise InputError(f"{path}: headboxes_src has values that are not finite")
    return np.asarray(HEAD_BOX_SHARE * np.linalg.norm(boxes[1] - boxes[0], axis=0))


def _read_mat(path: Path) -> Any:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigError(f'{path}: SciPy is not installed ({error}): pip install "hpi-pose[evaluate]"') from error
    try:
        return loadmat(str(path))["headboxes_src"]
    except KeyError as error:
        raise InputError(f"{path}: has no headboxes_src") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file fails anywhere in SciPy's reader
        raise InputError(f"{path}: not a Matlab file that SciPy reads: {error}") from error


def _percent(part: float, whole: float) -> float | None:
    return 100 * float(part) / float(whole) if whole else None


def _group(by_keypoint: list[float | None], members: tuple[str, ...]) -> float | None:
    values = [by_keypoint[SKELETON.keypoints.index(name)] for name in members]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
