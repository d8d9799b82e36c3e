"""The smoothing of PaddleDetection's ``det_keypoint_unite_infer.py --smooth``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hpi.tracking.smoothing import Ema, Filter, Float64, OneEuro, Smoother

FILTER_TYPES: Mapping[str, Filter] = MappingProxyType(
    {"OneEuro": OneEuro(min_cutoff=0.1, beta=0.05, derivative_cutoff=0.1), "EMA": Ema(half_life_s=1)}
)
"""PaddleDetection's filters by their names there. Their second is a frame, and their size of a person is a pixel."""

_HEAD = 5  # keypoints, from the first on
_STILL_HEAD, _STILL_BODY = 0.0015, 0.003  # shares of the image's width and height


@dataclass(frozen=True)
class _WithDeadZone(Filter):
    """A filter that does not follow a small change at all."""

    filter: Filter
    image_size: tuple[int, int]

    def follow(self, change: Float64, speeds: Float64, elapsed: Float64, sizes: Float64) -> tuple[Float64, Float64]:
        step, followed = self.filter.follow(change, speeds, elapsed, np.ones_like(sizes))
        limits = np.where(np.arange(change.shape[1]) < _HEAD, _STILL_HEAD, _STILL_BODY)
        is_still = (np.linalg.norm(change / self.image_size, axis=-1) < limits)[..., None]
        return np.where(is_still, 0, step), np.where(is_still, speeds, followed)


def make_smoother(filter_type: str, image_size: tuple[int, int]) -> Smoother:
    """A smoother that does what PaddleDetection's does with the one person of a video.

    Its times are numbers of frames, of which those count that have one person. That person needs a track id, always the
    same: PaddleDetection does not look at who it is, nor at scores.

    Args:
        filter_type: of :data:`FILTER_TYPES`.
        image_size: width and height of the frames, pixels.

    Example:
        >>> from hpi.instances import Instances
        >>> smoother = make_smoother("EMA", (640, 480))
        >>> for number, x in enumerate([20, 24]):
        ...     points = {"keypoints": [[[x, 20]]], "keypoint_scores": [[0.9]]}
        ...     smoothed = smoother.update(Instances(scores=[0.9], track_ids=[0], **points), time_s=number)
        >>> smoothed.keypoints
        array([[[22., 20.]]], dtype=float32)
    """
    return Smoother(_WithDeadZone(FILTER_TYPES[filter_type], image_size), lowest_score=-math.inf, max_gap_s=math.inf)
