"""COCO: keypoint AP by OKS and person box AP, both by pycocotools, which is COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, RootModel

from hpi.errors import ConfigError, InputError
from hpi.evaluation.annotations import Entry, FileName, Pixels, Size, check_unique, existing, read_json
from hpi.evaluation.predictions import Box, Case, Figures, Person, Photo, Predictions
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.predictor import Predictor
from hpi.validation import parse
from hpi.zoo import Skeleton, Zoo

KEYPOINT_FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
"""What pycocotools calls ``stats``, in its order."""

JOINTS = 17
JOINT_SCORE_ABOVE = 0.2

# How far annotators are apart for each joint, relative to the person's size (cocodataset.org/#keypoints-eval).
SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64) / 1000
)  # fmt: skip

Boxes = Literal["gt", "detector"] | Path

_KEYPOINTS = (
    "Keypoints: AP and AR over OKS 0.50:0.95, at most 20 people a photo. {boxes} A person's score is {score}the mean "
    "of the joint scores above 0.2 (0 when none); no OKS-NMS."
)
_BOXES = "Boxes: everything that the detector finds, as category person, at most 100 a photo."
_GIVEN = (
    "One result for each annotated person with num_keypoints > 0 that is not a crowd, from a crop of the ground-truth "
    "box."
)
_FILE = "The boxes of a file of detections. In pictures, whatever fits a person best."
_FOUND = "The boxes that the pipeline's detector finds, with any score. In pictures, whatever fits a person best."


class _Image(Entry):
    id: int
    file_name: FileName
    width: Size
    height: Size


class _Annotation(Entry):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    area: Annotated[float, Field(ge=0, le=1e10)]
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0
    num_keypoints: Annotated[int, Field(ge=0)]
    keypoints: Annotated[list[Pixels], Field(min_length=3 * JOINTS, max_length=3 * JOINTS)]


class _Category(Entry):
    id: int
    name: str


class _Annotations(Entry):
    images: Annotated[list[_Image], Field(min_length=1)]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Detection(Entry):
    image_id: int
    category_id: int
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    score: Annotated[float, Field(ge=0, le=1)]


class _Detections(RootModel[list[_Detection]]):
    pass


class CocoDataset:
    """COCO's keypoint annotations (``person_keypoints_val2017.json``) and the folder of their images."""

    title = "COCO"

    def __init__(self, annotations: Path, images: Path, boxes: Boxes = "gt") -> None:
        """Read and check the annotations.

        Args:
            annotations: COCO's JSON with ``images``, ``annotations`` and ``categories``.
            images: folder of the files that they name; those that are not there are left out.
            boxes: whose joints to find: ``"gt"``, the annotated people; ``"detector"``, those that the pipeline finds;
                or a JSON file of COCO's detection results, ``[{image_id, category_id, bbox, score}, ...]`` with
                bbox (x, y, width, height).

        Raises:
            InputError: a file is not what it should be; the message names file and field.
        """
        self._path = annotations
        self._content = parse(_Annotations, read_json(annotations), str(annotations), InputError)
        self._check()
        self._person = self._person_category()
        self._people: dict[int, list[_Annotation]] = defaultdict(list)
        for one in self._content.annotations:
            if one.category_id == self._person and one.num_keypoints and not one.iscrowd:
                self._people[one.image_id].append(one)
        self.counts: dict[str, int] = {}
        self.protocol = _protocol(boxes)
        given = self._given(boxes)
        there = existing(images, [image.file_name for image in self._content.images])
        self._count("photos without a file", sum(image.file_name not in there for image in self._content.images))
        self.photos = [
            Photo(
                image.id,
                images / image.file_name,
                (image.width, image.height),
                None if given is None else self._inside(image, given),
            )
            for image in sorted(self._content.images, key=lambda image: image.id)
            if image.file_name in there
        ]

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """Keypoint figures where the predictor has a keypoint model, and those of the boxes where it has a detector.

        Returns:
            Percent: :data:`KEYPOINT_FIGURES`, and :data:`BOX_FIGURES` with ``box`` before their names.

        Raises:
            ConfigError: the keypoint model has other joints than COCO's.
        """
        figures = self.keypoint_figures(predictions) if predictor.estimator else {}
        if predictor.detector:
            figures |= {f"box {name}": value for name, value in self.box_figures(predictions).items()}
        return figures

    def keypoint_figures(self, predictions: Predictions) -> Figures:
        """Keypoint AP and AR of the photos that predictions are of, percent."""
        results = [
            {
                "image_id": photo,
                "category_id": self._person,
                "keypoints": _coco_joints(person.joints).astype(float).ravel().tolist(),
                "score": person.score * mean_joint_score(person.joints),
            }
            for photo, people in predictions.items()
            for person in people
        ]
        return self._summary("keypoints", KEYPOINT_FIGURES, results, list(predictions))

    def box_figures(self, predictions: Predictions) -> Figures:
        """Box AP and AR of the photos that predictions are of, percent."""
        results = []
        for photo, people in predictions.items():
            for person in people:
                x1, y1, x2, y2 = person.box
                rectangle = [x1, y1, x2 - x1, y2 - y1]
                results.append(
                    {"image_id": photo, "category_id": self._person, "bbox": rectangle, "score": person.score}
                )
        return self._summary("bbox", BOX_FIGURES, results, list(predictions))

    def cases(self, predictions: Predictions) -> list[Case]:
        """The annotated people with their OKS: of their own result, or of the best one where a detector found it."""
        skeleton = Zoo.default().skeleton_of("")  # COCO's: that of a model that is not known
        paths = {photo.number: photo.path for photo in self.photos}
        return [
            _case(paths[photo], annotation, people, skeleton)
            for photo, people in predictions.items()
            for annotation in self._people[photo]
        ]

    def _check(self) -> None:
        images = [image.id for image in self._content.images]
        check_unique("image id", images, self._path)
        check_unique("annotation id", (one.id for one in self._content.annotations), self._path)
        names = [image.file_name for image in self._content.images]
        if len(set(names)) < len(names):
            raise InputError(f"{self._path}: two images have the same file_name")
        known = set(images)
        for one in self._content.annotations:
            if one.image_id not in known:
                raise InputError(f"{self._path}: annotation {one.id} is for image {one.image_id}, which is not listed")
            if bool(one.num_keypoints) != any(flag > 0 for flag in one.keypoints[2::3]):
                raise InputError(f"{self._path}: annotation {one.id}: num_keypoints does not fit its keypoints")

    def _person_category(self) -> int:
        for category in self._content.categories:
            if category.name == "person":
                return category.id
        raise InputError(f"{self._path}: no category is named 'person'")

    def _count(self, what: str, number: int) -> None:
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    def _given(self, boxes: Boxes) -> dict[int, list[Person]] | None:
        """The people whose joints to find, for each image; None: those that the pipeline finds."""
        if boxes == "detector":
            return None
        given: dict[int, list[Person]] = defaultdict(list)
        if isinstance(boxes, Path):
            for detection in self._detections(boxes):
                given[detection.image_id].append(Person(_corners(detection.bbox), detection.score))
        else:
            for image, people in self._people.items():
                given[image] = [Person(_corners(one.bbox), annotation=one.id) for one in people]
        return given

    def _detections(self, path: Path) -> list[_Detection]:
        content = parse(_Detections, read_json(path), str(path), InputError).root
        images = {image.id for image in self._content.images}
        used = [one for one in content if one.image_id in images and one.category_id == self._person]
        if content and not used:
            raise InputError(f"{path}: none of its {len(content)} boxes is of a person in a photo of {self._path}")
        self._count("boxes of other photos or categories", len(content) - len(used))
        return used

    def _inside(self, image: _Image, given: dict[int, list[Person]]) -> list[Person]:
        """The people whose boxes have an area inside the image: only from these can a crop be made."""
        people = given.get(image.id, [])
        boxes = np.array([person.box for person in people], np.float32).reshape(-1, 4)
        solid = has_area(clip_boxes(boxes, image.width, image.height))
        inside = [person for person, is_solid in zip(people, solid, strict=True) if is_solid]
        self._count("people whose box has no area inside the photo", len(people) - len(inside))
        return inside

    def _summary(
        self, kind: str, names: Sequence[str], results: list[dict[str, Any]], photos: Sequence[int]
    ) -> Figures:
        coco, evaluator = _pycocotools()
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _indexed(coco, self._content.model_dump(mode="json"))  # pycocotools wants lists
            nothing = {**truth.dataset, "annotations": []}
            found = truth.loadRes(results) if results else _indexed(coco, nothing)
            evaluation = evaluator(truth, found, kind)
            evaluation.params.catIds = [self._person]
            evaluation.params.imgIds = list(photos)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = (float(value) for value in evaluation.stats)
        # -1 stands for "nobody of this size is annotated".
        return {name: None if value < 0 else 100 * value for name, value in zip(names, stats, strict=True)}


def mean_joint_score(joints: NDArray[np.float32]) -> float:
    """Mean of the scores above 0.2 of joints ``[K, 3]``; 0 when there is none."""
    scores = joints[:, 2]
    confident = scores[scores > JOINT_SCORE_ABOVE]
    return float(confident.mean()) if confident.size else 0.0


def oks(truth: NDArray[Any], area: float, found: NDArray[Any]) -> NDArray[np.float64]:
    """Object keypoint similarity, as COCO defines it.

    Args:
        truth: ``[17, 3]``: x, y in pixels, and above 0 for labelled joints, of which there must be one.
        area: of the person's segment, square pixels.
        found: ``[N, 17, 3]`` or ``[N, 17, 2]``, pixels.

    Returns:
        ``[N]`` in [0, 1].
    """
    squared = ((found[..., :2].astype(np.float64) - truth[:, :2]) ** 2).sum(axis=-1)
    exponent = squared / (2 * SIGMAS) ** 2 / (area + np.spacing(1)) / 2
    similarity: NDArray[np.float64] = np.exp(-exponent)[:, truth[:, 2] > 0].mean(axis=1)
    return similarity


def _case(path: Path, annotation: _Annotation, people: Sequence[Person], skeleton: Skeleton) -> Case:
    labelled = np.array(annotation.keypoints, np.float32).reshape(JOINTS, 3)
    truth = np.concatenate([labelled[:, :2], labelled[:, 2:] > 0], axis=1, dtype=np.float32)
    candidates = [person.joints for person in people if person.annotation in {None, annotation.id}]
    value, error, found, pairs = 0.0, np.inf, None, np.empty((0, 2, 2), np.float32)
    if candidates:
        similarity = oks(truth, annotation.area, np.stack([_coco_joints(joints) for joints in candidates]))
        best = int(similarity.argmax())
        value, found = float(similarity[best]), candidates[best]
        pairs = np.stack([truth[:, :2], found[:, :2]], axis=1)[truth[:, 2] > 0]
        distance = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=-1).mean()
        error = float(distance / np.sqrt(annotation.area + 1))
    return Case(path, annotation.id, "OKS", value, error, _corners(annotation.bbox), truth, skeleton, found, pairs)


def _coco_joints(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(joints) != JOINTS:
        raise ConfigError(f"the model has {len(joints)} joints, but OKS is defined for COCO's {JOINTS}")
    return joints


def _protocol(boxes: Boxes) -> str:
    if boxes == "gt":
        return _KEYPOINTS.format(boxes=_GIVEN, score="")
    told = _KEYPOINTS.format(boxes=_FOUND if boxes == "detector" else _FILE, score="the score of the box times ")
    return f"{told}\n\n{_BOXES}" if boxes == "detector" else told


def _corners(rectangle: tuple[float, float, float, float]) -> Box:
    x, y, width, height = rectangle
    return x, y, x + width, y + height


def _indexed(coco: Any, content: dict[str, Any]) -> Any:
    truth = coco()
    truth.dataset = content
    truth.createIndex()
    return truth


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ConfigError(f'pycocotools is not installed ({error}): pip install "hpi-pose[evaluate]"') from error
    return COCO, COCOeval
