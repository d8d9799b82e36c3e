"""People with keypoints from the raw output of Ultralytics' pose models (YOLOv8-pose, YOLO11-pose)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hpi.heads.base import Items, Task
from hpi.heads.checks import check_output
from hpi.heads.yolo import Float32, YoloCandidates, YoloKeypoints
from hpi.instances import Instances, Skeleton
from hpi.kernels.nms import Similarity, box_similarity, oks_similarity, suppress

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class YoloPoseHead(YoloCandidates, YoloKeypoints):
    """Columns ``[N, 4 + C + 3 K, A]``: centre, width, height, the score of each class; x, y, score of each keypoint.

    In pixels of the input. The thresholds are those of Ultralytics, but for the lower ``score_threshold``; every
    keypoint is kept with its score, where Ultralytics puts those below 0.5 to (0, 0).

    Attributes:
        classes: how many, C.
        suppress: what ``iou_threshold`` is compared with: the overlap of ``box``es, or the ``oks`` of the keypoints.
        sigmas: of OKS, one a keypoint; by default those of the skeleton.

    Example:
        >>> columns = np.zeros((1, 11, 84), np.float32)  # a class, two keypoints
        >>> columns[0, :, 3] = 30, 20, 10, 8, 0.75, 28, 18, 0.5, 32, 22, 0.25
        >>> found, _ = YoloPoseHead().decode([columns], 1, (64, 64))
        >>> found.points.tolist(), found.boxes
        ([[[28.0, 18.0, 0.5], [32.0, 22.0, 0.25]]], array([[25., 16., 35., 24.]], dtype=float32))
    """

    type: Literal["yolo_pose"] = "yolo_pose"
    classes: Annotated[int, Field(gt=0, le=10_000)] = 1
    suppress: Literal["box", "oks"] = "box"
    sigmas: tuple[Annotated[float, Field(gt=0)], ...] = ()
    task: ClassVar[Task] = "keypoint_detection"

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        (columns,) = outputs
        keypoints = self.keypoints_in(outputs)
        check_output(columns, (count, None, None), f"people of {count} images {self._layout}")
        found = [self._decode_one(of_image, keypoints) for of_image in columns]
        return Instances.concatenate(found), np.repeat(np.arange(count), [len(people) for people in found])

    def of_skeleton(self, skeleton: Skeleton | None) -> YoloPoseHead:  # noqa: D102
        if self.suppress == "box" or self.sigmas:
            return self
        if skeleton is None or skeleton.sigmas is None:
            named = f"the skeleton {skeleton.name} has none" if skeleton else "nothing names its skeleton"
            raise ValueError(
                f"suppress: oks needs the sigmas of the keypoints, and {named}; give sigmas, one for each keypoint, or "
                "suppress: box"
            )
        return self.model_copy(update={"sigmas": skeleton.sigmas})

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        (columns,) = outputs
        check_output(columns, (None, None, None), f"people {self._layout}")
        keypoints = self.count_in(columns.shape[1] - 4 - self.classes, columns.shape, self._layout)
        if (self.sigmas or self.suppress == "oks") and len(self.sigmas) != keypoints:
            raise ValueError(f"float32 {columns.shape}, has {keypoints} keypoints, but sigmas are {len(self.sigmas)}")
        return keypoints

    @property
    def _layout(self) -> str:
        return f"[N, 4 + {self.classes} + {self.dimensions} x {self.keypoints or 'keypoints'}, candidates]"

    def _decode_one(self, columns: Float32, keypoints: int) -> Instances:
        people = self.with_keypoints(*self.candidates_of(columns, self.classes), keypoints)
        similarity = self._similarity(people)
        kept = suppress(people.scores, similarity, above=self.score_threshold, alike=self.iou_threshold, most=self.most)
        return people[kept]

    def _similarity(self, people: Instances) -> Similarity:
        assert people.boxes is not None and people.keypoints is not None
        if self.suppress == "box":
            return box_similarity(people.boxes, people.class_ids)
        return oks_similarity(people.keypoints, people.boxes, self.sigmas, people.class_ids)
