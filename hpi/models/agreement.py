"""How far the boxes of two runs of a detector agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.instances import Instances
from hpi.kernels.boxes import box_iou

SAME = 0.5
"""Overlap from which two boxes are of the same object."""


@dataclass(frozen=True)
class BoxAgreement:
    """The clear boxes of a reference against those of another run.

    Attributes:
        boxes: clear boxes of the reference.
        lost: those that the other run does not have.
        added: clear boxes of the other run that the reference does not have.
        least_iou: of the boxes that both have.
        median_iou: likewise.
        score: mean difference of their scores.

    Example:
        >>> agreement = BoxAgreement(boxes=98, lost=0, added=0, least_iou=0.8, median_iou=0.98, score=0.02)
        >>> agreement.ap_loss
        1.0
    """

    boxes: int
    lost: int
    added: int
    least_iou: float
    median_iou: float
    score: float

    @property
    def ap_loss(self) -> float:
        """Points of AP if every box that changes is a mistake.

        By the rule of succession: that none of few boxes changes says little.
        """
        return 100 * (self.lost + self.added + 1) / (self.boxes + 2)


def box_agreement(expected: Sequence[Instances], found: Sequence[Instances], threshold: float) -> BoxAgreement:
    """Compare the boxes of images.

    Args:
        expected: the reference's, for each image.
        found: those of the other run.
        threshold: boxes that score above it are clear. The same box may score half of that in the other run: one that
            falls just below the threshold is a shift of score, not a loss.

    Example:
        >>> one = Instances([0.52], boxes=[[0, 0, 10, 20]], class_ids=[0])
        >>> same, other = one.replaced(scores=[0.48]), one.replaced(boxes=[[50, 0, 60, 20]])
        >>> [box_agreement([one], [found], threshold=0.5).lost for found in (same, other)]
        [0, 1]
    """
    lost, overlaps, differences = _compare(expected, found, threshold)
    added, _, _ = _compare(found, expected, threshold)
    return BoxAgreement(
        boxes=lost + len(overlaps),
        lost=lost,
        added=added,
        least_iou=float(overlaps.min(initial=1)),
        median_iou=float(np.median(overlaps)) if len(overlaps) else 0.0,
        score=float(np.abs(differences).mean()) if len(differences) else 1.0,
    )


def _compare(
    ones: Sequence[Instances], others: Sequence[Instances], threshold: float
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """How many clear boxes have no partner; overlap and difference of scores of those that have."""
    lost, overlaps, differences = 0, [np.empty(0)], [np.empty(0)]
    for one, other in zip(ones, others, strict=True):
        clear, near = one[one.scores > threshold], other[other.scores > threshold / 2]
        if not len(near):
            lost += len(clear)
            continue
        iou = _overlaps(clear, near)
        partner, best = iou.argmax(axis=1), iou.max(axis=1, initial=0)
        same = best >= SAME
        lost += int((~same).sum())
        overlaps.append(best[same])
        differences.append((near.scores[partner] - clear.scores)[same])
    return lost, np.concatenate(overlaps), np.concatenate(differences)


def _overlaps(ones: Instances, others: Instances) -> NDArray[np.float32]:
    """Of boxes of the same class ``[M, N]``; 0 for others."""
    assert ones.boxes is not None and others.boxes is not None  # what detectors find
    assert ones.class_ids is not None and others.class_ids is not None
    of_one_class = ones.class_ids[:, None] == others.class_ids
    iou: NDArray[np.float32] = np.where(of_one_class, box_iou(ones.boxes, others.boxes), 0)
    return iou
