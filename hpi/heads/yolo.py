"""What the heads of Ultralytics' models have in common."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.heads.base import Head
from hpi.heads.suppressing import Overlap, SuppressingHead, reported
from hpi.instances import Instances
from hpi.kernels.nms import best_first

Float32 = NDArray[np.float32]


class YoloCandidates(SuppressingHead):
    """Columns ``[N, 4 + C + ..., A]``: centre, width, height, and the score of each class; the best class counts.

    Attributes:
        iou_threshold: as of :class:`~hpi.heads.suppressing.SuppressingHead`.
        most: likewise.
        candidates: likewise.

    Example:
        >>> from hpi.heads.yolo_boxes import YoloBoxesHead
        >>> issubclass(YoloBoxesHead, YoloCandidates)
        True
    """

    iou_threshold: Overlap = 0.7
    most: Annotated[int, Field(gt=0, le=10_000)] = 300

    def candidates_of(self, values: Float32, classes: int) -> tuple[Instances, Float32]:
        """The best of an image that score enough, and what is said of each after its classes ``[M, ...]``."""
        of_classes = values[4 : 4 + classes]
        scores = reported(of_classes.max(axis=0))
        chosen = best_first(scores, self.score_threshold, self.candidates)
        found = values[:, chosen].T
        half = found[:, 2:4] / 2
        boxes = np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1)
        best = of_classes[:, chosen].argmax(axis=0)
        return Instances(scores[chosen], boxes=boxes, class_ids=best), found[:, 4 + classes :]


class YoloKeypoints(Head):
    """The keypoints in the rows of a pose model.

    Attributes:
        keypoints: how many; None: as many as the output has room for.
        dimensions: 3: x, y and score of each; 2: x and y, and each has the score of its person.

    Example:
        >>> from hpi.heads.yolo26_pose import Yolo26PoseHead
        >>> issubclass(Yolo26PoseHead, YoloKeypoints)
        True
    """

    keypoints: Annotated[int, Field(gt=0, le=10_000)] | None = None
    dimensions: Literal[2, 3] = 3

    def count_in(self, values: int, shape: tuple[int, ...], layout: str) -> int:
        """How many keypoints so many values of a row are.

        Args:
            values: of a row, those of keypoints.
            shape: of the output, for the message.
            layout: what it should be, likewise.

        Raises:
            ValueError: the values do not add up to keypoints, or to another number than the field says.
        """
        count, rest = divmod(values, self.dimensions)
        if count < 1 or rest or self.keypoints not in {None, count}:
            known = f"of {self.keypoints} keypoints" if self.keypoints else "of any number of keypoints"
            raise ValueError(
                f"float32 {shape}, leaves {values} values for keypoints, which are not {self.dimensions} each "
                f"{known}; the layout is {layout}"
            )
        return count

    def with_keypoints(self, people: Instances, values: Float32, count: int) -> Instances:
        """People with their keypoints, of the values of each ``[M, count * dimensions]``."""
        points = values.reshape(len(people), count, self.dimensions)
        of_person = np.repeat(people.scores[:, None], count, axis=1)
        scores = points[..., 2] if self.dimensions == 3 else of_person
        return people.replaced(keypoints=points[..., :2], keypoint_scores=scores)
