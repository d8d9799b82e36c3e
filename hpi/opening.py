"""Opening models: finding them, choosing a runtime for each, and joining them to a pipeline on each device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import INT8, SessionOptions
from hpi.backends.gpu import gpu_count
from hpi.errors import BackendError, ConfigError
from hpi.models import ModelOptions, model_class, open_model
from hpi.models.detector import Detector
from hpi.models.model import Model
from hpi.models.readers import Hints
from hpi.models.spec import ModelSpec
from hpi.options import AUTO, PADDLEDETECTION, Resolved, read_devices
from hpi.pipelines.base import Pipeline
from hpi.pipelines.single import SingleModel
from hpi.pipelines.topdown import TopDownPipeline, people_classes
from hpi.selection import Choice, Ranked, choose
from hpi.selection.calibration import Calibration
from hpi.selection.priors import Priors
from hpi.selection.ranking import PRECISIONS, Request
from hpi.selection.workers import usual_workers
from hpi.zoo import Zoo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Which model to open: its name, where its files are if not in the zoo, how to run it, and what its files lack.

    Attributes:
        spec: what its files were read as; None: they are still to be found and read.

    Example:
        >>> source = Source("MoveNet-Thunder_256x256", None, Resolved(device="cpu"))
        >>> source.options.device, source.options.precision
        ('cpu', 'fp32')
    """

    name: str
    model_dir: str | PathLike[str] | None
    options: Resolved
    hints: Hints = field(default_factory=Hints)
    spec: ModelSpec | None = None

    def beside_detector(self) -> Source:
        """The same keypoint model where the options are a whole pipeline's: INT8 is for the detector."""
        if self.options.precision != INT8:
            return self
        return replace(self, options=replace(self.options, precision=Resolved.precision))


@dataclass(frozen=True)
class OpenedModel:
    """A model that was opened, with what was asked for and why it runs where it does."""

    model: Model
    request: Request
    choice: Choice

    def describe(self) -> dict[str, Any]:
        """What is really running, in plain Python types."""
        spec, choice = self.model.spec, self.choice
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
            "workers": info.workers,
            "batch_size": choice.session.batch_size,
            "file": str(info.model_path),
            "notes": [*info.notes, *(spec.int8.notes if spec.int8 and info.precision == INT8 else ())],
            "reason": choice.reason,
            "rejected": dict(choice.rejected),
            "ranking": [_describe_ranked(one) for one in choice.ranking],
            "ranking_rests_on": choice.basis,
        }


class Opener:
    """Opens the models of a predictor, and remembers all that it has opened.

    Args:
        name: of the pipeline or model, for messages.
        calibrate: measure the best candidates of models of which too little is known on this machine.

    Attributes:
        zoo: where models are found.
        priors: the measurements that runtimes are chosen by.
        opened: every model, on every device.

    Example:
        >>> opener = Opener("example")
        >>> (pipeline,) = opener.open("cpu", Source("MoveNet-Thunder_256x256", None, Resolved()))
        >>> about = opener.opened[0].describe()
        >>> about["task"], about["device"], about["precision"]
        ('keypoint_detection', 'cpu', 'fp32')
        >>> opener.close()
    """

    def __init__(self, name: str, *, calibrate: bool = False) -> None:
        self._name = name
        self._calibration = Calibration() if calibrate else None
        self.zoo = Zoo.default()
        self.priors = Priors(self.zoo.own_priors)
        self.opened: list[OpenedModel] = []

    def open(self, device: str, *sources: Source, for_many: bool = False) -> list[Pipeline]:
        """A pipeline on each device: of one model, or of a detector and the keypoint model behind it.

        On the CPU it is there once for each worker; they share the models.

        Args:
            device: a device string.
            sources: the models.
            for_many: many images come: where nobody has asked for workers, those of :meth:`open_side_by_side`.

        Raises:
            HpiError: as :class:`hpi.Predictor`.
        """
        gpu_found = device == AUTO and bool(gpu_count())
        devices = ["gpu:0" if gpu_found else "cpu"] if device == AUTO else read_devices(device)
        try:
            return self._open_on(devices, sources, for_many=for_many)
        except BackendError as error:
            if not gpu_found:
                raise
            logger.warning(
                "%s runs on the CPU although there is a GPU (device='cpu' asks for that): %s", self._name, error
            )
            return self._open_on(["cpu"], sources, for_many=for_many)

    def open_side_by_side(self, *sources: Source) -> list[Pipeline]:
        """Pipelines on the CPU for many images, as many as measure best; none where that is one, or none can run so.

        Raises:
            HpiError: as :class:`hpi.Predictor`.
        """
        workers = self._usual_workers(sources)
        try:
            return self._open_copies(["cpu"], sources, workers) if workers > 1 else []
        except BackendError as error:  # such as of a model that only Paddle can read
            logger.info("%s does not run on workers: %s", self._name, error)
            return []

    def _usual_workers(self, sources: Sequence[Source]) -> int:
        specs = [self._find(source) for source in sources]
        models = [
            (spec, self._request(spec, source.options, "cpu", for_many=True))
            for spec, source in zip(specs, sources, strict=True)
        ]
        return usual_workers(models, self.priors)

    def of(self, pipelines: Sequence[Pipeline]) -> list[OpenedModel]:
        """The models of pipelines, in the order in which they were opened."""
        models = [model for pipeline in pipelines for model in pipeline.models]
        return [opened for opened in self.opened if opened.model in models]

    def close(self) -> None:
        """Unload all that was opened. Closing twice is harmless."""
        for opened in self.opened:
            opened.choice.session.close()

    def _open_on(self, devices: list[str], sources: tuple[Source, ...], *, for_many: bool) -> list[Pipeline]:
        """A pipeline on each device, for each worker."""
        asked = sources[0].options.workers
        if devices != ["cpu"] and asked not in {None, 1}:
            raise ConfigError(
                f"workers is {asked}: pipelines run side by side only on the CPU, not on {', '.join(devices)}; leave "
                "it out, or give the device 'cpu'"
            )
        if for_many and devices == ["cpu"] and asked is None and (pipelines := self.open_side_by_side(*sources)):
            return pipelines
        return self._open_copies(devices, sources, asked or 1)

    def _open_copies(self, devices: list[str], sources: tuple[Source, ...], workers: int) -> list[Pipeline]:
        """Open the models on each device; where one fails, what was opened is closed."""
        before = len(self.opened)
        try:
            return [pipeline for device in devices for pipeline in [self._join(device, workers, *sources)] * workers]
        except BaseException:
            for opened in self.opened[before:]:
                opened.choice.session.close()
            del self.opened[before:]
            raise

    def _join(self, device: str, workers: int, first: Source, estimator: Source | None = None) -> Pipeline:
        """Open one model, or a detector and the keypoint model behind it."""
        if estimator is None:
            return SingleModel(self._open(first, device, workers))
        found = self._open(first, device, workers, "object_detection")
        poses = self._open_estimator(estimator, device, workers)
        by_detection = poses.options.crop == PADDLEDETECTION
        if isinstance(found, Detector):
            found.clips = not by_detection
        people = people_classes(found.spec.labels, first.options.classes, else_first=by_detection)
        return TopDownPipeline(found, poses, people)

    def _open_estimator(self, source: Source, device: str, workers: int) -> Model:
        model = self._open(source, device, workers, "keypoint_detection")
        if not model.spec.transform.takes_regions:
            raise ConfigError(
                f"{self._name}: {source.name} finds people itself and needs no detector; use it alone, by its name or "
                "with its folder as model_dir"
            )
        return model

    def _open(self, source: Source, device: str, workers: int, task: str | None = None) -> Model:
        """Find a model, choose its runtime and load it."""
        options, spec = source.options, self._find(source)
        if task is not None and spec.task != task:
            raise ConfigError(f"{self._name}: {source.name} does {spec.task}, but stands where {task} is needed")
        spec.head.check_installed()
        request = self._request(spec, options, device, workers)
        if self._calibration is not None:
            self._calibration.calibrate(spec, request.on_workers(1), self.priors)  # workers are ranked by it too
        choice = choose(spec, request, self.priors)
        try:
            own = ModelOptions(options.flip, options.use_udp, options.crop, options.use_dark)
            model = open_model(spec, choice.session, own)
            if spec.skeleton_is is not None:
                _ = model.skeleton  # whether it fits shows now, not at the first image
        except BaseException:
            choice.session.close()
            raise
        self.opened.append(OpenedModel(model, request, choice))
        return model

    def _find(self, source: Source) -> ModelSpec:
        folder = None if source.model_dir is None else Path(source.model_dir)
        spec = source.spec or self.zoo.find(source.name, folder, source.hints)
        return self.zoo.with_int8(spec) if INT8 in _precisions(source.options) else spec

    def _request(
        self, spec: ModelSpec, options: Resolved, device: str, workers: int = 1, *, for_many: bool = False
    ) -> Request:
        """What is asked of a model's runtime for so many workers.

        Many images that go through one at a time are few people each time.
        """
        objective = options.objective
        if objective == AUTO:
            objective = "latency" if workers == 1 else "throughput"
        batches = options.batches if spec.transform.takes_regions else None
        if batches is None and (for_many or workers > 1) and options.batch_size == 1:
            batches = model_class(spec).expected_batches("latency")
        # Where both numbers are asked for, each worker has the threads; else all workers share them.
        with_threads = options.workers if options.workers and options.threads else 1
        artifacts = ArtifactCache(self.zoo.artifacts)
        return Request(
            SessionOptions(artifacts, device, threads=options.threads, workers=with_threads),
            backend=options.backend,
            backend_options=options.backend_options,
            precisions=_precisions(options),
            objective=objective,
            batches=batches,
            max_p99_ms=options.max_p99_ms,
            max_deviation_px=options.max_deviation_px,
            max_ap_loss=options.max_ap_loss,
        ).on_workers(workers)


def _precisions(options: Resolved) -> tuple[str, ...]:
    """The precisions that are allowed; INT8 only where it is known what it may cost."""
    if options.precision != AUTO:
        return (options.precision,)
    return tuple(one for one in PRECISIONS if one != INT8 or options.max_ap_loss is not None)


def _describe_ranked(ranked: Ranked) -> dict[str, Any]:
    figures = asdict(ranked.estimate) if ranked.estimate else {}
    return {"candidate": str(ranked.candidate), "unavailable": ranked.unavailable, **figures}
