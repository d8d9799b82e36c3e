"""The one interface: :class:`Predictor`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import repeat
from os import PathLike, fspath
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, device_index
from hpi.backends.gpu import gpu_count
from hpi.compat.paddlex.config import (
    HpiConfig,
    PipelineConfig,
    SubModules,
    options_of,
    pipeline_names,
    read_pipeline,
)
from hpi.errors import BackendError, ConfigError, InputError
from hpi.io.validation import is_yaml, parse, read_yaml
from hpi.kernels.boxes import clip_boxes, has_area
from hpi.model_files import ModelSpec
from hpi.names import Names
from hpi.options import AUTO, MAX_BATCH_SIZE, Options, Resolved, check_count, check_score, read_devices, resolve
from hpi.overlap import ahead, side_by_side
from hpi.pipelines import HumanPose, people_classes
from hpi.results import DetectionResult, KeypointResult, Result
from hpi.selection import Choice, Ranked, choose
from hpi.selection.choice import PRECISIONS, Wish
from hpi.selection.measure import TUNED_BATCHES, Failure, Measurement, Protocol, measure
from hpi.selection.priors import Prior, Priors, device_class
from hpi.sources import Image, Input, Item, check_input, count_items, is_several, is_single, is_video, read_items
from hpi.tasks.detection import Detector
from hpi.tasks.keypoints import KeypointEstimator, KeypointOptions
from hpi.zoo import Zoo

logger = logging.getLogger(__name__)

Boxes = NDArray[np.float32]
OnError = Callable[[InputError], None]

MAX_COORDINATE = 1e6
MAX_NORMALIZED = 1.5
"""Boxes of an image of which no coordinate is larger are taken for fractions of its size, perhaps a little outside."""
MAX_BATCH_BYTES = 512 << 20
"""A batch of images that take as much is full, whatever its size in images."""
MAX_AHEAD = 32
"""Most images that are read before they are asked for."""


@dataclass(frozen=True)
class _Opened:
    """A model that the predictor has loaded."""

    spec: ModelSpec
    wish: Wish
    choice: Choice


@dataclass(frozen=True)
class _Replica:
    """The models on one device; a detector, a keypoint model, or both."""

    detector: Detector | None
    estimator: KeypointEstimator | None
    pose: HumanPose | None


@dataclass(frozen=True)
class _Job:
    """One image on its way through a batch; ``boxes`` only where the caller gave them."""

    path: str | None
    image: Image
    boxes: Boxes | None
    page: int | None
    frame: int | None


@dataclass(frozen=True)
class _Unusable:
    """An item of the input that is no image, and why."""

    item: Item
    error: InputError


class Predictor:
    """People and joints in images, by a pipeline or by a single model, on the runtime that serves each model.

    Safe to use from several threads. Owns the sessions that it opens: close it, or use it in a ``with`` statement.

    Attributes:
        name: the pipeline or model.
        batch_size: images that go through the models together, where :meth:`predict` does not say.
        threshold: the pipeline's own, for people; None: the detector's.
    """

    def __init__(
        self,
        name: str | PathLike[str],
        *,
        model_dir: str | PathLike[str] | None = None,
        device: str | None = None,
        backend: str | None = None,
        precision: str | None = None,
        objective: str | None = None,
        max_p99_ms: float | None = None,
        max_deviation_px: float | None = None,
        batches: Sequence[int] | None = None,
        threads: int | None = None,
        config: Mapping[str, Any] | None = None,
        flip: bool | None = None,
        use_udp: bool | None = None,
        batch_size: int | None = None,
        threshold: float | None = None,
        hpi_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Find the models and load them.

        An argument that is given outranks the pipeline's YAML, in which the section of a model outranks the rest; see
        :mod:`hpi.options`.

        Args:
            name: a pipeline (``"human_keypoint_detection_lite"``), a model (``"PP-TinyPose_128x96"``), or a YAML file
                of either.
            model_dir: folder of a single model's files; a pipeline's YAML has one for each of its models.
            device: ``"cpu"``; ``"gpu"``, ``"gpu:1"`` or ``"cuda:1"``; ``"gpu:0,1"`` for a copy of the models on each
                card, which then share the images; ``"npu:0"``, ``"xpu:0"``, ``"mlu:0"`` and the like where the
                installed Paddle has them; ``"auto"``, the default, for the first GPU that serves, else the CPU.
            backend: the runtime for every model, such as ``"openvino"``; by default ``"auto"``.
            precision: ``"fp32"``, the default, ``"bf16"`` where the CPU has it, ``"fp16"`` on a GPU, or ``"auto"`` for
                any. What is not FP32 is only used where it gives the same keypoints as FP32.
            objective: what the choice of the runtime is for: ``"latency"`` of one image with few people, the default,
                ``"throughput"`` of many images and people, or little ``"memory"``.
            max_p99_ms: only take a runtime whose measured p99 for the expected batches is below it.
            max_deviation_px: only take a runtime whose joints are that close to the reference's, pixels of the crop.
            batches: numbers of people to expect in a run, which the choice of the runtime goes by.
            threads: CPU threads of one inference; by default ``OMP_NUM_THREADS``, else all cores that the process may
                use.
            config: content of a pipeline YAML; it replaces the one that ``name`` stands for.
            flip: average each person with the mirrored crop: twice the work, a little more accurate. None: as the
                pipeline says.
            use_udp: crop by the UDP convention. None: as the pipeline or the model says.
            batch_size: images that go through the models together, where :meth:`predict` does not say.
            threshold: keep people that score above it, where :meth:`predict` does not say.
            hpi_config: PaddleX's dictionary, in place of that of the pipeline as a whole.

        Raises:
            ConfigError: a name, a field or an argument is wrong.
            ModelError: a model cannot be found, fetched or read.
            BackendError: no runtime, or not the one asked for, can serve a model.
        """
        if not isinstance(name, (str, PathLike)):
            raise ConfigError(f"name is {name!r}: give that of a pipeline, a model or a YAML file")
        given = Options(
            device=device,
            backend=backend,
            precision=precision,
            objective=objective,
            max_p99_ms=max_p99_ms,
            max_deviation_px=max_deviation_px,
            batches=batches or None,
            threads=threads,
            flip=flip,
            use_udp=use_udp,
            batch_size=batch_size,
            threshold=threshold,
        )
        self.name = fspath(name)
        self._given = given
        others = {"model_dir": model_dir and Path(model_dir).absolute(), "config": config, "hpi_config": hpi_config}
        self._arguments = str(Path(name).absolute()) if is_yaml(self.name) else self.name, {**given.said, **others}
        self._process = os.getpid()
        self._zoo = Zoo.default()
        self._priors = Priors(self._zoo.own_priors)
        self._opened: list[_Opened] = []
        pipeline = self._read_pipeline(config)
        if pipeline is not None and model_dir is not None:
            raise ConfigError("model_dir is for a single model; in a pipeline, its YAML has one for each model")
        configured = parse(HpiConfig, hpi_config or {}, "hpi_config")
        if pipeline is None:
            options = resolve(given, configured.options)
            self._replicas = self._open_on(options.device, partial(self._open_model, model_dir, options))
        else:
            self.name = pipeline.pipeline_name
            if hpi_config:
                pipeline = pipeline.model_copy(update={"hpi_config": configured})
            modules = pipeline.modules
            options = resolve(given, options_of(modules.ObjectDetection), options_of(pipeline))
            of_pose = resolve(given, options_of(modules.KeypointDetection), options_of(pipeline))
            open_pipeline = partial(self._open_pipeline, modules, options, of_pose)
            self._replicas = self._open_on(options.device, open_pipeline)
        self.batch_size, self.threshold = options.batch_size, options.threshold

    def predict(
        self,
        input: Input,  # noqa: A002 - PaddleX's name
        *,
        batch_size: int | None = None,
        det_threshold: float | None = None,
        threshold: float | None = None,
        boxes: ArrayLike | Sequence[ArrayLike] | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[Result]:
        """Predict, image by image as the returned iterator is advanced; arguments are checked at once.

        Of several images the next ones are read and decoded in the background: by another thread, which also advances
        an iterator.

        Args:
            input: ``[H, W, 3]`` uint8 BGR array or CPU tensor; path of an image, a PDF, a video or a folder of these;
                http(s) URL of an image or PDF; Pillow image; content of an image file as bytes, or the file open in
                binary mode; or a list or iterator of these. Each page of a PDF or TIFF and each frame of a video or
                animation is an image. See :mod:`hpi.sources`.
            batch_size: images that go through the models together; by default the pipeline's. People always go
                together.
            det_threshold: keep people that score above it, in [0, 1]; by default the pipeline's, else the detector's.
            threshold: the same, by the name it has for a detection model in PaddleX.
            boxes: for a keypoint model: the people of an image, ``[N, 4]`` (x1, y1, x2, y2) in pixels, from a detector
                of your own; they are padded like a pipeline's. For a list of images, a list of such. Without boxes
                each image is taken for one person.
            on_error: called for each image that cannot be used, and prediction goes on. By default the error is raised
                where the image would have come, except for files found in a folder: these are logged.

        Returns:
            An iterator over one :class:`KeypointResult` or :class:`DetectionResult` per image, in order.

        Raises:
            InputError: an argument is wrong; while iterating, an image is.
            BackendError: while iterating, a runtime failed.
        """
        self._check_process()
        batch_size = check_count("batch_size", batch_size, MAX_BATCH_SIZE, InputError) or self.batch_size
        score = check_score("det_threshold", threshold if det_threshold is None else det_threshold)
        check_input(input)
        per_image = self._check_boxes(input, boxes)
        items = read_items(input, one_each=per_image is not None)
        if not is_single(input):
            items = ahead(items, depth=min(batch_size, MAX_AHEAD))
        return self._stream(items, per_image, batch_size, score, on_error)

    __call__ = predict

    @property
    def detector(self) -> Detector | None:
        """What finds people, on the first device; None for a single keypoint model."""
        return self._replicas[0].detector

    @property
    def estimator(self) -> KeypointEstimator | None:
        """What finds joints, on the first device; None for a single detector."""
        return self._replicas[0].estimator

    @property
    def pipelines(self) -> list[HumanPose]:
        """Detector and keypoint model together, on each device; empty for a single model."""
        return [one.pose for one in self._replicas if one.pose]

    @property
    def backend(self) -> str:
        """The runtime in use; where the models use different ones, all of them joined by ``+``."""
        return "+".join(dict.fromkeys(opened.choice.session.info.backend for opened in self._opened))

    @property
    def device(self) -> str:
        """What it runs on: ``"cpu"``, ``"gpu:0"``, ``"gpu:0,1"`` and the like."""
        first, *others = dict.fromkeys(opened.wish.options.device for opened in self._opened)
        return ",".join([first, *(f"{device_index(other)}" for other in others)])

    def describe(self) -> dict[str, Any]:
        """What is really running, in plain Python types: for each model the files, the runtime, and why that one."""
        return {"name": self.name, "models": [_describe(opened) for opened in self._opened]}

    def tune(
        self, seconds: float = 60, *, told: Callable[[str, Measurement | Failure], None] = lambda *_: None
    ) -> list[Prior]:
        """Measure every runtime with these models on this machine, with real crops, and keep the result.

        From then on new predictors choose by it; this one stays as it is. With the objective memory, that is measured
        too.

        Args:
            seconds: time for all of it; what is begun is finished.
            told: called with a model's name and each result.

        Returns:
            What was stored as this machine's measurements.

        Raises:
            BackendError: no runtime can serve a model.
            ConfigError: the result cannot be stored.
        """
        rows: list[Prior] = []
        once = {opened.spec.name: opened for opened in self._opened}  # on several cards: on the last of them
        for name, opened in once.items():
            wish = opened.wish
            protocol = Protocol(
                batches=wish.batches or TUNED_BATCHES[wish.objective][opened.spec.task],
                seconds=seconds / len(once),
                memory=wish.objective == "memory",
            )
            basis = self._priors.basis(name, device_class(wish.options.device), wish.options.thread_count)
            measured = measure(opened.spec, wish.options, protocol, partial(told, name), basis)
            fresh = [measurement.row(name) for measurement in measured]
            self._priors.store(fresh)
            rows += fresh
        return rows

    def warmup(self) -> None:
        """Run each model once, so that the first prediction is not slower than the next."""
        image = np.zeros((64, 64, 3), np.uint8)
        for replica in self._replicas:
            if replica.detector:
                replica.detector.predict([image])
            if replica.estimator:
                replica.estimator.predict([image], [replica.estimator.whole_image(image)])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled are the arguments; the models are opened anew where it is unpickled."""
        return _open_copy, (type(self), *self._arguments), {"batch_size": self.batch_size, "threshold": self.threshold}

    def _check_process(self) -> None:
        """Refuse to work in a forked process, in which the runtimes' threads do not exist and a run would hang."""
        if os.getpid() != self._process:
            raise BackendError(
                f"{self.name} was opened in another process, and its runtimes do not survive a fork: open a Predictor "
                "in each process, or pass this one to processes that are started with the method 'spawn'"
            )

    def close(self) -> None:
        """Unload the models. Closing twice is harmless."""
        for opened in self._opened:
            opened.choice.session.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_pipeline(self, config: Mapping[str, Any] | None) -> PipelineConfig | None:
        """The pipeline that the name stands for; None where it is that of a model."""
        if config is not None:
            return read_pipeline(config)
        if is_yaml(self.name):
            content = read_yaml(Path(self.name))
            if isinstance(content, dict) and "sources" in content:
                self.name = self._zoo.add(Path(self.name)).name
                return None
            return read_pipeline(self.name)
        return read_pipeline(self.name) if self.name in pipeline_names() else None

    def _open_on(self, device: str, open_replica: Callable[[str], _Replica]) -> list[_Replica]:
        """The models on each device of a device string; whatever was opened is closed where one fails."""
        gpu_by_chance = device == AUTO and bool(gpu_count())
        devices = ["gpu:0" if gpu_by_chance else "cpu"] if device == AUTO else read_devices(device)
        try:
            return [open_replica(one) for one in devices]
        except BackendError as error:
            self.close()
            if not gpu_by_chance:
                raise
            logger.warning(
                "%s runs on the CPU, though there is a GPU (device='cpu' says it shall): %s", self.name, error
            )
            self._opened = []
            return self._open_on("cpu", open_replica)
        except BaseException:
            self.close()
            raise

    def _open_pipeline(self, modules: SubModules, of_detector: Resolved, of_pose: Resolved, device: str) -> _Replica:
        detection, keypoints = modules.ObjectDetection, modules.KeypointDetection
        found = self._open(detection.model_name, detection.model_dir, of_detector, device, "object_detection")
        people = people_classes(found.spec.labels, of_detector.classes)
        posed = self._open(keypoints.model_name, keypoints.model_dir, of_pose, device, "keypoint_detection")
        detector = Detector(found.spec, found.choice.session)
        estimator = KeypointEstimator(posed.spec, posed.choice.session, _keypoint_options(of_pose))
        return _Replica(detector, estimator, HumanPose(detector, estimator, people))

    def _open_model(self, model_dir: str | PathLike[str] | None, options: Resolved, device: str) -> _Replica:
        if model_dir is None and self.name not in self._zoo.models:
            raise ConfigError(
                f"{self.name!r} is no pipeline ({', '.join(pipeline_names())}), no model "
                f"({', '.join(self._zoo.models)}) and no YAML file; for one of your own give its folder as model_dir"
            )
        opened = self._open(self.name, model_dir, options, device)
        session = opened.choice.session
        if opened.spec.task == "keypoint_detection":
            estimator = KeypointEstimator(opened.spec, session, _keypoint_options(options))
            return _Replica(None, estimator, None)
        if self._given.flip is not None or self._given.use_udp is not None:
            raise ConfigError(f"{self.name} is a detector: flip and use_udp are for keypoint models")
        return _Replica(Detector(opened.spec, session), None, None)

    def _open(
        self,
        name: str,
        model_dir: str | PathLike[str] | None,
        options: Resolved,
        device: str,
        task: str | None = None,
    ) -> _Opened:
        """Find a model and load it."""
        spec = self._zoo.find(name, None if model_dir is None else Path(model_dir))
        if task is not None and spec.task != task:
            raise ConfigError(f"{self.name}: {name} does {spec.task}, but stands where {task} is needed")
        wish = Wish(
            SessionOptions(ArtifactCache(self._zoo.artifacts), device=device, threads=options.threads),
            backend=options.backend,
            precisions=PRECISIONS if options.precision == AUTO else (options.precision,),
            objective=options.objective,
            batches=options.batches if spec.task == "keypoint_detection" else None,
            max_p99_ms=options.max_p99_ms,
            max_deviation_px=options.max_deviation_px,
        )
        opened = _Opened(spec, wish, choose(spec, wish, self._priors))
        self._opened.append(opened)
        return opened

    def _check_boxes(self, source: Input, boxes: ArrayLike | Sequence[ArrayLike] | None) -> list[Boxes] | None:
        """Boxes for each image of the input, ``[N, 4]`` float32."""
        if boxes is None:
            return None
        if self.estimator is None or self.detector is not None:
            raise InputError(f"boxes are for a keypoint model; {self.name} finds its own")
        several = is_several(source)
        if several and not isinstance(source, Sequence):
            raise InputError("boxes: these go with a list of images, so that it is known which are whose")
        per_image: Any = boxes if several else [boxes]
        images: Sequence[Any] = source if several else [source]  # type: ignore[assignment]
        if any(is_video(image) for image in images):
            raise InputError("boxes: these go with pictures; of a video, pass the frames as arrays")
        if not isinstance(per_image, Sequence | np.ndarray) or not (
            len(per_image) == count_items(source) == len(images)
        ):
            raise InputError("boxes: give one list of boxes for each image, and name the images, not folders")
        return [_check_box_array(of_image) for of_image in per_image]

    def _stream(
        self,
        items: Generator[Item],
        per_image: list[Boxes] | None,
        batch_size: int,
        threshold: float | None,
        on_error: OnError | None,
    ) -> Iterator[Result]:
        names = Names()
        with closing(items):  # at once, also after an error: a thread may be reading ahead
            for part, results in self._run_all(_batches(items, per_image, batch_size), threshold):
                if isinstance(part, _Unusable):
                    _report(part.error, part.item, on_error)
                else:
                    for result in results():
                        names.give(result)
                        yield result

    def _run_all(
        self, parts: Iterator[list[_Job] | _Unusable], threshold: float | None
    ) -> Iterator[tuple[list[_Job] | _Unusable, Callable[[], Sequence[Result]]]]:
        """Each part with its results, in order. Of several devices, each takes the next batch when it is free."""
        if len(self._replicas) == 1:
            for part in parts:
                yield part, partial(self._run, self._replicas[0], part, threshold)
            return
        free: SimpleQueue[_Replica] = SimpleQueue()
        for replica in self._replicas:
            free.put(replica)

        def run(part: list[_Job] | _Unusable) -> Sequence[Result]:
            replica = free.get()
            try:
                return self._run(replica, part, threshold)
            finally:
                free.put(replica)

        for part, future in side_by_side(run, parts, len(self._replicas)):
            yield part, future.result

    def _run(self, replica: _Replica, part: list[_Job] | _Unusable, threshold: float | None) -> Sequence[Result]:
        if isinstance(part, _Unusable):
            return []
        results = self._predict(replica, part, threshold)
        for job, result in zip(part, results, strict=True):
            result.set_place(job.page, job.frame)
        return results

    def _predict(self, replica: _Replica, batch: list[_Job], threshold: float | None) -> Sequence[Result]:
        score = self.threshold if threshold is None else threshold
        images, detector, estimator = [job.image for job in batch], replica.detector, replica.estimator
        if replica.pose is not None:
            people, skeleton = replica.pose.predict(images, score), replica.pose.estimator.skeleton
            return [
                KeypointResult.of_pipeline(job.path, job.image, *found, skeleton)
                for job, found in zip(batch, people, strict=True)
            ]
        if detector is not None:
            found = detector.predict(images, score)
            labels = detector.spec.labels
            return [DetectionResult.of(job.path, job.image, one, labels) for job, one in zip(batch, found, strict=True)]
        assert estimator is not None  # a replica has at least one of them
        return self._run_estimator(batch, images, estimator)

    @staticmethod
    def _run_estimator(batch: list[_Job], images: list[Image], estimator: KeypointEstimator) -> Sequence[Result]:
        regions = [
            estimator.whole_image(job.image) if job.boxes is None else estimator.regions(job.boxes) for job in batch
        ]
        joints = estimator.predict(images, regions)
        return [
            KeypointResult.of_model(job.path, job.image, of_image, estimator.skeleton)
            for job, of_image in zip(batch, joints, strict=True)
        ]


def _describe(opened: _Opened) -> dict[str, Any]:
    spec, choice = opened.spec, opened.choice
    info = choice.session.info
    return {
        "model": spec.name,
        "task": spec.task,
        "model_dir": str(spec.folder),
        "backend": info.backend,
        "version": info.version,
        "device": info.device,
        "precision": info.precision,
        "variant": str(info.variant),
        "threads": info.threads,
        "batch_size": choice.session.batch_size,
        "file": str(info.model_path),
        "notes": list(info.notes),
        "reason": choice.reason,
        "rejected": dict(choice.rejected),
        "ranking": [_describe_ranked(one) for one in choice.ranking],
        "ranking_rests_on": choice.basis,
    }


def _describe_ranked(ranked: Ranked) -> dict[str, Any]:
    figures = asdict(ranked.estimate) if ranked.estimate else {}
    return {"candidate": str(ranked.candidate), "unavailable": ranked.unavailable, **figures}


def _keypoint_options(options: Resolved) -> KeypointOptions:
    return KeypointOptions(options.flip, options.use_udp)


def _check_box_array(boxes: ArrayLike) -> Boxes:
    try:
        array = np.array(boxes, np.float32)  # a copy: the caller may change them before the image is due
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes: not numbers [[x1, y1, x2, y2], ...]: {error}") from error
    if array.size == 0:
        return np.empty((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"boxes: shape {array.shape} instead of [N, 4]: one (x1, y1, x2, y2) per person")
    # NaN fails the comparison too.
    wrong = np.flatnonzero(~((np.abs(array) < MAX_COORDINATE).all(axis=1) & has_area(array)))
    if wrong.size:
        raise InputError(
            f"boxes: number {wrong[0]}, {array[wrong[0]].tolist()}, has no area, is not finite or is far too large; "
            "give x1 < x2 and y1 < y2 in pixels"
        )
    return array


def _make_job(item: Item, boxes: Boxes | None) -> _Job:
    if isinstance(item.image, InputError):
        raise item.image
    if boxes is not None:
        height, width = item.image.shape[:2]
        if len(boxes) and np.abs(boxes).max() <= MAX_NORMALIZED and min(height, width) > 2 * MAX_NORMALIZED:
            raise InputError(
                f"{item.path or 'image'}: the boxes, such as {boxes[0].tolist()}, seem to be relative to the image's "
                f"size; give pixels: x times {width}, y times {height}"
            )
        inside = has_area(clip_boxes(boxes, width, height))
        if not inside.all():
            index = int(np.flatnonzero(~inside)[0])
            raise InputError(
                f"{item.path or 'image'}: box number {index}, {boxes[index].tolist()}, lies outside its "
                f"{width}x{height} pixels"
            )
    return _Job(item.path, item.image, boxes, item.page, item.frame)


def _batches(items: Iterable[Item], per_image: list[Boxes] | None, batch_size: int) -> Iterator[list[_Job] | _Unusable]:
    """Images in batches. What came before an unusable item is a batch of its own, so that nothing of it is lost."""
    batch: list[_Job] = []
    for item, boxes in zip(items, repeat(None)) if per_image is None else zip(items, per_image, strict=True):
        try:
            batch.append(_make_job(item, boxes))
        except InputError as error:
            if batch:
                yield batch
            batch = []
            yield _Unusable(item, error)
        if len(batch) == batch_size or sum(job.image.nbytes for job in batch) >= MAX_BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _open_copy(kind: type[Predictor], name: str, arguments: Mapping[str, Any]) -> Predictor:
    return kind(name, **arguments)


def _report(error: InputError, item: Item, on_error: OnError | None) -> None:
    if on_error is not None:
        on_error(error)
    elif item.from_folder:
        logger.error("skipped: %s", error)
    else:
        raise error
