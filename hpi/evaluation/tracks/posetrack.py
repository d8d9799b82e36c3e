"""PoseTrack: keypoints of people with ids.

The figures are those of PoseTrack's own evaluation (github.com/leonid-pishchulin/poseval): every keypoint is an object
that is found within half a head size, and has the id of its person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.errors import ConfigError, InputError
from hpi.evaluation.annotations import existing
from hpi.evaluation.mpii import head_distances
from hpi.evaluation.predictions import DatasetImage, Figures
from hpi.evaluation.tracks.measures import TRACKING_FIGURES, FrameDistances, Tally, count
from hpi.evaluation.tracks.posetrack_file import GROUPS, KEYPOINTS, Annotation, Image, PosetrackFile
from hpi.evaluation.tracks.videos import Video, VideoDataset
from hpi.instances import Instances, Skeleton
from hpi.predictor import Predictor
from hpi.sources.streams import USUAL_RATE
from hpi.tracking.base import UNTRACKED

LIMIT = 0.5  # head sizes
OTHER_NAMES = {"head_bottom": "upper_neck"}
"""What keypoints of PoseTrack are called in MPII's skeleton."""

_PROTOCOL = (
    "As PoseTrack's poseval: a keypoint is found within 0.5 head sizes (0.6 times the diagonal of bbox_head). AP: "
    "those who were found belong to whom they share most keypoints with, one each; the precision is averaged over the "
    "scores of a keypoint. MOTA and IDF1: motmetrics' for each keypoint, of people with a track, where the score is "
    "high enough to draw it. All are means over the keypoints that the model has; switches are those of all keypoints "
    "together. Frames that are not annotated do not count, nor does what is in a region to ignore. Unlike in poseval, "
    "the last frame of a video counts, and so does every miss in a frame in which nobody was found. People are "
    "followed by {tracker}."
)


@dataclass(frozen=True)
class _Truth:
    """The annotated people of a frame.

    Attributes:
        ids: ``[T]`` int64.
        places: ``[T, J, 2]`` pixels: of :data:`KEYPOINTS`.
        is_labelled: ``[T, J]`` bool.
        heads: ``[T]`` pixels.
        ignored: ``[N, 2]`` each: polygons.
    """

    ids: NDArray[np.int64]
    places: NDArray[np.float64]
    is_labelled: NDArray[np.bool_]
    heads: NDArray[np.float64]
    ignored: list[NDArray[np.float32]]

    @classmethod
    def of(cls, image: Image, people: Sequence[Annotation], order: Sequence[int]) -> _Truth:
        points = np.stack([one.points[order] for one in people])
        return cls(
            np.array([one.track_id for one in people], np.int64),
            points[..., :2],
            (points[..., 2] > 0) & ~_inside(points[..., :2], image.ignored),
            np.array([one.head for one in people]),
            image.ignored,
        )


@dataclass(frozen=True)
class _Frame:
    """A frame in which people were looked for; ``J`` are the keypoints that the model has.

    Attributes:
        true_ids: ``[T]`` int64.
        found_ids: ``[F]`` int64: track ids.
        is_labelled: ``[T, J]`` bool.
        scores: ``[F, J]``: NaN where a region is ignored.
        is_drawn: ``[F, J]`` bool: good enough to be drawn, and of somebody who is followed.
        is_near: ``[T, F, J]`` bool: what may be the same.
        distances: ``[T, F, J]``: head sizes.
    """

    true_ids: NDArray[np.int64]
    found_ids: NDArray[np.int64]
    is_labelled: NDArray[np.bool_]
    scores: NDArray[np.float64]
    is_drawn: NDArray[np.bool_]
    is_near: NDArray[np.bool_]
    distances: NDArray[np.float64]

    @classmethod
    def of(cls, truth: _Truth, people: Instances, skeleton: Skeleton) -> _Frame:
        columns = model_keypoints(skeleton)
        counted = [KEYPOINTS.index(name) for name in columns]
        found = people.points[:, [*columns.values()]].astype(np.float64)
        scores = np.where(_inside(found[..., :2], truth.ignored), np.nan, found[..., 2])
        is_labelled = truth.is_labelled[:, counted]
        distances = head_distances(truth.places[:, None, counted], found[None, ..., :2], truth.heads[:, None])
        ids = np.asarray(people.track_ids)
        return cls(
            truth.ids,
            ids,
            is_labelled,
            scores,
            (scores > skeleton.visible_above) & (ids != UNTRACKED)[:, None],
            (distances <= LIMIT) & is_labelled[:, None] & ~np.isnan(scores)[None],
            distances,
        )

    def distances_of(self, keypoint: int) -> FrameDistances:
        """One keypoint of everybody."""
        rows, columns = self.is_labelled[:, keypoint], self.is_drawn[:, keypoint]
        distances = self.distances[rows][:, columns, keypoint]
        return FrameDistances.of(self.true_ids[rows], self.found_ids[columns], distances, LIMIT)

    def hits(self) -> NDArray[np.bool_]:
        """``[F, J]``: which keypoints were found right, each person of the truth by one of those who were found."""
        hits = np.zeros_like(self.scores, np.bool_)
        if not len(hits):
            return hits
        shares = self.is_near.sum(axis=-1) / np.maximum(self.is_labelled.sum(axis=-1), 1)[:, None]
        shares[np.arange(len(shares))[:, None] != shares.argmax(axis=0)] = 0
        for true, found in enumerate(shares.argmax(axis=1)):
            if shares[true, found] > 0:
                hits[found] = self.is_near[true, found]
        return hits


class PosetrackDataset(VideoDataset):
    """PoseTrack18's annotations, and the folder that their ``images/val/...`` are in."""

    title = "PoseTrack"
    _protocol = _PROTOCOL

    def __init__(self, annotations: Path, images: Path, boxes: object = "detector", tracker: str | None = None) -> None:
        """Read and check the annotations.

        Args:
            annotations: a JSON file, or a folder of such files. The folder of an image is its video, ``frame_id`` says
                when it is: 25 frames are a second.
            images: folder that ``file_name`` is relative to.
            boxes: ``"detector"`` or ``"model"``.
            tracker: as in :class:`hpi.evaluation.tracks.videos.VideoDataset`; None: by keypoints.

        Raises:
            InputError: a file is invalid; the message names the file and the field.
            ConfigError: as in :class:`hpi.evaluation.tracks.videos.VideoDataset`; or the boxes are those of a file.
        """
        super().__init__(tracker or "oks", boxes)
        if isinstance(boxes, Path):
            raise ConfigError(f"--boxes {boxes}: in PoseTrack people are found by a detector or by the model itself")
        self._truth: dict[int, _Truth] = {}
        files = sorted(annotations.glob("*.json")) if annotations.is_dir() else [annotations]
        if not files:
            raise InputError(f"{annotations}: has no .json file")
        contents = [PosetrackFile.read(file) for file in files]
        names = [image.file_name for content in contents for image in content.images]
        there = existing(images, names)
        for content in contents:
            for video, frames in groupby(content.images, key=lambda image: image.video):
                self._add(video, [image for image in frames if image.file_name in there], content, images)
        if not self._truth:
            raise InputError(f"{annotations}: nobody there has keypoints, bbox_head and an image")
        self._leave_out("frames without an image", [name for name in names if name not in there])
        people = [one for content in contents for of_image in content.people.values() for one in of_image]
        headless = [f"that of track {one.track_id} in image id {one.image_id}" for one in people if one.is_headless]
        self._leave_out("labelled people without a head box", headless)

    def check(self, predictor: Predictor) -> list[str]:
        """As the other datasets of videos; the model must have keypoints of PoseTrack.

        Raises:
            ConfigError: it has none, or its people cannot be followed.
        """
        skeleton = predictor.pipelines[0].skeleton
        if skeleton is None or not model_keypoints(skeleton):
            raise ConfigError(
                f"{predictor.name}: PoseTrack is measured by keypoints such as {', '.join(KEYPOINTS[:4])}"
            )
        return super().check(predictor)

    def _add(self, name: str, frames: Sequence[Image], content: PosetrackFile, images: Path) -> None:
        if any(name == video.name for video in self._videos):
            raise InputError(f"{name}: the frames of this video are in several files; put them into one")
        times = {}
        for image in frames:
            number = len(self.images)
            times[number] = image.frame / float(USUAL_RATE)
            self.images.append(DatasetImage(number, images / image.file_name, None, None))
            people = [one for one in content.people.get(image.id, []) if one.is_labelled and not one.is_headless]
            if image.is_labeled and people:
                self._truth[number] = _Truth.of(image, people, content.places)
        self._videos.append(Video(name, times))

    def measure(self, videos: Sequence[Mapping[int, Instances]], skeleton: Skeleton | None) -> Figures:
        """AP, MOTA, IDF1 and switches, and the AP and MOTA of groups of keypoints."""
        assert skeleton is not None
        frames = [
            [
                _Frame.of(self._truth[number], people, skeleton)
                for number, people in video.items()
                if number in self._truth
            ]
            for video in videos
        ]
        names = list(model_keypoints(skeleton))
        tallies = [
            sum((count(frame.distances_of(keypoint) for frame in video) for video in frames), Tally())
            for keypoint in range(len(names))
        ]
        precisions = _average_precisions([frame for video in frames for frame in video], len(names))
        accuracies = [tally.mota for tally in tallies]
        means = (_mean(accuracies), _mean([tally.idf1 for tally in tallies]), sum(tally.switches for tally in tallies))
        return {
            "AP": _mean(precisions),
            **dict(zip(TRACKING_FIGURES, means, strict=True)),
            **_by_group("AP", precisions, names),
            **_by_group("MOTA", accuracies, names),
        }


def model_keypoints(skeleton: Skeleton) -> dict[str, int]:
    """Which of PoseTrack's keypoints a model has, and where.

    Example:
        >>> list(model_keypoints(Skeleton("mine", ("upper_neck", "tail", "nose"))).items())
        [('nose', 2), ('head_bottom', 0)]
    """
    names = {
        name: next((one for one in (name, OTHER_NAMES.get(name)) if one in skeleton.keypoints), None)
        for name in KEYPOINTS
    }
    return {name: skeleton.keypoints.index(known) for name, known in names.items() if known is not None}


def average_precision(scores: ArrayLike, hits: ArrayLike, total: int) -> float | None:
    """The precision, averaged over the recall, percent: the area below the curve, without its dents.

    Args:
        scores: ``[N]``: of what was found.
        hits: ``[N]`` bool: what of it is right.
        total: how much there is to find.

    Example:
        >>> average_precision([0.9, 0.8, 0.7], [True, False, True], total=2)
        83.33333333333333
    """
    if not total:
        return None
    order = np.argsort(-np.asarray(scores), kind="stable")
    right = np.asarray(hits, np.bool_)[order]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return 100 * float(best_from_here[right].sum()) / total


def _average_precisions(frames: Sequence[_Frame], keypoints: int) -> list[float | None]:
    """For each keypoint."""
    if not frames:
        return [None] * keypoints
    scores = np.concatenate([frame.scores for frame in frames])
    hits = np.concatenate([frame.hits() for frame in frames])
    totals = np.sum([frame.is_labelled.sum(axis=0) for frame in frames], axis=0)
    counts = ~np.isnan(scores)
    return [
        average_precision(scores[counts[:, one], one], hits[counts[:, one], one], int(totals[one]))
        for one in range(keypoints)
    ]


def _inside(places: NDArray[np.float64], polygons: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """``[...]``: which of the places ``[..., 2]`` are within one of the polygons."""
    inside = [
        any(cv2.pointPolygonTest(polygon, (float(x), float(y)), measureDist=False) > 0 for polygon in polygons)
        for x, y in places.reshape(-1, 2)
    ]
    return np.array(inside, np.bool_).reshape(places.shape[:-1])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _by_group(what: str, values: Sequence[float | None], names: Sequence[str]) -> Figures:
    of = dict(zip(names, values, strict=True))
    return {f"{what} {group}": _mean([of.get(name) for name in members]) for group, members in GROUPS.items()}
