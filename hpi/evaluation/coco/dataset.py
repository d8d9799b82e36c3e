"""COCO: keypoint AP by OKS and person box AP, both by pycocotools, which is COCO's own evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError, InputError
from hpi.evaluation.annotations import existing, read_json
from hpi.evaluation.coco.checks import Findings, examine
from hpi.evaluation.coco.checks.finding import Use
from hpi.evaluation.coco.cocoeval import pycocotools, summarize
from hpi.evaluation.coco.detections import Detection, check_boxes, read_detections
from hpi.evaluation.coco.file import Annotation, CocoFile, Image
from hpi.evaluation.coco.oks import mean_keypoint_score, oks
from hpi.evaluation.coco.results_file import keypoint_results
from hpi.evaluation.messages import ids, several
from hpi.evaluation.predictions import (
    Box,
    Case,
    DatasetImage,
    Figures,
    Person,
    Predictions,
    require_keypoints,
)
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.pipelines.base import Pipeline
from hpi.predictor import Predictor
from hpi.skeletons import COCO, load_skeleton

Boxes = Literal["gt", "detector", "model"] | Path

_KEYPOINTS = (
    "Keypoints: AP and AR over OKS 0.50:0.95, at most 20 people per image. {boxes} A person's score is {score}; no "
    "OKS-NMS."
)
_MEAN = "the mean of the keypoint scores above 0.2, or 0 if there is none"
_BOXES = "Boxes: all detections, as category person, at most 100 per image."
_GIVEN = (
    "One result for each annotated person with num_keypoints > 0 that is not a crowd, from a crop of the ground-truth "
    "box."
)
_FILE = "The boxes come from a file of detections. Pictures show the prediction that matches a person best."
_FOUND = (
    "The boxes come from the pipeline's detector, with any score. Pictures show the prediction that matches a person "
    "best."
)
_ALONE = "The model finds people itself, with any score. Pictures show the prediction that matches a person best."


def boxes_of(pipeline: Pipeline) -> Literal["gt", "detector", "model"]:
    """Where the boxes come from by which a model is measured that is not asked otherwise."""
    if not pipeline.detects:
        return "gt"
    return "model" if pipeline.is_bottom_up else "detector"


class CocoDataset:
    """COCO's keypoint annotations (``person_keypoints_val2017.json``) and the folder of their images."""

    title = "COCO"
    threshold = 0.0

    def __init__(self, annotations: Path, images: Path, boxes: Boxes = "gt", *, measured: bool = True) -> None:
        """Read and check the annotations.

        Args:
            annotations: COCO's JSON with ``images``, ``annotations`` and ``categories``.
            images: folder of the files that they name; missing files are left out.
            boxes: where the boxes of the people come from: ``"gt"``, the annotations; ``"detector"``, the
                pipeline's detector; ``"model"``, nowhere: the keypoint model finds people itself; or a JSON file of
                COCO's detection results, ``[{image_id, category_id, bbox, score}, ...]`` with bbox (x, y, width,
                height).
            measured: whether figures are wanted; else the file needs no annotations, unless the boxes are theirs.

        Raises:
            InputError: a file is invalid, or figures from it would be wrong; the message names the file and the ids,
                and says what to do.
            ConfigError: pycocotools is not installed.
        """
        if measured:
            pycocotools()
        self._skeleton = load_skeleton(COCO)
        self._path = annotations
        self._findings: dict[Use, Findings] = {}
        self._finds_people = boxes == "model"
        self._use: Use = "boxes" if boxes == "detector" else "keypoints"
        if not measured and boxes != "gt":
            self._use = "predictions"
        raw = read_json(annotations)
        if self._use == "predictions" and isinstance(raw, dict):
            raw = {"annotations": [], **raw}
        self._file = CocoFile.of(annotations, raw).of_people()
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
        self._leave_out("images without a file", ids("image", missing), len(missing))
        found = sorted((image for image in self._file.images if image.name in there), key=lambda image: image.id)
        given = self._given(boxes, found)
        self.images = [
            DatasetImage(image.id, images / image.name, (image.width, image.height), of_image)
            for image, of_image in zip(found, given, strict=True)
        ]

    def check(self, predictor: Predictor) -> list[str]:
        """Check, before any image is predicted, that this predictor's figures can be computed.

        Returns:
            Warnings about the figures, a sentence each.

        Raises:
            InputError: the annotations are not sufficient for them.
            ConfigError: the keypoint model has other keypoints than COCO's.
        """
        if self._use == "predictions":
            return self._require(self._use) + self._warnings
        use: Use = "keypoints" if predictor.pipelines[0].skeleton else self._use
        warnings = self._require(use)
        if predictor.pipelines[0].skeleton:
            names = self._skeleton.keypoints
            require_keypoints(predictor, [names], f"OKS is defined for COCO's {len(names)}")
        return warnings + self._warnings

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """Keypoint figures if the predictor has a keypoint model, and box figures if it has a detector.

        A model that finds people itself has no boxes of its own to be measured.

        Returns:
            Percent: :data:`hpi.evaluation.coco.cocoeval.KEYPOINT_FIGURES`, and
            :data:`hpi.evaluation.coco.cocoeval.BOX_FIGURES` with their names prefixed by ``box``.

        Raises:
            ConfigError: the keypoint model has other keypoints than COCO's.
        """
        figures = self.keypoint_figures(predictions) if predictor.pipelines[0].skeleton else {}
        if predictor.pipelines[0].detects and not self._finds_people:
            figures |= {f"box {name}": value for name, value in self.box_figures(predictions).items()}
        return figures

    def keypoint_figures(self, predictions: Predictions) -> Figures:
        """Keypoint AP and AR on the predicted images, percent.

        Raises:
            InputError: the annotations are not sufficient for them.
            ConfigError: the predictions have other keypoints than COCO's.
        """
        self._require("keypoints")
        results = [
            {
                "image_id": image,
                "keypoints": self._checked(person.keypoints).astype(float).ravel().tolist(),
                "score": self._score(person),
            }
            for image, people in predictions.items()
            for person in people
        ]
        return summarize("keypoints", self._file.annotations, results, list(predictions))

    def _score(self, person: Person) -> float:
        """What COCO ranks a person by; a model that finds people itself scores them as it should."""
        return person.score if self._finds_people else person.score * mean_keypoint_score(person.keypoints[:, 2])

    def box_figures(self, predictions: Predictions) -> Figures:
        """Box AP and AR on the predicted images, percent."""
        results = []
        for image, people in predictions.items():
            for person in people:
                x1, y1, x2, y2 = person.box
                rectangle = [x1, y1, x2 - x1, y2 - y1]
                results.append({"image_id": image, "bbox": rectangle, "score": person.score})
        return summarize("bbox", self._file.annotations, results, list(predictions))

    def keypoint_results(self, predictions: Predictions, predictor: Predictor) -> list[dict[str, Any]]:
        """The predictions in COCO's results format; see :func:`hpi.evaluation.coco.results_file.keypoint_results`.

        Raises:
            ConfigError: the predictor finds no keypoints.
        """
        pipeline = predictor.pipelines[0]
        if pipeline.skeleton is None:
            raise ConfigError(f"{predictor.name} is a detector: it finds no keypoints to save")
        width, height = pipeline.models[-1].spec.input_size
        (category, *_) = self._file.person_categories
        # A bottom-up model finds nobody twice, and misses keypoints, which OKS would take for equal ones.
        sigmas = None if pipeline.is_bottom_up else pipeline.skeleton.sigmas
        return keypoint_results(predictions, self._score, category, width / height, sigmas)

    def cases(self, predictions: Predictions) -> list[Case]:
        """The annotated people with the OKS of their prediction, or of the best one if a detector found the boxes."""
        paths = {image.number: image.path for image in self.images}
        return [
            self._case(paths[image], annotation, people)
            for image, people in predictions.items()
            for annotation in self._people[image]
        ]

    def _case(self, path: Path, annotation: Annotation, people: Sequence[Person]) -> Case:
        assert annotation.area is not None  # the checks refuse annotations without one
        points = annotation.points
        truth = np.concatenate([points[:, :2], points[:, 2:] > 0], axis=1, dtype=np.float32)
        candidates = [self._checked(one.keypoints) for one in people if one.annotation in {None, annotation.id}]
        value, error, found, pairs = 0.0, np.inf, None, np.empty((0, 2, 2), np.float32)
        if candidates:
            similarity = oks(truth, annotation.area, np.stack(candidates), self._skeleton.sigmas or ())
            best = int(similarity.argmax())
            value, found = float(similarity[best]), candidates[best]
            pairs = np.stack([truth[:, :2], found[:, :2]], axis=1)[truth[:, 2] > 0]
            distance = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=-1).mean()
            error = float(distance / np.sqrt(annotation.area + 1))
        return Case(path, annotation.id, "OKS", value, error, annotation.corners, truth, self._skeleton, found, pairs)

    def _checked(self, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        count = len(self._skeleton)
        if len(keypoints) != count:
            raise ConfigError(f"the model has {len(keypoints)} keypoints, but OKS is defined for COCO's {count}")
        return keypoints

    def _require(self, use: Use) -> list[str]:
        """Refuse annotations that are not sufficient for these figures; else the warnings about them."""
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
        """The people of each image whose keypoints to find; None if the pipeline has to find the people."""
        if boxes in {"detector", "model"}:
            return [None] * len(images)
        given: dict[int, list[Person]] = defaultdict(list)
        if isinstance(boxes, Path):
            for detection in self._detections(boxes, images):
                given[detection.image_id].append(Person(_corners(detection.bbox), detection.score))
        else:
            for image, people in self._people.items():
                given[image] = [Person(one.corners, annotation=one.id) for one in people]
        return self._croppable(images, given)

    def _detections(self, path: Path, there: Sequence[Image]) -> list[Detection]:
        content = read_detections(path)
        images, categories = self._file.image_of, self._file.person_categories
        used = [one for one in content if one.image_id in images and one.category_id in categories]
        other = [one for one in content if one.image_id not in images or one.category_id not in categories]
        which = (
            f"{ids('image', (one.image_id for one in other))}, {ids('category', (one.category_id for one in other))}"
        )
        if content and not used:
            raise InputError(
                f"{path}: none of its {len(content)} boxes belongs to a person in an image of {self._path}: they are "
                f"for {which}, and people have {ids('category', categories)}"
            )
        self._leave_out("boxes of other images or categories", which, len(other))
        check_boxes(path, used, images)
        of_images = {one.image_id for one in used}
        without = [image.id for image in there if image.id in self._people and image.id not in of_images]
        if without:
            count = sum(len(self._people[image]) for image in without)
            self._warnings.append(f"{path.name} has no box for {ids('image', without)}: {count} people count as missed")
        return used

    def _croppable(self, images: Sequence[Image], given: Mapping[int, Sequence[Person]]) -> list[list[Person]]:
        """The people of each image whose boxes overlap it: others cannot be cropped."""
        found: list[list[Person]] = []
        lost: list[int] = []
        for image in images:
            people = given.get(image.id, [])
            boxes = np.array([person.box for person in people], np.float32).reshape(-1, 4)
            solid = has_area(clip_boxes(boxes, image.width, image.height))
            found.append([person for person, is_solid in zip(people, solid, strict=True) if is_solid])
            lost += [image.id] * (len(people) - len(found[-1]))
        which = f"{ids('image', lost)}; annotated people among them count as missed"
        self._leave_out("people whose box has no area inside the image", which, len(lost))
        return found


def _protocol(boxes: Boxes) -> str:
    if boxes == "gt":
        return _KEYPOINTS.format(boxes=_GIVEN, score=_MEAN)
    if boxes == "model":
        return _KEYPOINTS.format(boxes=_ALONE, score="the model's")
    text = _KEYPOINTS.format(
        boxes=_FOUND if boxes == "detector" else _FILE, score=f"the score of the box times {_MEAN}"
    )
    return f"{text}\n\n{_BOXES}" if boxes == "detector" else text


def _corners(rectangle: tuple[float, float, float, float]) -> Box:
    x, y, width, height = rectangle
    return x, y, x + width, y + height
