"""The one interface: :class:`Predictor`."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from hpi.backends.base import INT8, device_index
from hpi.compat.paddlex.config import (
    HpiConfig,
    PipelineConfig,
    options_of,
    pipeline_names,
    pipeline_of_folders,
    read_pipeline,
)
from hpi.compat.paddlex.results import PaddleXResult, paddlex_result
from hpi.deprecation import warn_deprecated
from hpi.errors import BackendError, ConfigError, HpiError, InputError
from hpi.instances import Instances
from hpi.io.validation import is_yaml, parse, read_yaml
from hpi.models.description import NAME, Description
from hpi.models.model import Model
from hpi.models.readers import Hints
from hpi.names import Names
from hpi.opening import Opener, Source
from hpi.options import AUTO, MAX_BATCH_SIZE, Options, check_count, check_score, resolve
from hpi.pipelines.base import Pipeline
from hpi.pipelines.topdown import TopDownPipeline
from hpi.regions import given_regions
from hpi.selection.calibration import is_wanted
from hpi.selection.measure import Failure, Measurement
from hpi.selection.priors import Prior
from hpi.selection.tuning import tune
from hpi.sources import Input, Item, check_input, is_many, is_single, read_items
from hpi.sources.streams import Stream, StreamOptions
from hpi.streaming import OnError, Unusable, ahead, run_items
from hpi.tracking.base import Tracking
from hpi.zoo import Zoo, suggestion, why_not_fetched

if TYPE_CHECKING:
    from hpi.sources.opening import StreamSource
    from hpi.streams import Followed

logger = logging.getLogger(__name__)

MAX_AHEAD = 32
"""Most images that are read before they are asked for."""


class Predictor:
    """Finds people and their keypoints in images, with a pipeline or a single model.

    Each model runs on the runtime that is fastest for it here and gives the reference's results.

    Safe to use from several threads. Owns the sessions that it opens: close it, or use it in a ``with`` statement.

    Attributes:
        name: the pipeline or model.
        pipelines: on each device, for images that come one at a time.
        batch_size: images that go through the models together, where :meth:`predict` does not say.
        threshold: the pipeline's own, for people; None: the detector's.

    Example:
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     for result in predictor.predict("examples/basketball.png"):
        ...         print(result, result.keypoints.shape)
        KeypointResult(examples/basketball.png: 2 people, 17 keypoints each) (2, 17, 2)
    """

    def __init__(
        self,
        name: str | PathLike[str],
        *,
        model_dir: str | PathLike[str] | None = None,
        kind: str | None = None,
        skeleton: str | PathLike[str] | None = None,
        description: Description | Mapping[str, Any] | None = None,
        device: str | None = None,
        backend: str | None = None,
        precision: str | None = None,
        objective: str | None = None,
        max_p99_ms: float | None = None,
        max_deviation_px: float | None = None,
        max_ap_loss: float | None = None,
        batches: Sequence[int] | None = None,
        threads: int | None = None,
        workers: int | None = None,
        backend_options: Mapping[str, Mapping[str, Any]] | None = None,
        config: Mapping[str, Any] | None = None,
        flip: bool | None = None,
        use_udp: bool | None = None,
        crop: str | None = None,
        use_dark: bool | None = None,
        batch_size: int | None = None,
        threshold: float | None = None,
        calibrate: bool | None = None,
        hpi_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Find the models and load them.

        An argument that is given outranks the pipeline's YAML, in which the section of a model outranks the rest; see
        :mod:`hpi.options`.

        Args:
            name: a pipeline (``"human_keypoint_detection_lite"``), a model (``"PP-TinyPose_128x96"``), a YAML file of
                either, or the path of a model of your own: its folder, or its ``.onnx`` file. A known name comes first;
                ``./NAME`` is always a path.
            model_dir: folder of a single model's files; a pipeline's YAML has one for each of its models.
            kind: of a model of your own: what it is, such as ``"simcc"``, where its files do not say it.
            skeleton: of a model of your own: its keypoints, such as ``"coco17"``, where its files do not say it.
            description: of an ONNX file of your own: what it is, in place of a file ``hpi.yml`` beside it.
            device: ``"cpu"``; ``"gpu"``, ``"gpu:1"`` or ``"cuda:1"``; ``"gpu:0,1"`` for a copy of the models on each
                GPU, which then share the images; ``"npu:0"``, ``"xpu:0"``, ``"mlu:0"`` and the like where the
                installed Paddle has them; ``"auto"``, the default, for the first usable GPU, else the CPU.
            backend: the runtime for every model, such as ``"openvino"``; by default ``"auto"``.
            precision: ``"fp32"``, the default, ``"bf16"`` where the CPU has it, ``"fp16"`` on a GPU, ``"int8"`` of a
                detector that ``hpi quantize`` has calibrated (a keypoint model beside it runs in FP32), or ``"auto"``
                for any. A lower precision is only used if it gives the same results as FP32.
            objective: what to choose the runtime for: ``"latency"`` of one image with few people, ``"throughput"`` for
                many images and people, or ``"memory"``. ``"auto"``, the default: latency where images come one at a
                time, throughput where many come together.
            max_p99_ms: only use a runtime whose measured p99 for the expected batches is below it.
            max_deviation_px: only use a runtime whose keypoints are within this distance of the reference's, pixels of
                the crop.
            max_ap_loss: let ``"auto"`` use a detector in INT8 that loses at most so many points of AP. None: no INT8.
            batches: expected numbers of people per run, to choose the runtime for.
            threads: CPU threads of one inference; by default ``OMP_NUM_THREADS``, else all cores that the process may
                use. Workers that are not asked for by number share them.
            workers: whole pipelines that run side by side on the CPU, each with ``threads`` threads. By default one for
                images that come one at a time; for many, by measurements, often one with one thread for each core.
            backend_options: options of single runtimes by their own names, handed through as they are, such as
                ``{"openvino": {"NUM_STREAMS": 1}}``. One that the runtime does not know is an error.
            config: content of a pipeline YAML; it replaces the one that ``name`` stands for.
            flip: average each person with the mirrored crop: twice the work, a little more accurate. None: as the
                pipeline says.
            use_udp: crop by the UDP convention. None: as the pipeline or the model says.
            crop: how people are cut out: ``"paddlex"``, as PaddleX does it, or ``"paddledetection"``. None: as the
                pipeline or the model says.
            use_dark: refine keypoints of heatmaps by DARK; False: by a quarter of a cell. None: as the pipeline or the
                model says.
            batch_size: images that go through the models together, where :meth:`predict` does not say.
            threshold: keep people that score above it, where :meth:`predict` does not say.
            calibrate: at the first start on a CPU that has not been measured, take up to 1.5 s to measure the runtimes
                that may be the fastest, and keep the result. None: as ``HPI_CALIBRATE`` says, else True.
            hpi_config: PaddleX's dictionary, in place of that of the pipeline as a whole.

        Raises:
            ConfigError: a name, a field or an argument is wrong.
            ModelError: a model cannot be found, fetched or read.
            BackendError: no runtime can run a model, or the requested one cannot.
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
            max_ap_loss=max_ap_loss,
            batches=batches or None,
            threads=threads,
            workers=workers,
            backend_options=backend_options or None,
            flip=flip,
            use_udp=use_udp,
            crop=crop,
            use_dark=use_dark,
            batch_size=batch_size,
            threshold=threshold,
        )
        self.name = fspath(name)
        others = {
            "model_dir": model_dir and Path(model_dir).absolute(),
            "kind": kind,
            "skeleton": skeleton,
            "description": description,
            "config": config,
            "calibrate": calibrate,
            "hpi_config": hpi_config,
        }
        self._arguments = str(Path(name).absolute()) if is_yaml(self.name) else self.name, {**given.specified, **others}
        self._process = os.getpid()
        self._opener = Opener(self.name, calibrate=is_wanted(calibrate))
        self._opening = threading.Lock()
        self._side_by_side: list[Pipeline] | None = None
        pipeline = self._read_pipeline(config)
        if pipeline is not None and model_dir is not None:
            raise ConfigError("model_dir is for a single model; in a pipeline, its YAML has one for each model")
        if pipeline is not None and (kind, skeleton, description) != (None, None, None):
            raise ConfigError(
                "kind, skeleton and description are for a single model; in a pipeline, its YAML has kind and skeleton "
                "for each model"
            )
        configured = parse(HpiConfig, hpi_config or {}, "hpi_config")
        if pipeline is None:
            hints = _hints(kind, skeleton, description)
            if model_dir is None and self.name not in self._opener.zoo.models:
                model_dir = self._as_path(name)
                self._arguments = str(model_dir), self._arguments[1]
                self.name = self._opener.zoo.name_of(model_dir, hints)
            options = resolve(given, configured.options)
            self._sources: tuple[Source, ...] = (Source(self.name, model_dir, options, hints),)
            self.pipelines = self._open_pipelines()
            of_keypoints = (flip, use_udp, crop, use_dark)
            if any(option is not None for option in of_keypoints) and not self._finds_keypoints:
                self.close()
                raise ConfigError(
                    f"{self.name} is a detector: flip, use_udp, crop and use_dark are for keypoint models"
                )
        else:
            self.name = pipeline.pipeline_name
            if hpi_config:
                pipeline = pipeline.model_copy(update={"hpi_config": configured})
            detector, estimator = pipeline.modules.ObjectDetection, pipeline.modules.KeypointDetection
            options = resolve(given, options_of(detector), options_of(pipeline))
            own = options_of(estimator)
            of_pose = resolve(given, own, options_of(pipeline))
            pose = Source(estimator.model_name, estimator.model_dir, of_pose, Hints(estimator.kind, estimator.skeleton))
            self._sources = (
                Source(detector.model_name, detector.model_dir, options, Hints(detector.kind)),
                pose if own.precision == INT8 else pose.beside_detector(),
            )
            self.pipelines = self._open_pipelines()
        self.batch_size, self.threshold = options.batch_size, options.threshold

    @classmethod
    def of_folders(
        cls,
        keypoint_model_dir: str | PathLike[str],
        det_model_dir: str | PathLike[str] | None = None,
        *,
        kind: str | None = None,
        skeleton: str | PathLike[str] | None = None,
        det_kind: str | None = None,
        **options: Any,
    ) -> Predictor:
        """Open a keypoint model by its folder alone, for everyone that the detector in another folder finds.

        Args:
            keypoint_model_dir: folder of the keypoint model, or its ``.onnx`` file.
            det_model_dir: folder of the detector, or its ``.onnx`` file. None: the keypoint model takes whole images,
                which are one person each unless it is bottom-up.
            kind: what the keypoint model is, where its files do not say it.
            skeleton: its keypoints, where its files do not say them.
            det_kind: what the detector is, where its files do not say it.
            options: as of the class.

        Raises:
            ConfigError: a model stands where the other kind is needed.
            HpiError: as the class.

        Example:
            >>> from hpi.zoo import Zoo
            >>> names = ("MoveNet-Thunder_256x256", "PicoDet-S_person_416")
            >>> folders = [Zoo.default().find(name).folder for name in names]
            >>> with Predictor.of_folders(*folders, device="cpu") as predictor:
            ...     predictor.name
            'PicoDet-S_person_416 + MoveNet-Thunder_256x256'
        """
        hints = _hints(kind, skeleton)
        if det_model_dir is not None:
            config = pipeline_of_folders(det_model_dir, keypoint_model_dir, Hints(det_kind), hints)
            return cls(config["pipeline_name"], config=config, **options)
        if det_kind is not None:
            raise ConfigError(f"det_kind is {det_kind!r}, but no detector is given")
        name = Zoo.default().name_of(Path(keypoint_model_dir), hints)
        predictor = cls(name, model_dir=keypoint_model_dir, kind=kind, skeleton=skeleton, **options)
        if not predictor._finds_keypoints:
            predictor.close()
            raise ConfigError(f"{keypoint_model_dir}: holds a detector, but stands where a keypoint model is needed")
        return predictor

    def predict(
        self,
        input: Input,  # noqa: A002 - PaddleX's name
        *,
        batch_size: int | None = None,
        det_threshold: float | None = None,
        threshold: float | None = None,
        boxes: ArrayLike | Sequence[ArrayLike] | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[PaddleXResult]:
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
        regions = None if boxes is None else self._given_regions(input, boxes)
        items = read_items(input, one_each=regions is not None)
        pipelines = self.side_by_side() if is_many(input) else self.pipelines
        if len(pipelines) == 1 and not is_single(input):  # several take their batches ahead
            items = ahead(items, depth=min(batch_size, MAX_AHEAD))
        return self._stream(pipelines, items, regions, batch_size, self.threshold if score is None else score, on_error)

    __call__ = predict

    def stream(
        self,
        source: StreamSource | Stream | Sequence[StreamSource | Stream],
        *,
        tracker: str | None = "auto",
        det_every: int | Literal["auto"] = 1,
        smooth: str | None = None,
        fill_gaps: int = 0,
        max_lost_s: float = Tracking.max_lost_s,
        batch_size: int | None = None,
        threshold: float | None = None,
        options: StreamOptions | None = None,
        earlier: Mapping[str, Iterable[tuple[float, Instances]]] | None = None,
        on_error: OnError | None = None,
    ) -> Generator[PaddleXResult]:
        """Follow people through videos, cameras and streams, frame by frame as the returned iterator is advanced.

        Several sources share the models and are read side by side. A live source drops the frames that come while the
        models are busy; a file never does.

        Args:
            source: path of a video, pattern of numbered images (``"frames/%05d.png"``), number or device of a camera,
                or URL; a stream that is open already; or a list of these. See :func:`hpi.sources.opening.open_stream`.
            tracker: ``"bytetrack"`` or ``"ocsort"`` follow people by boxes, ``"oks"`` by keypoints, ``"embedding"`` by
                the embeddings of a FairMOT; None: nobody gets an id. ``"auto"``: by embeddings where there are any,
                else by keypoints, or by the boxes of a detector alone; nobody where each frame is one person.
            det_every: run the detector once in so many frames, and in between where it is needed; ``"auto"``: as seldom
                as the scene allows.
            smooth: filter for steadier keypoints, ``"oneeuro"`` or ``"ema"``: they are in ``result.smoothed``, which
                pictures show. None: no filter.
            fill_gaps: fill gaps of at most this many frames in a track. While somebody is missing, results come up to
                as many frames late.
            max_lost_s: somebody who is not seen for longer gets a new id, seconds.
            batch_size: frames that go through the models together; by default the pipeline's.
            threshold: keep people that score above it, in [0, 1]; by default the pipeline's, else the detector's.
            options: of the sources, such as whether the network may be used.
            earlier: to continue streams where an earlier call stopped: by the name of a stream, time and people of each
                frame so far. These people are followed, but not returned.
            on_error: called for each frame that cannot be used and each stream that cannot go on. By default the error
                is raised.

        Returns:
            A generator of a :class:`KeypointResult` per frame, with ``frame.index``, ``frame.time_s``,
            ``frame.stream`` and ``track_ids``. Those of one source come in order; several sources take turns.

        Raises:
            ConfigError: an argument is wrong, or the models cannot follow people.
            InputError: a source is wrong; while iterating, a frame or a stream is.
            BackendError: while iterating, a runtime failed.

        Example:
            >>> import tempfile, cv2
            >>> image = cv2.imread("examples/basketball.png")
            >>> with tempfile.TemporaryDirectory() as folder, Predictor("human_keypoint_detection_lite") as predictor:
            ...     for number in range(3):
            ...         _ = cv2.imwrite(f"{folder}/{number:05d}.png", image)
            ...     for result in predictor.stream(f"{folder}/%05d.png"):
            ...         print(result.frame.index, result.track_ids)
            0 [-1 -1]
            1 [1 2]
            2 [1 2]
        """
        # Only where there is a stream: images need none of it.
        from hpi.pipelines.tracked import TrackedPipeline, usual_tracker
        from hpi.sources.opening import open_streams
        from hpi.streams import follow

        self._check_process()
        batch_size = check_count("batch_size", batch_size, MAX_BATCH_SIZE, InputError) or self.batch_size
        score = check_score("threshold", threshold)
        if "," in self.device:
            raise ConfigError(f"a stream runs on one device, but the models are on {self.device}: name one of them")
        if tracker == "auto":
            tracker = usual_tracker(self.pipelines[0], det_every)
        if tracker is None and fill_gaps:
            raise ConfigError("fill_gaps: gaps are in tracks, and nobody is followed; choose a tracker, or 0")
        tracking = Tracking(tracker, det_every, max_lost_s)
        with ExitStack() as unused:
            streams = open_streams(source, options)
            for stream in streams:
                unused.callback(stream.close)
            pipeline, workers = self._for_streams(streams, tracking)
            tracked = TrackedPipeline(pipeline, tracking)
            unused.pop_all()
        followed = follow(
            tracked,
            streams,
            batch_size=batch_size,
            workers=workers,
            threshold=self.threshold if score is None else score,
            smooth=smooth,
            fill_gaps=fill_gaps,
            earlier=earlier,
        )
        return self._results_of_streams(followed, on_error)

    @property
    def backend(self) -> str:
        """The runtime in use; where the models use different ones, all of them joined by ``+``."""
        models = (model for pipeline in self.pipelines for model in pipeline.models)
        return "+".join(dict.fromkeys(model.session.info.backend for model in models))

    @property
    def device(self) -> str:
        """What it runs on: ``"cpu"``, ``"gpu:0"``, ``"gpu:0,1"`` and the like."""
        first, *others = dict.fromkeys(pipeline.models[0].session.info.device for pipeline in self.pipelines)
        return ",".join([first, *(f"{device_index(other)}" for other in others)])

    @property
    def detector(self) -> Model | None:
        """Deprecated: a model of ``pipelines[0].models``."""
        return self._deprecated_model("detector", "object_detection")

    @property
    def estimator(self) -> Model | None:
        """Deprecated: a model of ``pipelines[0].models``."""
        return self._deprecated_model("estimator", "keypoint_detection")

    def side_by_side(self) -> list[Pipeline]:
        """The pipelines for many images: each takes the next batch when it is free.

        On a CPU these are workers that share the cores, unless one at a time is faster or asked for; they are opened at
        the first call. Else, and where they cannot be opened, they are :attr:`pipelines`.

        Example:
            >>> with Predictor("human_keypoint_detection_lite", workers=2) as predictor:
            ...     len(predictor.side_by_side())
            2
        """
        with self._opening:
            if self._side_by_side is None:
                self._side_by_side = self._open_side_by_side()
            return self._side_by_side

    def describe(self) -> dict[str, Any]:
        """What is really running, in plain Python types: for each model the files, the runtime, and why that one.

        Returns:
            ``name``; ``models``, those of :attr:`pipelines`; and ``side_by_side``, those of :meth:`side_by_side`, empty
            where they are the same or have not been needed yet.
        """
        others = [] if self._side_by_side in (None, self.pipelines) else self._side_by_side
        arrangements = {"models": self.pipelines, "side_by_side": others}
        return {
            "name": self.name,
            **{name: [opened.describe() for opened in self._opener.of(them)] for name, them in arrangements.items()},
        }

    def tune(
        self,
        seconds: float = 60,
        *,
        on_progress: Callable[[str, Measurement | Failure], None] = lambda *_: None,
        told: Callable[[str, Measurement | Failure], None] | None = None,
    ) -> list[Prior]:
        """Measure every runtime with these models on this machine, with real images, and keep the result.

        From then on new predictors choose by it; this one stays as it is. Where neither the objective nor workers are
        said, both are measured: all threads on one image, and a worker on each thread. With the objective memory, that
        is measured too.

        Args:
            seconds: time for all models; a step that has started is finished.
            on_progress: called with a model's name and each result.
            told: deprecated name of ``on_progress``.

        Returns:
            What was stored as this machine's measurements.

        Raises:
            BackendError: no runtime can run a model.
            ConfigError: the result cannot be stored.
        """
        if told is not None:
            warn_deprecated("Predictor.tune(told=)")
            on_progress = told
        zoo, options = self._opener.zoo, self._sources[0].options
        models = [(zoo.with_int8(opened.model.spec), opened.request) for opened in self._opener.of(self.pipelines)]
        if options.workers is None and options.objective in (AUTO, "throughput") and self.device == "cpu":
            models = [(spec, request.on_workers(count)) for spec, request in models for count in (1, request.threads)]
        return tune(models, self._opener.priors, seconds, on_progress)

    def warmup(self) -> None:
        """Run each model that is open once, so that the first prediction is not slower than the next."""
        for pipeline in dict.fromkeys([*self.pipelines, *(self._side_by_side or ())]):
            pipeline.warmup()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments only; unpickling opens the models again."""
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
        with self._opening:  # what another thread is opening is closed too
            self._side_by_side = self._side_by_side or self.pipelines  # nothing else is opened
            self._opener.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _finds_keypoints(self) -> bool:
        """Asks the head; to ask for the skeleton may run the model."""
        return self.pipelines[0].models[-1].spec.head.finds_keypoints

    def _open_pipelines(self) -> list[Pipeline]:
        options = self._sources[0].options
        return self._opener.open(options.device, *self._sources, for_many=options.objective == "throughput")

    def _open_side_by_side(self) -> list[Pipeline]:
        options = self._sources[0].options
        decided = options.workers or options.objective != AUTO or len(self.pipelines) > 1 or self.device != "cpu"
        if decided:
            return self.pipelines
        try:
            return self._opener.open_side_by_side(*self._sources) or self.pipelines
        except HpiError as error:  # such as of a folder that has been removed; the models that are open do without it
            logger.warning("%s: many images go through the models one at a time: %s", self.name, error)
            return self.pipelines

    def _for_streams(self, streams: Sequence[Stream], tracking: Tracking) -> tuple[Pipeline, int]:
        """The pipeline for streams, and how many of its batches run side by side.

        Frames of several streams, and those that need no other, run side by side. Where each frame of one stream needs
        the one before, the workers share its people instead.
        """
        is_one = len(streams) == 1
        one_of_each = tracking.det_every != 1 or all(stream.is_live for stream in streams)
        pipelines = self.pipelines if is_one and streams[0].is_live else self.side_by_side()
        if one_of_each and 1 < len(streams) < len(pipelines):  # side by side they would leave cores idle
            pipelines = self.pipelines
        pipeline, workers = pipelines[0], len(pipelines)
        if is_one and tracking.det_every != 1 and isinstance(pipeline, TopDownPipeline):
            return pipeline.split_by(workers), 1
        return pipeline, workers

    def _as_path(self, name: str | PathLike[str]) -> Path:
        """The files of a model that a name stands for that nobody knows.

        Raises:
            ConfigError: there are none.
        """
        path = Path(name).absolute()
        if not path.exists():
            names = [*pipeline_names(), *self._opener.zoo.models]
            raise ConfigError(
                why_not_fetched(self.name)
                or f"{self.name!r} is not a pipeline, not a model, not a YAML file, and no folder or file; "
                f"{suggestion(self.name, names)}"
            )
        return path

    def _read_pipeline(self, config: Mapping[str, Any] | None) -> PipelineConfig | None:
        """The pipeline that the name stands for; None where it is that of a model."""
        if config is not None:
            return read_pipeline(config)
        if is_yaml(self.name) and Path(self.name).name != NAME:
            content = read_yaml(Path(self.name))
            if isinstance(content, dict) and not {"sources", "export"}.isdisjoint(content):
                self.name = self._opener.zoo.add(Path(self.name)).name
                return None
            return read_pipeline(self.name)
        return read_pipeline(self.name) if self.name in pipeline_names() else None

    def _given_regions(self, source: Input, boxes: ArrayLike | Sequence[ArrayLike]) -> list[Instances]:
        if self.pipelines[0].detects:
            raise InputError(f"boxes are for a keypoint model; {self.name} finds its own")
        return given_regions(source, boxes)

    def _stream(
        self,
        pipelines: Sequence[Pipeline],
        items: Generator[Item],
        regions: list[Instances] | None,
        batch_size: int,
        threshold: float | None,
        on_error: OnError | None,
    ) -> Iterator[PaddleXResult]:
        names, pipeline = Names(), pipelines[0]
        with closing(run_items(pipelines, items, regions, batch_size, threshold)) as running:
            for part, results in running:
                if isinstance(part, Unusable):
                    part.report(on_error)
                    continue
                for frame, found in zip(part.frames, results(), strict=True):
                    result = paddlex_result(frame, found, pipeline.skeleton, pipeline.labels, detected=pipeline.detects)
                    names.give(result)
                    yield result

    def _results_of_streams(
        self, followed: Generator[Followed | InputError], on_error: OnError | None
    ) -> Generator[PaddleXResult]:
        pipeline = self.pipelines[0]
        with closing(followed):  # at once, also after an error: threads are reading ahead
            for one in followed:
                if isinstance(one, InputError):
                    if on_error is None:
                        raise one
                    on_error(one)
                    continue
                result = paddlex_result(
                    one.frame, one.people, pipeline.skeleton, pipeline.labels, detected=pipeline.detects
                )
                result.smoothed = one.smoothed
                result.name = f"{one.frame.stream}_{one.frame.index:06d}.jpg"
                yield result

    def _deprecated_model(self, name: str, task: str) -> Model | None:
        warn_deprecated(f"Predictor.{name}", stacklevel=4)
        return next((model for model in self.pipelines[0].models if model.spec.task == task), None)


def _hints(
    kind: str | None,
    skeleton: str | PathLike[str] | None,
    description: Description | Mapping[str, Any] | None = None,
) -> Hints:
    if description is None:
        return Hints(kind, None if skeleton is None else fspath(skeleton))
    if kind is not None or skeleton is not None:
        raise ConfigError("description: it says kind and skeleton too; leave these out")
    if not isinstance(description, Description):
        description = parse(Description, description, "description")
    return Hints(description=description)


def _open_copy(kind: type[Predictor], name: str, arguments: Mapping[str, Any]) -> Predictor:
    return kind(name, **arguments)
