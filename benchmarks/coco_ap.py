"""COCO AP of the models on every runtime.

Keypoints: one result for each annotated person with visible joints that is not a crowd, from a crop of the
ground-truth box; a person's score is the mean of the joint scores above 0.2 (0 when there is none). Boxes: all
detections, as category "person".
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.benchmarks.options import Models, Output, name_and_folder
from hpi.benchmarks.report import write_report

PERSON = 1  # COCO's category id
JOINT_SCORE_ABOVE = 0.2


class CocoFolder:
    """A folder with ``person_keypoints.json`` and ``images/``."""

    def __init__(self, folder: Path) -> None:
        from pycocotools.coco import COCO

        self._images = folder / "images"
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth = COCO(str(folder / "person_keypoints.json"))

    def photos(self) -> Iterator[tuple[int, str]]:
        """Id and path of each photo."""
        for photo in self.truth.loadImgs(sorted(self.truth.getImgIds())):
            yield photo["id"], str(self._images / photo["file_name"])

    def people(self, photo: int) -> list[dict[str, Any]]:
        """The annotated people of a photo that count for keypoints."""
        found = self.truth.loadAnns(self.truth.getAnnIds(imgIds=[photo], iscrowd=False))
        return [person for person in found if person["num_keypoints"] > 0]

    def average_precision(self, results: list[dict[str, Any]], kind: str) -> dict[str, float]:
        """AP, AP50 and AP75 in percent, by pycocotools; ``kind`` is ``"keypoints"`` or ``"bbox"``."""
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self.truth, self.truth.loadRes(results), kind)
            evaluation.params.catIds = [PERSON]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: 100 * float(value) for name, value in zip(("AP", "AP50", "AP75"), evaluation.stats, strict=False)}


def keypoint_ap(predictor: Predictor, dataset: CocoFolder) -> dict[str, float]:
    """AP of a keypoint model with ground-truth boxes."""
    results = []
    for photo, path in dataset.photos():
        people = dataset.people(photo)
        boxes = [_corners(person["bbox"]) for person in people]
        if boxes:
            found = next(predictor.predict(path, boxes=boxes))["kpts"]
            results += [_keypoint_result(photo, person["keypoints"]) for person in found]
    return dataset.average_precision(results, "keypoints")


def box_ap(predictor: Predictor, dataset: CocoFolder) -> dict[str, float]:
    """AP of a person detector."""
    results = []
    for photo, path in dataset.photos():
        for box in next(predictor.predict(path, threshold=0))["boxes"]:
            x1, y1, x2, y2 = (float(value) for value in box["coordinate"])
            rectangle = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": photo, "category_id": PERSON, "bbox": rectangle, "score": box["score"]})
    return dataset.average_precision(results, "bbox")


def _corners(rectangle: list[float]) -> list[float]:
    x, y, width, height = rectangle
    return [x, y, x + width, y + height]


def _keypoint_result(photo: int, keypoints: NDArray[np.float32]) -> dict[str, Any]:
    scores = keypoints[:, 2]
    confident = scores[scores > JOINT_SCORE_ABOVE]
    return {
        "image_id": photo,
        "category_id": PERSON,
        "keypoints": keypoints.astype(float).ravel().tolist(),
        "score": float(confident.mean()) if confident.size else 0.0,
    }


def main(
    dataset: Annotated[Path, typer.Argument(help="Folder with person_keypoints.json and images/.")],
    model: Models,
    backend: Annotated[list[str], typer.Option(help="Repeat for several; by default all.")] = [],  # noqa: B006
    output: Output = None,
) -> None:
    """COCO AP of models on every runtime; keypoint models also with flip."""
    folder = CocoFolder(dataset)
    rows = []
    runs = [(entry, name) for entry in model for name in backend or BACKENDS]
    for entry, backend_name in track(runs, description="models", console=Console(stderr=True)):
        rows += _measure(entry, backend_name, folder)
    table = _table(rows)
    Console().print(table)
    if output is not None:
        write_report(output, "COCO AP", __doc__ or "", HEADINGS, [_cells(row) for row in rows], rows)


def _measure(entry: str, backend: str, folder: CocoFolder) -> list[dict[str, Any]]:
    name, model_dir = name_and_folder(entry)
    rows = []
    for flip in (False, True):
        with Predictor(name, model_dir=model_dir, backend=backend, flip=flip or None) as predictor:
            keypoints = predictor.describe()["models"][0]["task"] == "keypoint_detection"
            score = keypoint_ap(predictor, folder) if keypoints else box_ap(predictor, folder)
        kind = "keypoints" if keypoints else "boxes"
        rows.append({"model": name, "backend": backend, "flip": flip, "kind": kind, **score})
        if not keypoints:
            break
    return rows


HEADINGS = ("model", "backend", "kind", "flip", "AP", "AP50", "AP75")


def _cells(row: dict[str, Any]) -> list[str]:
    figures = (f"{row[name]:.2f}" for name in ("AP", "AP50", "AP75"))
    return [row["model"], row["backend"], row["kind"], "yes" if row["flip"] else "", *figures]


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*_cells(row))
    return table
