"""The frames of annotated videos, and their people followed through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpi.errors import ConfigError
from hpi.evaluation.predictions import Case, DatasetImage, Figures, Person, Predictions
from hpi.evaluation.tracks.measures import TRACKING_FIGURES, motmetrics
from hpi.instances import Instances, Skeleton
from hpi.predictor import Predictor
from hpi.tracking.base import UNTRACKED, Tracking
from hpi.tracking.make import make_tracker


@dataclass(frozen=True)
class Video:
    """The frames of a video.

    Attributes:
        name: of the video.
        times: when each frame is, seconds, by the number of the image in the dataset; in order.
    """

    name: str
    times: Mapping[int, float]


class VideoDataset(ABC):
    """Annotated videos: an image for each frame. Its people are predicted image by image, and then followed.

    That is what a pipeline finds whose detector runs on every frame.
    """

    title: str
    threshold = 0.1
    """Whoever scores less is of no use to any tracker."""
    _protocol: str
    """How the figures are computed, with a place for the ``tracker``."""

    def __init__(self, tracker: str | None, boxes: object) -> None:
        """Say how people are followed.

        Args:
            tracker: see :class:`hpi.tracking.base.Tracking`; None: by keypoints where a model finds people itself, else
                by boxes.
            boxes: where the boxes come from, which cannot be the annotations: ``"gt"``.

        Raises:
            ConfigError: motmetrics is not installed, there is no such tracker, or the boxes are annotated ones.
        """
        motmetrics()
        if boxes == "gt":
            raise ConfigError(
                "only people who were found can be followed: give --pipeline, --boxes detector, or a --model that "
                "finds people itself"
            )
        self._tracking = Tracking(tracker or ("oks" if boxes == "model" else "bytetrack"))
        self.protocol = self._protocol.format(tracker=self._tracking.tracker)
        self._videos: list[Video] = []
        self._warnings: list[str] = []
        self.images: list[DatasetImage] = []
        self.counts: dict[str, int] = {}

    def check(self, predictor: Predictor) -> list[str]:
        """Check, before any image is predicted, that the people it finds can be followed.

        Returns:
            Warnings about the figures, a sentence each.

        Raises:
            ConfigError: they cannot.
        """
        make_tracker(self._tracking, predictor.pipelines[0].skeleton)
        return self._warnings

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """The figures of all videos, and of each if there are several."""
        skeleton = predictor.pipelines[0].skeleton
        followed = {video.name: self._follow(video, predictions, skeleton) for video in self._videos}
        figures = self.measure([*followed.values()], skeleton)
        if len(followed) > 1:
            for name, of_video in followed.items():
                alone = self.measure([of_video], skeleton)
                figures |= {f"{name} {what}": alone[what] for what in TRACKING_FIGURES}
        return figures

    def cases(self, predictions: Predictions) -> list[Case]:
        """None: people of videos are not looked at one by one."""
        del predictions
        return []

    @abstractmethod
    def measure(self, videos: Sequence[Mapping[int, Instances]], skeleton: Skeleton | None) -> Figures:
        """The figures of these videos together.

        Args:
            videos: those that count in each frame that was predicted, with track ids, by the number of the image.
            skeleton: of their keypoints.
        """

    def _follow(self, video: Video, predictions: Predictions, skeleton: Skeleton | None) -> dict[int, Instances]:
        tracker = make_tracker(self._tracking, skeleton)
        return {
            number: tracker.update(instances(predictions[number], skeleton), time_s)
            for number, time_s in video.times.items()
            if number in predictions
        }

    def _leave_out(self, what: str, which: Sequence[str]) -> None:
        """Say that something does not count; ``which`` is each of it."""
        if which:
            self.counts[what] = len(which)
            self._warnings.append(f"left out: {len(which)} {what}, such as {which[0]}")


def instances(people: Sequence[Person], skeleton: Skeleton | None) -> Instances:
    """Predicted people as arrays.

    Example:
        >>> instances([Person((0, 0, 10, 20), 0.5)], None).boxes
        array([[ 0.,  0., 10., 20.]], dtype=float32)
    """
    if not people:
        return Instances.empty(len(skeleton) if skeleton else None)
    points = np.stack([person.keypoints for person in people])
    return Instances(
        np.array([person.score for person in people], np.float32),
        boxes=np.array([person.box for person in people], np.float32),
        keypoints=points[..., :2] if skeleton else None,
        keypoint_scores=points[..., 2] if skeleton else None,
    )


def with_identity(people: Instances) -> Instances:
    """Those that are followed."""
    return people[people.track_ids != UNTRACKED]
