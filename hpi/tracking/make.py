"""From settings to a tracker."""

from __future__ import annotations

from hpi.errors import ConfigError
from hpi.instances import Skeleton
from hpi.tracking.base import Tracker, Tracking
from hpi.tracking.boxes import byte_track, oc_sort
from hpi.tracking.embedding import Embeddings, EmbeddingTracker
from hpi.tracking.oks import OksTracker


def make_tracker(
    tracking: Tracking,
    skeleton: Skeleton | None = None,
    threshold: float = 0.5,
    embeddings: Embeddings | None = None,
) -> Tracker:
    """A tracker for one stream.

    Args:
        tracking: which one, and how long somebody may be lost.
        skeleton: of the keypoints; only ``"oks"`` needs it.
        threshold: people that score above it count.
        embeddings: those of the detector, ``spec.embeddings``; only ``"embedding"`` needs them.

    Raises:
        ConfigError: the settings name no tracker, what it needs is missing, or its package is not installed.

    Example:
        >>> make_tracker(Tracking("ocsort"), threshold=0.4).lowest_score
        0.4
    """
    if tracking.tracker == "bytetrack":
        return byte_track(threshold, tracking.max_lost_s)
    if tracking.tracker == "ocsort":
        return oc_sort(threshold, tracking.max_lost_s)
    if tracking.tracker == "embedding":
        if embeddings is None:
            raise ConfigError(
                "the tracker 'embedding' needs a detector that gives embeddings, such as FairMOT: choose bytetrack or "
                "ocsort"
            )
        return EmbeddingTracker(
            threshold, tracking.max_lost_s, metric=embeddings.metric, same_below=embeddings.same_below
        )
    if tracking.tracker is None:
        raise ConfigError("no tracker is chosen: nobody is followed")
    if skeleton is None:
        raise ConfigError("the tracker 'oks' follows keypoints, and the model finds none: choose bytetrack or ocsort")
    return OksTracker(skeleton, threshold, tracking.max_lost_s)
