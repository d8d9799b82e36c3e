"""rtmlib's solutions: a detector with a keypoint model behind it, or one model alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias

from hpi.compat.paddlex.config import read_pipeline
from hpi.compat.rtmlib.closing import OwnsModels
from hpi.compat.rtmlib.opening import ModelSource, Size
from hpi.compat.rtmlib.tools import (
    PERSON,
    RTMO,
    YOLOX,
    Arrays,
    DetectorTool,
    DetMode,
    PoseTool,
    RTMDet,
    RTMPose,
    Score,
    ViTPose,
    frame_of,
)
from hpi.errors import ConfigError
from hpi.instances import Image
from hpi.options import AUTO
from hpi.pipelines.base import Pipeline
from hpi.pipelines.topdown import TopDownPipeline

logger = logging.getLogger(__name__)

Mode: TypeAlias = Literal["performance", "balanced", "lightweight"]

SIZES: Mapping[str, str] = MappingProxyType({"performance": "accurate", "balanced": "balanced", "lightweight": "light"})
"""rtmlib's modes, and the ends of the names that the pipelines of the registry have for them."""
RTMO_MODELS: Mapping[str, str] = MappingProxyType(
    {"performance": "rtmo-l", "balanced": "rtmo-m", "lightweight": "rtmo-s"}
)
"""Those of the registry for each mode."""
ANIMAL = "ap10k17"
DETECTORS: Mapping[str, type[DetectorTool]] = MappingProxyType({"YOLOX": YOLOX, "RTMDet": RTMDet})
POSES: Mapping[str, type[PoseTool]] = MappingProxyType({"RTMPose": RTMPose, "ViTPose": ViTPose, "RTMO": RTMO})
"""The classes that :class:`Custom` takes by name."""


class Solution(OwnsModels):
    """A detector and a keypoint model, or one that needs no detector. Close it, or use it in a ``with`` statement.

    Attributes:
        det_model: the detector; None where there is none.
        pose_model: the keypoint model.
        pipeline: both together.
    """

    det_model: DetectorTool | None
    pose_model: PoseTool
    pipeline: Pipeline

    def _open(
        self,
        detector: Callable[[], DetectorTool] | None,
        pose: Callable[[], PoseTool],
        categories: Collection[int] | None = None,
    ) -> None:
        """Open the models. Of a detector, boxes of these classes count; None: of people, or all with multiclass."""
        with ExitStack() as opened:
            self.det_model = None if detector is None else opened.enter_context(detector())
            self.pose_model = opened.enter_context(pose())
            opened.pop_all()
        if self.det_model is None:
            self.pipeline = self.pose_model.pipeline
            return
        everything = self.det_model.det_mode == "multiclass"
        classes = categories or (None if everything else [PERSON])
        self.pipeline = TopDownPipeline(self.det_model.model, self.pose_model.model, classes)

    def __call__(self, image: Image) -> Arrays:
        """Find people.

        Args:
            image: ``[H, W, 3]`` uint8 BGR.

        Returns:
            ``keypoints [N, K, 2]`` float32, pixels, and ``scores [N, K]`` float32; ``[0, K, 2]`` where nobody is found.

        Raises:
            InputError: the image cannot be used.
            BackendError: a runtime failed.
        """
        (people,) = self.pipeline.run([frame_of(image)])
        return self.pose_model.arrays(people)

    def close(self) -> None:  # noqa: D102
        if self.det_model is not None:
            self.det_model.close()
        self.pose_model.close()


class _TopDown(Solution):
    """A detector and an RTMPose of the registry, where files do not take their places."""

    registered: ClassVar[str]
    """The beginning of the pipelines' names."""
    detector: ClassVar[type[DetectorTool]] = YOLOX
    usual_mode: ClassVar[Mode] = "balanced"

    def __init__(
        self,
        det: ModelSource | None = None,
        det_input_size: Size | None = None,
        pose: ModelSource | None = None,
        pose_input_size: Size | None = None,
        mode: Mode | None = None,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        score: Score = "mean",
        **options: Any,
    ) -> None:
        common = {"backend": backend, "device": device, **options}
        mode = mode or self.usual_mode
        if (alone := self._one_stage(pose, mode)) is not None:
            if det is not None:
                logger.warning("det=%s has no effect: RTMO needs no detector", det)
            self._open(None, lambda: RTMO(alone, pose_input_size, to_openpose=to_openpose, **common))
            return
        found, estimator = usual_models(self.registered, mode, det, pose)
        self._open(
            lambda: self.detector(found, det_input_size, **common),
            lambda: RTMPose(estimator, pose_input_size, to_openpose=to_openpose, score=score, **common),
        )

    def _one_stage(self, pose: ModelSource | None, mode: str) -> ModelSource | None:
        """The RTMO that takes the place of both models; None: they are needed."""
        return None


class Body(_TopDown):
    """The 17 keypoints of bodies.

    Args:
        det: path of the detector, its name in the registry, or rtmlib's address; None: that of the mode.
        det_input_size: (height, width) of its input, pixels; None: as the model says.
        pose: path, name or address of the keypoint model; None: that of the mode. ``"rtmo"`` is the RTMO of the mode,
            and a file with ``rtmo`` in its name is one.
        pose_input_size: (width, height) of its input, pixels; None: as the model says.
        mode: ``"performance"``, ``"balanced"``, the default, or ``"lightweight"``.
        to_openpose: give the keypoints in OpenPose's order, with a neck.
        backend: ``"onnxruntime"``, ``"openvino"``, or another one of this package; ``"auto"``: the fastest.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        score: of a keypoint; see :class:`hpi.compat.rtmlib.RTMPose`.
        options: further ones of :class:`hpi.Predictor`, such as ``threads``.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.

    Example:
        >>> Body(mode="fast")
        Traceback (most recent call last):
        hpi.errors.ConfigError: mode is 'fast': give performance, balanced, lightweight
    """

    registered = "body"

    def _one_stage(self, pose: ModelSource | None, mode: str) -> ModelSource | None:
        if pose is None or "rtmo" not in Path(pose).name:
            return None
        return RTMO_MODELS[_checked(mode)] if pose == "rtmo" else pose


class BodyWithFeet(_TopDown):
    """The 26 keypoints of Halpe, bodies with feet; arguments as of :class:`Body`."""

    registered = "body26"


class Wholebody(_TopDown):
    """The 133 keypoints of COCO-WholeBody: body, feet, face and hands; arguments as of :class:`Body`."""

    registered = "wholebody"


class Hand(_TopDown):
    """The 21 keypoints of hands; arguments as of :class:`Body`, but the mode is ``"lightweight"`` by default."""

    registered = "hand"
    detector = RTMDet
    usual_mode = "lightweight"


class Animal(Solution):
    """The 17 keypoints of animals.

    Args:
        det: as of :class:`Body`; its classes are COCO's.
        det_categories: classes that count; None: all.
        det_input_size: as of :class:`Body`.
        pose: likewise, a ViTPose.
        pose_input_size: likewise.
        mode: likewise.
        to_openpose: it has no effect, and none in rtmlib: an animal has no such order.
        backend: as of :class:`Body`.
        device: likewise.
        options: likewise.

    Raises:
        HpiError: as of :class:`hpi.Predictor`.
    """

    def __init__(
        self,
        det: ModelSource | None = None,
        det_categories: Collection[int] | None = None,
        det_input_size: Size | None = None,
        pose: ModelSource | None = None,
        pose_input_size: Size | None = None,
        mode: Mode = "balanced",
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        if to_openpose:
            logger.warning("to_openpose=True has no effect: it is for people, not for animals")
        common = {"backend": backend, "device": device, **options}
        found, estimator = usual_models("animal", mode, det, pose)
        self._open(
            lambda: YOLOX(found, det_input_size, "multiclass", **common),
            lambda: ViTPose(estimator, pose_input_size, skeleton=ANIMAL, **common),
            det_categories,
        )


class Custom(Solution):
    """Models of your own choice.

    Args:
        det_class: ``"YOLOX"`` or ``"RTMDet"``; None: the keypoint model needs no detector.
        det: path of the detector, its name in the registry, or rtmlib's address.
        det_input_size: (height, width) of its input, pixels; None: as the model says.
        det_mode: ``"human"``: people count; ``"multiclass"``: everything does.
        det_categories: classes that count, whatever the mode.
        pose_class: ``"RTMPose"``, ``"ViTPose"`` or ``"RTMO"``.
        pose: path, name or address of the keypoint model.
        pose_input_size: (width, height) of its input, pixels, (height, width) of an RTMO; None: as the model says.
        mode: it has no effect, and none in rtmlib.
        to_openpose: give the keypoints in OpenPose's order, with a neck.
        backend: as of :class:`Body`.
        device: likewise.
        options: likewise; ``score`` goes to an RTMPose.

    Raises:
        ConfigError: there is no such class, or a model is missing.
        HpiError: as of :class:`hpi.Predictor`.

    Example:
        >>> Custom(pose_class="RTMPose3d", pose="pose.onnx")
        Traceback (most recent call last):
        hpi.errors.ConfigError: pose_class is 'RTMPose3d': give RTMPose, ViTPose, RTMO
    """

    def __init__(
        self,
        det_class: str | None = None,
        det: ModelSource | None = None,
        det_input_size: Size | None = None,
        det_mode: DetMode = "human",
        det_categories: Collection[int] | None = None,
        pose_class: str | None = None,
        pose: ModelSource | None = None,
        pose_input_size: Size | None = None,
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str | None = AUTO,
        device: str = "cpu",
        *,
        score: Score | None = None,
        **options: Any,
    ) -> None:
        if mode is not None:
            logger.warning("mode=%r has no effect: Custom takes the models that it is given", mode)
        kind = _named(POSES, "pose_class", pose_class)
        if pose is None:
            raise ConfigError("pose: give the path of the keypoint model")
        if score is not None and kind is not RTMPose:
            raise ConfigError(f"score is for an RTMPose, not for a {kind.__name__}: leave it out")
        common = {"backend": backend, "device": device, **options}
        of_pose = {**common, "to_openpose": to_openpose, **({} if score is None else {"score": score})}
        detector = None
        if det_class is not None:
            finder = _named(DETECTORS, "det_class", det_class)
            if det is None:
                raise ConfigError("det: give the path of the detector")
            detector = partial(finder, det, det_input_size, det_mode, **common)
        self._open(detector, lambda: kind(pose, pose_input_size, **of_pose), det_categories)


def usual_models(
    registered: str, mode: str, det: ModelSource | None, pose: ModelSource | None
) -> tuple[ModelSource, ModelSource]:
    """The detector and the keypoint model: those that are given, else those of the registry's pipeline.

    Args:
        registered: the beginning of the pipeline's name.
        mode: rtmlib's.
        det: the detector that is given.
        pose: the keypoint model that is given.

    Raises:
        ConfigError: there is no such mode, or no such pipeline.

    Example:
        >>> usual_models("body", "balanced", "yolox.onnx", "pose.onnx")
        ('yolox.onnx', 'pose.onnx')
    """
    if det is not None and pose is not None:
        return det, pose
    modules = read_pipeline(f"{registered}-{SIZES[_checked(mode)]}").modules
    return det or modules.ObjectDetection.model_name, pose or modules.KeypointDetection.model_name


def _checked(mode: str) -> str:
    if mode not in SIZES:
        raise ConfigError(f"mode is {mode!r}: give {', '.join(SIZES)}")
    return mode


def _named(classes: Mapping[str, Any], argument: str, name: str | None) -> Any:
    if name is None or name not in classes:
        raise ConfigError(f"{argument} is {name!r}: give {', '.join(classes)}")
    return classes[name]
