"""What a prediction returns for one image: its instances, with the picture and where it comes from."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.deprecation import warn_deprecated
from hpi.errors import ConfigError
from hpi.instances import Frame, Instances, Skeleton
from hpi.kernels.boxes import boxes_around
from hpi.names import file_name
from hpi.sinks import SINKS
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    import pandas
    import supervision

Image = NDArray[np.uint8]
SavePath = str | os.PathLike[str]


class Result(ABC):
    """The people, or other objects, of one image.

    Attributes:
        instances: everything that was found, as arrays.
        frame: the image and where it comes from.
        skeleton: what is known of the keypoints; None of a detector.
        labels: the names of the classes.
        smoothed: the same people with smoothed keypoints, which :meth:`plot` draws instead; None without smoothing.
        name: file name that files in a folder are named after; no two results of one call have the same. It is that of
            the input, with ``_2`` where another result has it already, and with the number of the page (``a_0.tif``) or
            frame (``a_000000.jpg``); for an image in memory ``<unix time>_<16 digits>.png``. May be set.

    Example:
        >>> from hpi import Predictor
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     (result,) = predictor.predict("examples/basketball.png")
        >>> result
        KeypointResult(examples/basketball.png: 2 people, 17 keypoints each)
        >>> result.keypoints.shape, result.scores.shape, result.boxes.shape
        ((2, 17, 2), (2,), (2, 4))
    """

    def __init__(
        self, frame: Frame, instances: Instances, skeleton: Skeleton | None, labels: tuple[str, ...] = ()
    ) -> None:
        self.frame = frame
        self.instances = instances
        self.skeleton = skeleton
        self.labels = labels
        self.smoothed: Instances | None = None
        self.name = file_name(frame.path)

    @property
    def image(self) -> Image:
        """``[H, W, 3]`` uint8 BGR."""
        return self.frame.image

    @property
    def path(self) -> str | None:
        """File or URL; None of an image in memory."""
        return self.frame.path

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """``[M, K, 2]`` float32 (x, y), pixels of the image; ``[M, 0, 2]`` of a detector."""
        found = self.instances.keypoints
        return np.empty((len(self.instances), 0, 2), np.float32) if found is None else found

    @property
    def keypoint_scores(self) -> NDArray[np.float32]:
        """``[M, K]`` float32; ``[M, 0]`` of a detector."""
        found = self.instances.keypoint_scores
        return np.empty((len(self.instances), 0), np.float32) if found is None else found

    @property
    def scores(self) -> NDArray[np.float32]:
        """``[M]`` float32: the detector's, or the mean of the keypoints' where there was no detector."""
        return self.instances.scores

    @property
    def boxes(self) -> NDArray[np.float32]:
        """``[M, 4]`` float32 (x1, y1, x2, y2), pixels of the image; ``[0, 4]`` where each image is one person."""
        found = self.instances.boxes
        return np.empty((0, 4), np.float32) if found is None else found

    @property
    def track_ids(self) -> NDArray[np.int64]:
        """``[M]`` int64: who is who over the frames of a stream; -1 where nobody is followed."""
        found = self.instances.track_ids
        return np.full(len(self.instances), UNTRACKED, np.int64) if found is None else found

    @property
    def keypoint_names(self) -> list[str]:
        """A name for each keypoint; numbers where the model's are not known."""
        return [] if self.skeleton is None else list(self.skeleton.keypoints)

    @property
    def class_names(self) -> list[str]:
        """The name of each instance's class; its number where it has none."""
        return _class_names(self.instances, self.labels)

    @property
    @abstractmethod
    def json(self) -> dict[str, Any]:
        """``{"res": ...}`` without the image, in plain Python types."""

    @abstractmethod
    def plot(self) -> Image:
        """The image with what was found drawn on it: ``[H, W, 3]`` uint8 BGR."""

    def show(self) -> None:
        """Show the picture in a window; in a notebook, the result shows itself."""
        from PIL import Image as Pillow

        Pillow.fromarray(np.ascontiguousarray(self.plot()[..., ::-1])).show(title=self.name)

    def save(self, folder: SavePath, *sinks: str) -> list[Path]:
        """Save into a folder.

        Args:
            folder: is made where it does not exist.
            sinks: what to save, of :data:`hpi.sinks.SINKS`; by default all of them.

        Returns:
            The files written.

        Raises:
            InputError: a file cannot be written, or is the input itself.
            ConfigError: there is no such sink.
        """
        if unknown := set(sinks) - set(SINKS):
            raise ConfigError(f"unknown sink {', '.join(sorted(unknown))}; known are {', '.join(SINKS)}")
        return [SINKS[sink](self, Path(folder)) for sink in sinks or SINKS]

    def to_supervision(self) -> tuple[supervision.KeyPoints, supervision.Detections]:
        """As supervision's ``KeyPoints`` and ``Detections``, to draw, count and track with it.

        Raises:
            ConfigError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ConfigError("supervision is not installed; install it with: pip install supervision") from error
        count, found = len(self.instances), self.instances
        classes = np.zeros(count, int) if found.class_ids is None else found.class_ids.astype(int)
        points = supervision.KeyPoints(
            xy=self.keypoints, class_id=classes, **{_confidence_field(supervision): self.keypoint_scores}
        )
        boxes = self.boxes if len(self.boxes) == count else boxes_around(self.keypoints, self.keypoint_scores)
        ids = None if found.track_ids is None else found.track_ids.astype(int)
        return points, supervision.Detections(xyxy=boxes, confidence=self.scores, class_id=classes, tracker_id=ids)

    def to_coco(self, image_id: int = 0, category_id: int = 1) -> list[dict[str, Any]]:
        """As entries of COCO's results format, in plain Python types; of whole bodies with COCO-WholeBody's fields.

        Args:
            image_id: COCO's id of the image.
            category_id: COCO's id of the class; of a detector of several, that of the first.
        """
        classes = self.instances.class_ids if self.skeleton is None else None
        fields = {} if self.skeleton is None else self.skeleton.coco or {"keypoints": (0, len(self.skeleton))}
        points = self.instances.points if fields else np.empty(0)
        entries = []
        for row, score in enumerate(self.scores.tolist()):
            offset = 0 if classes is None else int(classes[row])
            entry: dict[str, Any] = {"image_id": image_id, "category_id": category_id + offset, "score": score}
            if len(self.boxes):
                x1, y1, x2, y2 = self.boxes[row].tolist()
                entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            entry |= {name: points[row, first:end].ravel().tolist() for name, (first, end) in fields.items()}
            if (track_id := int(self.track_ids[row])) != UNTRACKED:
                entry["track_id"] = track_id
            entries.append(entry)
        return entries

    def to_frame(self) -> pandas.DataFrame:
        """As a pandas table: a row for each instance, columns such as ``nose_x``, ``nose_y`` and ``nose_score``.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("pandas is not installed; install it with: pip install pandas") from error
        return pandas.DataFrame(self.columns())

    def columns(self) -> dict[str, Any]:
        """What :meth:`to_frame` has: name and values of each column."""
        return columns_of(self.instances, self.skeleton, self.labels)

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        _, data = cv2.imencode(".png", self.plot())
        return data.tobytes()

    def __repr__(self) -> str:
        count = len(self.instances)
        one, many = ("instance", "instances") if self.skeleton is None else ("person", "people")
        keypoints = "" if self.skeleton is None else f", {len(self.skeleton)} keypoints each"
        where = self.path or "image in memory"
        return f"{type(self).__name__}({where}: {count} {one if count == 1 else many}{keypoints})"


def columns_of(instances: Instances, skeleton: Skeleton | None, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Instances as columns of a table, a row each; with a skeleton ``nose_x``, ``nose_y``, ``nose_score`` and so on.

    Args:
        instances: any number, also those of several images.
        skeleton: of the keypoints; None of a detector, whose table has the column ``label``.
        labels: the names of the classes.

    Returns:
        Name and values of each column that is known: ``score`` first, then ``x1``, ``y1``, ``x2``, ``y2``.

    Example:
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]], class_ids=[0])
        >>> columns = columns_of(found, None, ("person",))
        >>> list(columns), columns["label"]
        (['score', 'x1', 'y1', 'x2', 'y2', 'label'], ['person'])
    """
    columns: dict[str, Any] = {"score": instances.scores}
    boxes = np.empty((0, 4), np.float32) if instances.boxes is None else instances.boxes
    if len(boxes) == len(instances):
        columns |= dict(zip(("x1", "y1", "x2", "y2"), boxes.T, strict=True))
    if skeleton is None:
        columns["label"] = _class_names(instances, labels)
    if instances.track_ids is not None:
        columns["track_id"] = instances.track_ids
    if instances.interpolated is not None:
        columns["interpolated"] = instances.interpolated
    if skeleton is not None and instances.keypoints is not None and instances.keypoint_scores is not None:
        for index, name in enumerate(skeleton.keypoints):
            x, y = instances.keypoints[:, index].T
            columns |= {f"{name}_x": x, f"{name}_y": y, f"{name}_score": instances.keypoint_scores[:, index]}
    return columns


def _class_names(instances: Instances, labels: Sequence[str]) -> list[str]:
    classes = instances.class_ids
    indices = [0] * len(instances) if classes is None else classes.tolist()
    return [labels[index] if index < len(labels) else f"{index}" for index in indices]


def _confidence_field(supervision: Any) -> str:
    """What supervision calls the scores of keypoints, which it has renamed."""
    fields = supervision.KeyPoints.__dataclass_fields__
    return "keypoint_confidence" if "keypoint_confidence" in fields else "confidence"


def __getattr__(name: str) -> Any:
    if name in {"KeypointResult", "DetectionResult"}:
        from hpi.compat.paddlex import results

        warn_deprecated(f"hpi.results.{name}")
        return getattr(results, name)
    raise AttributeError(f"module 'hpi.results' has no attribute {name!r}")
