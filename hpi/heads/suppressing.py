"""What heads have in common that suppress overlapping candidates, since their graphs do not."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.heads.base import Head, Items
from hpi.heads.boxes import instances_of
from hpi.instances import Instances
from hpi.kernels.nms import NmsSpec, batched_nms

Float32 = NDArray[np.float32]
Overlap = Annotated[float, Field(ge=0, le=1)]


class SuppressingHead(Head):
    """A head with non-maximum suppression.

    Attributes:
        score_threshold: candidates must score above it.
        iou_threshold: a candidate that overlaps a better one of its class by more than this is dropped.
        most: how many are kept of an image.
        candidates: how many of an image are compared, the best ones; the time that suppression takes is bounded by it.

    Example:
        >>> from hpi.heads.yolox import YoloxHead
        >>> issubclass(YoloxHead, SuppressingHead)
        True
    """

    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    iou_threshold: Overlap = 0.65
    most: Annotated[int, Field(gt=0, le=10_000)] = 100
    candidates: Annotated[int, Field(gt=0, le=100_000)] = 2000

    def best_boxes(self, boxes: Float32, scores: Float32) -> tuple[Instances, Items]:
        """The boxes that survive, class by class.

        Args:
            boxes: ``[N, A, 4]`` float32, pixels of the input.
            scores: ``[N, C, A]`` float32.
        """
        spec = NmsSpec(self.score_threshold, self.iou_threshold, self.most, self.most, self.candidates)
        rows, counts = batched_nms(boxes, reported(scores), spec)
        return instances_of(rows), np.repeat(np.arange(len(counts)), counts)


def reported(scores: Float32) -> Float32:
    """Scores in which NaN is infinite, so that it survives suppression and the model reports it.

    Example:
        >>> reported(np.array([0.5, np.nan], np.float32))
        array([0.5, inf], dtype=float32)
    """
    return np.where(np.isnan(scores), np.float32(np.inf), scores)


def sigmoid(logits: Float32) -> Float32:
    """Scores of logits, without overflow.

    Example:
        >>> sigmoid(np.array([-1000, 0, 1000], np.float32))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    scores: Float32 = ((np.tanh(logits / 2) + 1) / 2).astype(np.float32)
    return scores
