"""The one interface: :class:`Predictor`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from hpi.backends.base import device_index
from hpi.compat.paddlex.config import HpiConfig, PipelineConfig, options_of, pipeline_names, read_pipeline
from hpi.compat.paddlex.results import PaddleXResult, paddlex_result
from hpi.errors import BackendError, ConfigError, InputError
from hpi.instances import Instances
from hpi.io.validation import is_yaml, parse, read_yaml
from hpi.models.model import Model
from hpi.names import Names
from hpi.opening import Opener, Source
from hpi.options import MAX_BATCH_SIZE, Options, check_count, check_score, resolve
from hpi.regions import given_regions
from hpi.selection.measure import Failure, Measurement
from hpi.selection.priors import Prior
from hpi.selection.tuning import tune
from hpi.sources import Input, Item, check_input, is_single, read_items
from hpi.streaming import OnError, Unusable, ahead, batches, run_batches

MAX_AHEAD = 32
"""Most images that are read before they are asked for."""


class Predictor:
    """Finds people and their keypoints in images, with a pipeline or a single model.

    Each model runs on the runtime that is fastest for it here and gives the reference's results.

    Safe to use from several threads. Owns the sessions that it opens: close it, or use it in a ``with`` statement.

    Attributes:
        name: the pipeline or model.
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
        device: str | None = None,
        backend: str | None = None,
        precision: str | None = None,
        objective: str | None = None,
        max_p99_ms: float | None = None,
        max_deviation_px: float | None = None,
        batches: Sequence[int] | None = None,
        threads: int | None = None,
        backend_options: Mapping[str, Mapping[str, Any]] | None = None,
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
                GPU, which then share the images; ``"npu:0"``, ``"xpu:0"``, ``"mlu:0"`` and the like where the
                installed Paddle has them; ``"auto"``, the default, for the first usable GPU, else the CPU.
            backend: the runtime for every model, such as ``"openvino"``; by default ``"auto"``.
            precision: ``"fp32"``, the default, ``"bf16"`` where the CPU has it, ``"fp16"`` on a GPU, or ``"auto"`` for
                any. A lower precision is only used if it gives the same keypoints as FP32.
            objective: what to choose the runtime for: ``"latency"`` of one image with few people (the default),
                ``"throughput"`` for many images and people, or ``"memory"``.
            max_p99_ms: only use a runtime whose measured p99 for the expected batches is below it.
            max_deviation_px: only use a runtime whose keypoints are within this distance of the reference's, pixels of
                the crop.
            batches: expected numbers of people per run, to choose the runtime for.
            threads: CPU threads of one inference; by default ``OMP_NUM_THREADS``, else all cores that the process may
                use.
            backend_options: options of single runtimes by their own names, handed through as they are, such as
                ``{"openvino": {"NUM_STREAMS": 1}}``. One that the runtime does not know is an error.
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
            batches=batches or None,
            threads=threads,
            backend_options=backend_options or None,
            flip=flip,
            use_udp=use_udp,
            batch_size=batch_size,
            threshold=threshold,
        )
        self.name = fspath(name)
        others = {"model_dir": model_dir and Path(model_dir).absolute(), "config": config, "hpi_config": hpi_config}
        self._arguments = str(Path(name).absolute()) if is_yaml(self.name) else self.name, {**given.specified, **others}
        self._process = os.getpid()
        self._opener = Opener(self.name)
        pipeline = self._read_pipeline(config)
        if pipeline is not None and model_dir is not None:
            raise ConfigError("model_dir is for a single model; in a pipeline, its YAML has one for each model")
        configured = parse(HpiConfig, hpi_config or {}, "hpi_config")
        if pipeline is None:
            if model_dir is None and self.name not in self._opener.zoo.models:
                raise ConfigError(
                    f"{self.name!r} is not a pipeline ({', '.join(pipeline_names())}), not a model "
                    f"({', '.join(self._opener.zoo.models)}) and not a YAML file; for a model of your own, give its "
                    "folder as model_dir"
                )
            options = resolve(given, configured.options)
            self.pipelines = self._opener.open_single(Source(self.name, model_dir, options))
            if not self.pipelines[0].takes_regions and not (flip is None and use_udp is None):
                self.close()
                raise ConfigError(f"{self.name} is a detector: flip and use_udp are for keypoint models")
        else:
            self.name = pipeline.pipeline_name
            if hpi_config:
                pipeline = pipeline.model_copy(update={"hpi_config": configured})
            detector, estimator = pipeline.modules.ObjectDetection, pipeline.modules.KeypointDetection
            options = resolve(given, options_of(detector), options_of(pipeline))
            of_pose = resolve(given, options_of(estimator), options_of(pipeline))
            self.pipelines = self._opener.open_top_down(
                Source(detector.model_name, detector.model_dir, options),
                Source(estimator.model_name, estimator.model_dir, of_pose),
            )
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
        if not is_single(input):
            items = ahead(items, depth=min(batch_size, MAX_AHEAD))
        return self._stream(items, regions, batch_size, self.threshold if score is None else score, on_error)

    __call__ = predict

    @property
    def backend(self) -> str:
        """The runtime in use; where the models use different ones, all of them joined by ``+``."""
        return "+".join(dict.fromkeys(opened.choice.session.info.backend for opened in self._opener.opened))

    @property
    def device(self) -> str:
        """What it runs on: ``"cpu"``, ``"gpu:0"``, ``"gpu:0,1"`` and the like."""
        first, *others = dict.fromkeys(opened.request.options.device for opened in self._opener.opened)
        return ",".join([first, *(f"{device_index(other)}" for other in others)])

    @property
    def detector(self) -> Model | None:
        """Deprecated: a model of ``pipelines[0].models``."""
        return self._deprecated_model("detector", "object_detection")

    @property
    def estimator(self) -> Model | None:
        """Deprecated: a model of ``pipelines[0].models``."""
        return self._deprecated_model("estimator", "keypoint_detection")

    def describe(self) -> dict[str, Any]:
        """What is really running, in plain Python types: for each model the files, the runtime, and why that one."""
        return {"name": self.name, "models": [opened.describe() for opened in self._opener.opened]}

    def tune(
        self,
        seconds: float = 60,
        *,
        on_progress: Callable[[str, Measurement | Failure], None] = lambda *_: None,
        told: Callable[[str, Measurement | Failure], None] | None = None,
    ) -> list[Prior]:
        """Measure every runtime with these models on this machine, with real images, and keep the result.

        From then on new predictors choose by it; this one stays as it is. With the objective memory, that is measured
        too.

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
            warnings.warn("tune(told=) is deprecated; use on_progress=", DeprecationWarning, stacklevel=2)
            on_progress = told
        models = [(opened.model.spec, opened.request) for opened in self._opener.opened]
        return tune(models, self._opener.priors, seconds, on_progress)

    def warmup(self) -> None:
        """Run each model once, so that the first prediction is not slower than the next."""
        for pipeline in self.pipelines:
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
        self._opener.close()

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
        items: Generator[Item],
        regions: list[Instances] | None,
        batch_size: int,
        threshold: float | None,
        on_error: OnError | None,
    ) -> Iterator[PaddleXResult]:
        names, pipeline = Names(), self.pipelines[0]
        with closing(items):  # at once, also after an error: a thread may be reading ahead
            for part, results in run_batches(self.pipelines, batches(items, regions, batch_size), threshold):
                if isinstance(part, Unusable):
                    part.report(on_error)
                    continue
                for frame, found in zip(part.frames, results(), strict=True):
                    result = paddlex_result(frame, found, pipeline.skeleton, pipeline.labels, detected=pipeline.detects)
                    names.give(result)
                    yield result

    def _deprecated_model(self, name: str, task: str) -> Model | None:
        warnings.warn(f"Predictor.{name} is deprecated; use pipelines[0].models", DeprecationWarning, stacklevel=3)
        return next((model for model in self.pipelines[0].models if model.spec.task == task), None)


def _open_copy(kind: type[Predictor], name: str, arguments: Mapping[str, Any]) -> Predictor:
    return kind(name, **arguments)
