"""AP and AR by pycocotools, which is COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hpi.errors import ConfigError
from hpi.evaluation.coco.file import KEYPOINTS, Annotation
from hpi.evaluation.predictions import Figures

KEYPOINT_FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
"""What pycocotools calls ``stats``, in its order."""

_CATEGORY = 1
_NAMES = {"keypoints": KEYPOINT_FIGURES, "bbox": BOX_FIGURES}


def summarize(
    kind: str, people: Sequence[Annotation], results: Sequence[Mapping[str, Any]], images: Collection[int]
) -> Figures:
    """The figures of results, percent; None where nobody of that size is annotated.

    pycocotools sees ids of our own: it takes an annotation's id 0 for "no match".

    Args:
        kind: ``"keypoints"`` or ``"bbox"``.
        people: all that are annotated.
        results: in COCO's form, without a category: all are people.
        images: ids of those that count.

    Raises:
        ConfigError: pycocotools is not installed.
    """
    coco, evaluator = pycocotools()
    numbers = {image: number for number, image in enumerate(sorted(images), 1)}
    renumbered = [{**one, "image_id": numbers[one["image_id"]], "category_id": _CATEGORY} for one in results]
    content = _truth(people, numbers)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(coco, content)
        found = truth.loadRes(renumbered) if renumbered else _indexed(coco, {**content, "annotations": []})
        evaluation = evaluator(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = (float(value) for value in evaluation.stats)
    # -1 stands for "nobody of this size is annotated".
    return {name: None if value < 0 else 100 * value for name, value in zip(_NAMES[kind], stats, strict=True)}


def _truth(people: Sequence[Annotation], numbers: Mapping[int, int]) -> dict[str, Any]:
    """The people of some images in COCO's form, with ids from 1 on; ``numbers``: those of the images."""
    counted = [one for one in people if one.image_id in numbers]
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
                "keypoints": one.keypoints or [0.0] * (3 * KEYPOINTS),
            }
            for number, one in enumerate(counted, 1)
        ],
    }


def _indexed(coco: Any, content: dict[str, Any]) -> Any:
    truth = coco()
    truth.dataset = content
    truth.createIndex()
    return truth


def pycocotools() -> tuple[Any, Any]:
    """Its classes ``COCO`` and ``COCOeval``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ConfigError(f'pycocotools is not installed ({error}): pip install "hpi-pose[evaluate]"') from error
    return COCO, COCOeval
