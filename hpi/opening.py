"""Opening models: finding them, choosing a runtime for each, and joining them to a pipeline on each device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions
from hpi.backends.gpu import gpu_count
from hpi.errors import BackendError, ConfigError
from hpi.models import ModelOptions, open_model
from hpi.models.model import Model
from hpi.options import AUTO, Resolved, read_devices
from hpi.pipelines.base import Pipeline
from hpi.pipelines.single import SingleModel
from hpi.pipelines.topdown import TopDownPipeline, people_classes
from hpi.selection import Choice, Ranked, choose
from hpi.selection.choice import PRECISIONS, Request
from hpi.selection.priors import Priors
from hpi.zoo import Zoo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Which model to open: its name, the folder of its files where it is not the zoo's, and how to run it.

    Example:
        >>> source = Source("MoveNet-Thunder_256x256", None, Resolved(device="cpu"))
        >>> source.options.device, source.options.precision
        ('cpu', 'fp32')
    """

    name: str
    model_dir: str | PathLike[str] | None
    options: Resolved


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
            "batch_size": choice.session.batch_size,
            "file": str(info.model_path),
            "notes": list(info.notes),
            "reason": choice.reason,
            "rejected": dict(choice.rejected),
            "ranking": [_describe_ranked(one) for one in choice.ranking],
            "ranking_rests_on": choice.basis,
        }


class Opener:
    """Opens the models of a predictor, and remembers all that it has opened.

    Attributes:
        zoo: where models are found.
        priors: the measurements that runtimes are chosen by.
        opened: every model, on every device.

    Example:
        >>> opener = Opener("example")
        >>> (pipeline,) = opener.open_single(Source("MoveNet-Thunder_256x256", None, Resolved(device="cpu")))
        >>> about = opener.opened[0].describe()
        >>> about["task"], about["device"], about["precision"]
        ('keypoint_detection', 'cpu', 'fp32')
        >>> opener.close()
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.zoo = Zoo.default()
        self.priors = Priors(self.zoo.own_priors)
        self.opened: list[OpenedModel] = []

    def open_single(self, source: Source) -> list[Pipeline]:
        """A pipeline of one model on each device.

        Raises:
            HpiError: as :class:`hpi.Predictor`.
        """
        return self._on_each(source.options.device, lambda device: SingleModel(self._open(source, device)))

    def open_top_down(self, detector: Source, estimator: Source) -> list[Pipeline]:
        """A pipeline of a detector and a keypoint model on each device.

        Raises:
            HpiError: as :class:`hpi.Predictor`.
        """

        def open_on(device: str) -> Pipeline:
            found = self._open(detector, device, "object_detection")
            people = people_classes(found.spec.labels, detector.options.classes)
            return TopDownPipeline(found, self._open(estimator, device, "keypoint_detection"), people)

        return self._on_each(detector.options.device, open_on)

    def close(self) -> None:
        """Unload all that was opened. Closing twice is harmless."""
        for opened in self.opened:
            opened.choice.session.close()

    def _on_each(self, device: str, open_on: Callable[[str], Pipeline]) -> list[Pipeline]:
        """A pipeline on each device of a device string; whatever was opened is closed where one fails."""
        gpu_found = device == AUTO and bool(gpu_count())
        devices = ["gpu:0" if gpu_found else "cpu"] if device == AUTO else read_devices(device)
        try:
            return [open_on(one) for one in devices]
        except BackendError as error:
            self.close()
            if not gpu_found:
                raise
            logger.warning(
                "%s runs on the CPU although there is a GPU (device='cpu' asks for that): %s", self._name, error
            )
            self.opened = []
            return self._on_each("cpu", open_on)
        except BaseException:
            self.close()
            raise

    def _open(self, source: Source, device: str, task: str | None = None) -> Model:
        """Find a model, choose its runtime and load it."""
        options = source.options
        spec = self.zoo.find(source.name, None if source.model_dir is None else Path(source.model_dir))
        if task is not None and spec.task != task:
            raise ConfigError(f"{self._name}: {source.name} does {spec.task}, but stands where {task} is needed")
        request = Request(
            SessionOptions(ArtifactCache(self.zoo.artifacts), device=device, threads=options.threads),
            backend=options.backend,
            backend_options=options.backend_options,
            precisions=PRECISIONS if options.precision == AUTO else (options.precision,),
            objective=options.objective,
            batches=options.batches if spec.transform.takes_regions else None,
            max_p99_ms=options.max_p99_ms,
            max_deviation_px=options.max_deviation_px,
        )
        choice = choose(spec, request, self.priors)
        try:
            model = open_model(spec, choice.session, ModelOptions(options.flip, options.use_udp))
            if spec.skeleton_is_stated:
                _ = model.skeleton  # whether it fits shows now, not at the first image
        except BaseException:
            choice.session.close()
            raise
        self.opened.append(OpenedModel(model, request, choice))
        return model


def _describe_ranked(ranked: Ranked) -> dict[str, Any]:
    figures = asdict(ranked.estimate) if ranked.estimate else {}
    return {"candidate": str(ranked.candidate), "unavailable": ranked.unavailable, **figures}
