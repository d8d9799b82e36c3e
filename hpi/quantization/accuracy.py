"""What INT8 costs a detector, by box AP on annotated images."""

from __future__ import annotations

import numpy as np

from hpi.errors import InputError
from hpi.evaluation.coco import CocoDataset
from hpi.evaluation.predictions import Person, Predictions
from hpi.instances import Instances
from hpi.models import Model
from hpi.models.int8 import ApLoss
from hpi.pipelines.topdown import people_classes
from hpi.sources import read_items

_HALVES = 20
"""Random halves of the images by which the noise of a difference is measured."""


def people_in(model: Model, dataset: CocoDataset) -> Predictions:
    """The people that a detector finds in the images of a dataset.

    Raises:
        InputError: an image cannot be read.
    """
    classes = people_classes(model.spec.labels, None)
    found: Predictions = {}
    for image in dataset.images:
        (item,) = read_items(str(image.path), one_each=True)
        if isinstance(item.image, InputError):
            raise item.image
        (people,) = model.run([item.image], threshold=dataset.threshold)
        found[image.number] = _people(people, classes)
    return found


def box_ap(found: Predictions, dataset: CocoDataset) -> float:
    """AP, percent.

    Raises:
        InputError: nobody is annotated.
    """
    ap = dataset.box_figures(found)["AP"]
    if ap is None:
        raise InputError("AP: nobody is annotated in the images; give annotations of people")
    return ap


def ap_loss(expected: Predictions, found: Predictions, dataset: CocoDataset) -> ApLoss:
    """The difference of AP, and its standard error.

    The error is the spread of the difference over random halves of the images (the jackknife that leaves out half).
    """
    rng, images = np.random.default_rng(0), sorted(found)
    halves = [rng.choice(images, len(images) // 2, replace=False).tolist() for _ in range(_HALVES)]
    differences = [
        box_ap({image: expected[image] for image in half}, dataset)
        - box_ap({image: found[image] for image in half}, dataset)
        for half in halves
    ]
    points = box_ap(expected, dataset) - box_ap(found, dataset)
    error = float(np.std(differences, ddof=1))
    return ApLoss(points=round(points, 2), how=f"measured on {len(images)} annotated images, give or take {error:.1f}")


def _people(found: Instances, classes: frozenset[int] | None) -> list[Person]:
    assert found.boxes is not None and found.class_ids is not None  # what a detector finds
    return [
        Person((float(x1), float(y1), float(x2), float(y2)), float(score))
        for (x1, y1, x2, y2), score, label in zip(found.boxes, found.scores, found.class_ids, strict=True)
        if classes is None or int(label) in classes
    ]
