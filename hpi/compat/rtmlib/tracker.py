"""rtmlib's ``PoseTracker``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.compat.rtmlib.closing import OwnsModels
from hpi.compat.rtmlib.solutions import Mode, Solution
from hpi.compat.rtmlib.tools import Arrays, frame_of
from hpi.errors import ConfigError
from hpi.instances import Image
from hpi.options import AUTO
from hpi.pipelines.topdown import TopDownPipeline
from hpi.pipelines.tracked import TrackedPipeline
from hpi.tracking.base import UNTRACKED, Tracking

logger = logging.getLogger(__name__)

TRACKING_THR = 0.3
"""rtmlib's."""


class PoseTracker(OwnsModels):
    """Follows people through a video, whose frames come one a call. Close it, or use it in a ``with`` statement.

    People are followed by their keypoints, as with ``tracker="oks"`` of :meth:`hpi.Predictor.stream`: somebody has an
    id from the second frame on, and keeps it through gaps of a second.

    Args:
        solution: a class such as :class:`Body`, or a call that makes one of it, such as ``partial(Custom, ...)``.
        det_frequency: the detector runs once in so many frames, and in between where it is needed.
        tracking: whether people are followed. If not, they are in the order of the detector.
        tracking_thr: it has no effect: people are not followed by the overlap of boxes.
        mode: of the solution; None: its own.
        to_openpose: as of the solution.
        backend: likewise.
        device: likewise.
        frame_rate: of the video, frames a second.
        options: as of the solution.

    Attributes:
        track_ids: ``[N]`` int64: who is who in the last result; -1 where somebody has no id yet.

    Raises:
        ConfigError: an argument is wrong, or SciPy is not installed.
        HpiError: as of :class:`hpi.Predictor`.
    """

    def __init__(
        self,
        solution: Callable[..., Solution],
        det_frequency: int = 1,
        tracking: bool = True,
        tracking_thr: float = TRACKING_THR,
        mode: Mode | None = None,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        frame_rate: float = 30.0,
        **options: Any,
    ) -> None:
        if tracking and tracking_thr != TRACKING_THR:
            logger.warning("tracking_thr=%s has no effect: people are followed by their keypoints", tracking_thr)
        if not frame_rate > 0:
            raise ConfigError(f"frame_rate is {frame_rate!r}: give frames a second, more than 0")
        of_mode = {} if mode is None else {"mode": mode}
        self._solution = solution(to_openpose=to_openpose, backend=backend, device=device, **of_mode, **options)
        try:
            self._tracked = self._follow(det_frequency, tracking=tracking)
        except BaseException:
            self._solution.close()
            raise
        self._frame_rate = frame_rate
        self.reset()

    def reset(self) -> None:
        """Begin another video."""
        self._tracked.end(None)
        self._frames = 0
        self.track_ids: NDArray[np.int64] = np.empty(0, np.int64)

    def __call__(self, image: Image) -> Arrays:
        """Find the people of the next frame.

        Args:
            image: ``[H, W, 3]`` uint8 BGR.

        Returns:
            ``keypoints [N, K, 2]`` float32, pixels, and ``scores [N, K]`` float32, in the order of the ids; who has
            none yet comes last.

        Raises:
            InputError: the image cannot be used.
            BackendError: a runtime failed.
        """
        frame = replace(frame_of(image), time_s=self._frames / self._frame_rate)
        self._frames += 1
        (people,) = self._tracked.run([frame])
        ids = people.track_ids
        if ids is None:
            ids = np.full(len(people), UNTRACKED, np.int64)
        order = np.argsort(np.where(ids == UNTRACKED, np.iinfo(np.int64).max, ids), kind="stable")
        self.track_ids = ids[order]
        return self._solution.pose_model.arrays(people[order])

    def close(self) -> None:  # noqa: D102
        self._solution.close()

    def _follow(self, det_frequency: int, *, tracking: bool) -> TrackedPipeline:
        pipeline = self._solution.pipeline
        if not isinstance(pipeline, TopDownPipeline) and det_frequency != 1:
            logger.warning("det_frequency=%s has no effect: there is no detector to leave out", det_frequency)
            det_frequency = 1
        return TrackedPipeline(pipeline, Tracking("oks" if tracking else None, det_frequency))
