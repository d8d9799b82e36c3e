"""rtmlib's classes for single models: ``RTMPose``, ``ViTPose``, ``RTMO``, ``YOLOX``, ``RTMDet``."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.compat.rtmlib.closing import OwnsModels
from hpi.compat.rtmlib.opening import Changes, Channels, ModelSource, Size, open_model
from hpi.compat.rtmlib.openpose import check_has_coco, to_openpose
from hpi.errors import ConfigError, InputError
from hpi.heads.suppressing import SuppressingHead
from hpi.instances import Frame, Image, Instances
from hpi.kernels.nms import box_similarity, suppress
from hpi.models.description import Description, LetterboxDescription
from hpi.models.detector import Detector
from hpi.models.model import Model, Threshold
from hpi.options import AUTO
from hpi.pipelines.base import Pipeline, Regions
from hpi.pipelines.single import SingleModel
from hpi.regions import check_inside, given_regions
from hpi.skeletons import COCO
from hpi.sources.arrays import check_image

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
Arrays = tuple[Float32, Float32]
"""``keypoints [N, K, 2]``, pixels, and ``scores [N, K]``."""
Score = Literal["mean", "min"]
DetMode = Literal["human", "multiclass"]

PERSON = 0
"""The class of people."""


class Tool(OwnsModels):
    """A model under rtmlib's name. Owns its session: close it, or use it in a ``with`` statement.

    Attributes:
        predictor: what runs it.
        pipeline: what it does with a frame.
        kind: what an ONNX file is that does not say so.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        onnx_model: ModelSource,
        backend: str | None,
        device: str,
        options: Mapping[str, Any],
        *,
        skeleton: str = COCO,
    ) -> None:
        self.predictor = open_model(
            onnx_model, self.kind, skeleton, self._changes, backend=backend, device=device, options=options
        )
        self.pipeline: Pipeline = self.predictor.pipelines[0]

    @abstractmethod
    def _changes(self, description: Description) -> Changes:
        """What of the model's description is not as its files say."""

    @property
    def model(self) -> Model:
        """What stands in a pipeline."""
        return self.predictor.pipelines[0].models[0]

    def close(self) -> None:  # noqa: D102
        self.predictor.close()


class PoseTool(Tool):
    """A tool that finds keypoints.

    Attributes:
        to_openpose: whether its arrays have OpenPose's order, with a neck.
    """

    def __init__(
        self,
        onnx_model: ModelSource,
        backend: str | None,
        device: str,
        options: Mapping[str, Any],
        *,
        to_openpose: bool,
        skeleton: str = COCO,
    ) -> None:
        super().__init__(onnx_model, backend, device, options, skeleton=skeleton)
        self.to_openpose = to_openpose
        if to_openpose and self.pipeline.skeleton is not None:
            check_has_coco(len(self.pipeline.skeleton))

    def arrays(self, people: Instances) -> Arrays:
        """What rtmlib returns of people: their keypoints and scores, float32."""
        assert people.keypoints is not None  # a keypoint model finds them
        assert people.keypoint_scores is not None
        if not self.to_openpose:
            return people.keypoints, people.keypoint_scores
        return to_openpose(people.keypoints, people.keypoint_scores)


class _TopDownTool(PoseTool):
    """A tool that looks at one person at a time; here all people of an image go through the model together."""

    def __call__(self, image: Image, bboxes: ArrayLike | None = None) -> Arrays:
        """Find the keypoints of people.

        Args:
            image: ``[H, W, 3]`` uint8 BGR.
            bboxes: ``[N, 4]`` (x1, y1, x2, y2), pixels; None: the whole image is one person.

        Returns:
            ``keypoints [N, K, 2]`` float32, pixels, and ``scores [N, K]`` float32; of no boxes ``[0, K, 2]``.

        Raises:
            InputError: the image or a box cannot be used.
            BackendError: the runtime failed.
        """
        frame = frame_of(image)
        height, width = frame.image.shape[:2]
        (people,) = given_regions(frame.image, [[0, 0, width, height]] if bboxes is None else bboxes)
        check_inside(frame, people)
        (found,) = self.pipeline.run([frame], regions=[people])
        return self.arrays(found)


class RTMPose(_TopDownTool):
    """Keypoints from SimCC: RTMPose, RTMW, DWPose.

    Args:
        onnx_model: path of the file or folder, name of the registry, or rtmlib's address of a model.
        model_input_size: (width, height) of the input, pixels; None: as the model says.
        mean: of the channels red, green, blue; None: as the model says, else ImageNet's.
        std: likewise.
        to_openpose: give the keypoints in OpenPose's order.
        backend: ``"onnxruntime"``, ``"openvino"``, or another one of this package; ``"auto"``: the fastest.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        score: of a keypoint: the mean of the maxima along x and y, as in rtmlib, or the smaller one, ``"min"``, as in
            mmpose.
        skeleton: what it finds where there are several sets of so many keypoints.
        options: further ones of :class:`hpi.Predictor`, such as ``threads``.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.

    Example:
        >>> RTMPose("missing.onnx")
        Traceback (most recent call last):
        hpi.errors.ConfigError: missing.onnx: there is no such file, and no model of the registry has this name
    """

    kind = "simcc"

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        score: Score = "mean",
        skeleton: str = COCO,
        **options: Any,
    ) -> None:
        self._input = {"mean": mean, "std": std}
        self._size, self._score = model_input_size, score
        super().__init__(onnx_model, backend, device, options, to_openpose=to_openpose, skeleton=skeleton)

    def _changes(self, description: Description) -> Changes:
        return {"input": self._input, "transform": {"size": self._size}, "head": {"score": self._score}}


class ViTPose(_TopDownTool):
    """Keypoints from heatmaps, cropped and read by the UDP convention.

    Args:
        onnx_model: path of the file or folder, name of the registry, or rtmlib's address of a model.
        model_input_size: (width, height) of the input, pixels; None: as the model says.
        mean: of the channels red, green, blue; None: as the model says, else ImageNet's.
        std: likewise.
        to_openpose: give the keypoints in OpenPose's order.
        backend: as of :class:`RTMPose`.
        device: likewise.
        skeleton: likewise.
        options: likewise.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """

    kind = "vitpose"

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        skeleton: str = COCO,
        **options: Any,
    ) -> None:
        self._input = {"mean": mean, "std": std}
        self._size = model_input_size
        super().__init__(onnx_model, backend, device, options, to_openpose=to_openpose, skeleton=skeleton)

    def _changes(self, description: Description) -> Changes:
        return {"input": self._input, "transform": {"size": self._size}}


class RTMO(PoseTool):
    """People with their keypoints in one step.

    Args:
        onnx_model: path of the file or folder, name of the registry, or rtmlib's address of a model.
        model_input_size: (height, width) of the input, pixels; None: as the model says.
        mean: of the channels blue, green, red; None: as the model says, else 0.
        std: likewise; else 1.
        nms_thr: of two people whose boxes overlap more, the better one is kept.
        score_thr: people that score above it are kept.
        to_openpose: give the keypoints in OpenPose's order.
        backend: as of :class:`RTMPose`.
        device: likewise.
        options: likewise.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """

    kind = "rtmo"

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        nms_thr: float = 0.45,
        score_thr: float = 0.7,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self._input = {"mean": mean, "std": std}
        self._size = model_input_size
        self.nms_thr, self.score_thr = nms_thr, score_thr
        super().__init__(onnx_model, backend, device, options, to_openpose=to_openpose)
        self.pipeline = _Suppressed(self.model, nms_thr)

    def __call__(self, image: Image, nms_thr: float | None = None, score_thr: float | None = None) -> Arrays:
        """Find people.

        Args:
            image: ``[H, W, 3]`` uint8 BGR.
            nms_thr: for this image; None: that of the class.
            score_thr: likewise.

        Returns:
            ``keypoints [N, K, 2]`` float32, pixels, and ``scores [N, K]`` float32, best person first; ``[0, K, 2]``
            where nobody is found.

        Raises:
            InputError: the image cannot be used.
            BackendError: the runtime failed.
        """
        pipeline = self.pipeline if nms_thr is None else _Suppressed(self.model, nms_thr)
        least = self.score_thr if score_thr is None else score_thr
        (found,) = pipeline.run([frame_of(image)], threshold=least)
        return self.arrays(found)

    def _changes(self, description: Description) -> Changes:
        return {"input": self._input, "transform": _corner(self._size, description)}


class _Suppressed(SingleModel):
    """A model without those people whose boxes overlap that of a better one by more than a threshold."""

    def __init__(self, model: Model, most: float) -> None:
        super().__init__(model)
        self._most = most

    def _run(self, frames: Any, regions: Regions, threshold: Threshold) -> list[Instances]:
        return [people[self._kept(people)] for people in super()._run(frames, regions, threshold)]

    def _kept(self, people: Instances) -> NDArray[np.intp]:
        assert people.boxes is not None  # whole-image models give them
        alike = box_similarity(people.boxes)
        return suppress(people.scores, alike, above=-np.inf, alike=self._most, most=len(people))


class DetectorTool(Tool):
    """A tool that finds boxes.

    Attributes:
        det_mode: ``"human"``: it finds people; ``"multiclass"``: it finds everything, with its class.
        raw_score_thr: of a graph without suppression: boxes that score above it are kept, by default.
        raw_nms_thr: likewise: of two boxes of a class that overlap more, the better one is kept.
    """

    raw_score_thr: ClassVar[float]
    raw_nms_thr: ClassVar[float] = 0.45
    done_score_thr: ClassVar[float] = 0.3
    """Of a graph with suppression: boxes that score above it are kept, by default."""

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None,
        det_mode: DetMode,
        nms_thr: float | None,
        score_thr: float | None,
        backend: str | None,
        device: str,
        options: Mapping[str, Any],
        *,
        mean: Channels | None = None,
        std: Channels | None = None,
    ) -> None:
        if det_mode not in {"human", "multiclass"}:
            raise ConfigError(f"det_mode is {det_mode!r}: give 'human' or 'multiclass'")
        self.det_mode = det_mode
        self._input = {"mean": mean, "std": std}
        self._size, self._nms_thr, self._score_thr = model_input_size, nms_thr, score_thr
        super().__init__(onnx_model, backend, device, options)
        if isinstance(self.model, Detector):
            self.model.clips = False  # rtmlib crops what a box has beside the image, too

    def __call__(self, image: Image) -> Any:
        """Find boxes.

        Args:
            image: ``[H, W, 3]`` uint8 BGR.

        Returns:
            ``[N, 4]`` float32 (x1, y1, x2, y2), pixels, best first; with the mode ``"multiclass"`` also ``[N]`` int64,
            their classes.

        Raises:
            InputError: the image cannot be used.
            BackendError: the runtime failed.
        """
        (found,) = self.pipeline.run([frame_of(image)])
        assert found.boxes is not None  # a detector finds them
        assert found.class_ids is not None
        if self.det_mode == "multiclass":
            return found.boxes, found.class_ids
        return found.boxes[found.class_ids == PERSON]

    def _changes(self, description: Description) -> Changes:
        place = {"input": self._input, "transform": _corner(self._size, description)}
        if isinstance(description.head, SuppressingHead):
            score = self.raw_score_thr if self._score_thr is None else self._score_thr
            overlap = self.raw_nms_thr if self._nms_thr is None else self._nms_thr
            return {**place, "head": {"score_threshold": score, "iou_threshold": overlap}, "threshold": score}
        if self._nms_thr is not None:
            logger.warning("nms_thr=%s has no effect: the graph suppresses boxes itself", self._nms_thr)
        return {**place, "threshold": self.done_score_thr if self._score_thr is None else self._score_thr}


class YOLOX(DetectorTool):
    """The detector YOLOX, with or without suppression in its graph.

    Args:
        onnx_model: path of the file or folder, name of the registry, or rtmlib's address of a model.
        model_input_size: (height, width) of the input, pixels; None: as the model says.
        det_mode: ``"human"``: give the boxes of people; ``"multiclass"``: all boxes, with their classes.
        nms_thr: of two boxes of a class that overlap more, the better one is kept, 0.45 by default; it has no effect on
            a graph that suppresses itself.
        score_thr: boxes that score above it are kept. By default 0.7, or 0.3 of a graph that suppresses itself.
        backend: as of :class:`RTMPose`.
        device: likewise.
        options: likewise.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """

    kind = "yolox"
    raw_score_thr = 0.7

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None = None,
        det_mode: DetMode = "human",
        nms_thr: float | None = None,
        score_thr: float | None = None,
        backend: str | None = AUTO,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        super().__init__(onnx_model, model_input_size, det_mode, nms_thr, score_thr, backend, device, options)


class RTMDet(DetectorTool):
    """The detector RTMDet, with or without suppression in its graph.

    Args:
        onnx_model: path of the file or folder, name of the registry, or rtmlib's address of a model.
        model_input_size: (height, width) of the input, pixels; None: as the model says.
        det_mode: ``"human"``: give the boxes of people; ``"multiclass"``: all boxes, with their classes.
        mean: of the channels blue, green, red; None: as the model says, else ImageNet's.
        std: likewise.
        backend: as of :class:`RTMPose`.
        device: likewise.
        nms_thr: as of :class:`YOLOX`.
        score_thr: boxes that score above it are kept, 0.3 by default.
        options: as of :class:`RTMPose`.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """

    kind = "rtmdet"
    raw_score_thr = 0.3

    def __init__(
        self,
        onnx_model: ModelSource,
        model_input_size: Size | None = None,
        det_mode: DetMode = "human",
        mean: Channels | None = None,
        std: Channels | None = None,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        nms_thr: float | None = None,
        score_thr: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            onnx_model, model_input_size, det_mode, nms_thr, score_thr, backend, device, options, mean=mean, std=std
        )


def frame_of(image: Image) -> Frame:
    """An image, checked.

    Raises:
        InputError: it is none.

    Example:
        >>> frame_of(None)
        Traceback (most recent call last):
        hpi.errors.InputError: image is NoneType: give an array [H, W, 3] uint8 BGR, as cv2.imread returns it
    """
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"image is {type(image).__name__}: give an array [H, W, 3] uint8 BGR, as cv2.imread returns it"
        )
    return Frame(check_image(image))


def _corner(size: Size | None, description: Description) -> LetterboxDescription:
    """How rtmlib prepares whole images, whose sizes it has as (height, width)."""
    return LetterboxDescription(size=description.transform.transform.size if size is None else (size[1], size[0]))
