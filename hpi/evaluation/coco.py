"""COCO: keypoint AP by OKS and person box AP, both by pycocotools, which is COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io
import reprlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, RootModel

from hpi.errors import ConfigError, InputError
from hpi.evaluation.annotations import Entry, Pixels, existing, read_json
from hpi.evaluation.coco_checks import Findings, Use, are_corners, are_fractions, examine, ids, several
from hpi.evaluation.coco_file import Annotation, CocoFile, Image
from hpi.evaluation.predictions import Box, Case, Figures, Person, Photo, Predictions, require_keypoints
from hpi.instances import Skeleton
from hpi.io.validation import parse
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.predictor import Predictor
from hpi.skeletons import COCO, load_skeleton

KEYPOINT_FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
"""What pycocotools calls ``stats``, in its order."""

JOINTS = 17
_CATEGORY = 1
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
            InputError: a file is not what it should be, or figures from it would be wrong; the message names file,
                ids and remedy.
            ConfigError: pycocotools is not installed.
        """
        _pycocotools()
        self._path = annotations
        self._file = CocoFile.read(annotations).of_people()
        self._findings: dict[Use, Findings] = {}
        self._use: Use = "boxes" if boxes == "detector" else "keypoints"
        self._require(self._use)
        self._people: dict[int, list[Annotation]] = defaultdict(list)
        for one in self._file.annotations:
            if one.is_measured:
                self._people[one.image_id].append(one)
        self.counts: dict[str, int] = {}
        self._warnings: list[str] = []
        self.protocol = _protocol(boxes)
        there = existing(images, [image.name for image in self._file.images])
        missing = [image.id for image in self._file.images if image.name not in there]
        self._leave_out("photos without a file", ids("image", missing), len(missing))
        found = sorted((image for image in self._file.images if image.name in there), key=lambda image: image.id)
        given = self._given(boxes, found)
        self.photos = [
            Photo(image.id, images / image.name, (image.width, image.height), of_image)
            for image, of_image in zip(found, given, strict=True)
        ]

    def check(self, predictor: Predictor) -> list[str]:
        """Look, before the work, whether this predictor's figures can be had.

        Returns:
            What makes the figures other than one might expect, a sentence each.

        Raises:
            InputError: the annotations do not do for them.
            ConfigError: the keypoint model has other joints than COCO's.
        """
        use: Use = "keypoints" if predictor.estimator else self._use
        warnings = self._require(use)
        if predictor.estimator:
            require_keypoints(predictor.estimator, [_coco_names()], f"OKS is defined for COCO's {JOINTS}")
        return warnings + self._warnings

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
        self._require("keypoints")
        results = [
            {
                "image_id": photo,
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
                results.append({"image_id": photo, "bbox": rectangle, "score": person.score})
        return self._summary("bbox", BOX_FIGURES, results, list(predictions))

    def cases(self, predictions: Predictions) -> list[Case]:
        """The annotated people with their OKS: of their own result, or of the best one where a detector found it."""
        skeleton = load_skeleton(COCO)
        paths = {photo.number: photo.path for photo in self.photos}
        return [
            _case(paths[photo], annotation, people, skeleton)
            for photo, people in predictions.items()
            for annotation in self._people[photo]
        ]

    def _require(self, use: Use) -> list[str]:
        """Refuse the annotations where they do not do for these figures; what else there is to say of them."""
        if use not in self._findings:
            self._findings[use] = examine(self._file, use)
        found = self._findings[use]
        if found.problems:
            raise InputError(several(found.problems, str(self._path)))
        return found.warnings

    def _leave_out(self, what: str, which: str, count: int) -> None:
        if count:
            self.counts[what] = count
            self._warnings.append(f"left out: {count} {what}, {which}")

    def _given(self, boxes: Boxes, images: Sequence[Image]) -> Sequence[list[Person] | None]:
        """The people of each image whose joints to find; None: those that the pipeline finds."""
        if boxes == "detector":
            return [None] * len(images)
        given: dict[int, list[Person]] = defaultdict(list)
        if isinstance(boxes, Path):
            for detection in self._detections(boxes, images):
                given[detection.image_id].append(Person(_corners(detection.bbox), detection.score))
        else:
            for image, people in self._people.items():
                given[image] = [Person(one.corners, annotation=one.id) for one in people]
        return self._croppable(images, given)

    def _detections(self, path: Path, there: Sequence[Image]) -> list[_Detection]:
        raw = read_json(path)
        content = parse(_Detections, raw, str(path), InputError, owner=lambda place: _owner(raw, place)).root
        images, categories = self._file.image_of, self._file.person_categories
        used = [one for one in content if one.image_id in images and one.category_id in categories]
        other = [one for one in content if one.image_id not in images or one.category_id not in categories]
        which = (
            f"{ids('image', (one.image_id for one in other))}, {ids('category', (one.category_id for one in other))}"
        )
        if content and not used:
            raise InputError(
                f"{path}: none of its {len(content)} boxes is of a person in a photo of {self._path}: they are of "
                f"{which}, and people have {ids('category', categories)}"
            )
        self._leave_out("boxes of other photos or categories", which, len(other))
        _check_boxes(path, used, images)
        of_images = {one.image_id for one in used}
        without = [image.id for image in there if image.id in self._people and image.id not in of_images]
        if without:
            count = sum(len(self._people[image]) for image in without)
            self._warnings.append(f"{path.name} has no box for {ids('image', without)}: {count} people count as missed")
        return used

    def _croppable(self, images: Sequence[Image], given: Mapping[int, Sequence[Person]]) -> list[list[Person]]:
        """The people of each image whose boxes have an area inside it: only from these can a crop be made."""
        found: list[list[Person]] = []
        lost: list[int] = []
        for image in images:
            people = given.get(image.id, [])
            boxes = np.array([person.box for person in people], np.float32).reshape(-1, 4)
            solid = has_area(clip_boxes(boxes, image.width, image.height))
            found.append([person for person, is_solid in zip(people, solid, strict=True) if is_solid])
            lost += [image.id] * (len(people) - len(found[-1]))
        which = f"{ids('image', lost)}; those of them who are annotated count as missed"
        self._leave_out("people whose box has no area inside the photo", which, len(lost))
        return found

    def _summary(
        self, kind: str, names: Sequence[str], results: list[dict[str, Any]], photos: Collection[int]
    ) -> Figures:
        """Figures by pycocotools, which sees ids of our own: it takes an annotation's id 0 for "no match"."""
        coco, evaluator = _pycocotools()
        numbers = {photo: number for number, photo in enumerate(sorted(photos), 1)}
        results = [{**one, "image_id": numbers[one["image_id"]], "category_id": _CATEGORY} for one in results]
        content = self._truth(numbers)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _indexed(coco, content)
            found = truth.loadRes(results) if results else _indexed(coco, {**content, "annotations": []})
            evaluation = evaluator(truth, found, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = (float(value) for value in evaluation.stats)
        # -1 stands for "nobody of this size is annotated".
        return {name: None if value < 0 else 100 * value for name, value in zip(names, stats, strict=True)}

    def _truth(self, numbers: Mapping[int, int]) -> dict[str, Any]:
        """The people of some images in COCO's form, with ids from 1 on; ``numbers``: those of the images."""
        people = [one for one in self._file.annotations if one.image_id in numbers]
        return {
            "images": [{"id": number} for number in numbers.values()],
            "categories": [{"id": _CATEGORY}],
            "annotations": [
                {
                    "id": number,
                    "image_id": numbers[one.image_id],
                    "category_id": _CATEGORY,
                    "bbox": one.bbox,
                    "area": one.bbox[2] * one.bbox[3] if one.area is None else one.area,
                    "iscrowd": one.iscrowd or 0,
                    "num_keypoints": len(one.labelled),
                    "keypoints": one.keypoints or [0.0] * (3 * JOINTS),
                }
                for number, one in enumerate(people, 1)
            ],
        }


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


def _case(path: Path, annotation: Annotation, people: Sequence[Person], skeleton: Skeleton) -> Case:
    assert annotation.area is not None  # refused where it is missing
    points = annotation.points
    truth = np.concatenate([points[:, :2], points[:, 2:] > 0], axis=1, dtype=np.float32)
    candidates = [person.joints for person in people if person.annotation in {None, annotation.id}]
    value, error, found, pairs = 0.0, np.inf, None, np.empty((0, 2, 2), np.float32)
    if candidates:
        similarity = oks(truth, annotation.area, np.stack([_coco_joints(joints) for joints in candidates]))
        best = int(similarity.argmax())
        value, found = float(similarity[best]), candidates[best]
        pairs = np.stack([truth[:, :2], found[:, :2]], axis=1)[truth[:, 2] > 0]
        distance = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=-1).mean()
        error = float(distance / np.sqrt(annotation.area + 1))
    return Case(path, annotation.id, "OKS", value, error, annotation.corners, truth, skeleton, found, pairs)


def _coco_joints(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(joints) != JOINTS:
        raise ConfigError(f"the model has {len(joints)} joints, but OKS is defined for COCO's {JOINTS}")
    return joints


def _coco_names() -> list[str]:
    return list(load_skeleton(COCO).keypoints)


def _protocol(boxes: Boxes) -> str:
    if boxes == "gt":
        return _KEYPOINTS.format(boxes=_GIVEN, score="")
    told = _KEYPOINTS.format(boxes=_FOUND if boxes == "detector" else _FILE, score="the score of the box times ")
    return f"{told}\n\n{_BOXES}" if boxes == "detector" else told


def _corners(rectangle: tuple[float, float, float, float]) -> Box:
    x, y, width, height = rectangle
    return x, y, x + width, y + height


def _check_boxes(path: Path, detections: Sequence[_Detection], images: Mapping[int, Image]) -> None:
    """Refuse boxes in another form than COCO's."""
    boxes = np.array([one.bbox for one in detections], np.float64).reshape(-1, 4)
    sizes = [(images[one.image_id].width, images[one.image_id].height) for one in detections]
    which = ids("image", (one.image_id for one in detections))
    if are_fractions(boxes):
        raise InputError(f"{path}: its boxes ({which}) are fractions of the images; give pixels")
    if are_corners(boxes, np.array(sizes, np.float64).reshape(-1, 2)):
        raise InputError(f"{path}: its boxes ({which}) are two corners, x1, y1, x2, y2; give x, y, width, height")


def _owner(raw: Any, place: Sequence[int | str]) -> str:
    """Which image a detection in a file of boxes is of."""
    one = raw[place[0]] if len(place) > 1 else None
    return f" of image id {reprlib.repr(one['image_id'])}" if isinstance(one, dict) and "image_id" in one else ""


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
