"""What is tried in a process of its own. Each probe tells facts as it goes, so that a crash leaves those before it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hpi.models.model import Model

FEWEST_RUNS, MOST_RUNS, RUNS_S = 5, 50, 1.0
"""How many runs a time is the median of: as many as fit into the seconds, within these bounds."""


class Tell(Protocol):
    """Reports facts to the process that asks."""

    def __call__(self, **facts: object) -> None:
        """Report facts; later ones of a name replace earlier ones."""


def imports(tell: Tell, *modules: str) -> None:
    """Import modules, and tell of each its version and file, or its error."""
    for module in modules:
        tell(importing=module)
        tell(**{module: _import(module)})
    tell(importing=None)


def _import(module: str) -> dict[str, str | None]:
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything
        return {"error": str(error).strip() or repr(error), "file": _file_of(module)}
    file = getattr(imported, "__file__", None)
    if file is None:
        return {"error": "only an empty folder of it is left", "file": None}
    return {"error": None, "file": file}


def _file_of(module: str) -> str | None:
    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec(module)
        return spec.origin if spec else None
    return None


def catalogue(tell: Tell) -> None:
    """Tell where each model comes from, the addresses that models are downloaded from, and the runtimes."""
    from hpi.backends import BACKENDS
    from hpi.backends.base import is_installed
    from hpi.zoo import HuggingFace, Url, Zoo

    zoo = Zoo.default()
    tell(models={name: zoo.place_of(name) for name in zoo.models})
    # The others stand in for these; one of them is a server that is known to be down.
    sources = [config.sources[0] for config in zoo.models.values() if config.sources]
    urls = [source.url for source in sources if isinstance(source, Url)]
    tell(urls=urls, hugging_face=any(isinstance(source, HuggingFace) for source in sources))
    tell(
        runtimes={
            name: {
                "installed": is_installed(backend.package),
                "install": backend.install,
                "devices": list(backend.devices),
            }
            for name, backend in BACKENDS.items()
        }
    )


def gpus(tell: Tell) -> None:
    """Tell how many GPUs CUDA shows, and what they are as far as CuPy is installed."""
    from hpi.backends.base import is_installed
    from hpi.backends.gpu import PACKAGE, gpu_count, gpu_of

    count = gpu_count()
    tell(count=count)
    if count and is_installed(PACKAGE):
        tell(described=[str(gpu_of(f"gpu:{index}")) for index in range(count)])


def predict(tell: Tell, pipeline: str, backend: str, device: str, folder: str = "") -> None:
    """Find the people of the reference image, measure that, and compare with the reference.

    Args:
        tell: called with the warnings, what the models run on, the number of people, the median time in ms, and the
            verdict of the parity gate on each model.
        pipeline: its name.
        backend: a runtime, or ``"auto"``.
        device: a device, or ``"auto"``.
        folder: for what the comparison makes; without one nothing is compared.
    """
    from hpi.models.reference_images import ReferenceImages
    from hpi.predictor import Predictor

    warnings = _collect_warnings()
    image = ReferenceImages.load().image
    try:
        with Predictor(pipeline, backend=backend, device=device, calibrate=False) as predictor:
            tell(models=predictor.describe()["models"])
            (result,) = predictor.predict(image)
            tell(people=len(result["boxes"]))
            tell(milliseconds=_median_ms(lambda: list(predictor.predict(image))))
            if folder:
                tell(
                    verdicts={model.spec.name: _verdict(model, Path(folder)) for model in predictor.pipelines[0].models}
                )
    finally:
        tell(warnings=warnings)


def _collect_warnings() -> list[str]:
    """A list to which every warning that is logged from now on is added."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record.getMessage())

    logging.getLogger("hpi").addHandler(Collector(logging.WARNING))
    return collected


def _median_ms(run: Callable[[], object]) -> float:
    times: list[float] = []
    end = time.perf_counter() + RUNS_S
    while len(times) < FEWEST_RUNS or (time.perf_counter() < end and len(times) < MOST_RUNS):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times), 2)


def _verdict(model: Model, folder: Path) -> dict[str, object]:
    """The parity gate's verdict, fresh: a kept one may be older than the fault."""
    from hpi.backends.artifacts import ArtifactCache
    from hpi.backends.base import SessionOptions
    from hpi.selection.loading import validated
    from hpi.selection.ranking import Candidate

    info = model.session.info
    cache = ArtifactCache(folder / model.spec.name)
    options = SessionOptions(cache, device=info.device, threads=info.threads)
    verdict = validated(model.spec, model.session, Candidate(info.backend, info.variant), options)
    return {"passed": verdict.passed, "summary": verdict.summary, "pixels": verdict.pixels}


PROBES: dict[str, Callable[..., None]] = {
    "imports": imports,
    "catalogue": catalogue,
    "gpus": gpus,
    "predict": predict,
}


def main(arguments: list[str]) -> None:
    """Run a probe: its name, then its arguments. Each line of the standard output is a JSON object."""
    name, *rest = arguments
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # runtimes print there, natively too

    def tell(**facts: object) -> None:
        channel.write(f"{json.dumps(facts)}\n")
        channel.flush()

    try:
        PROBES[name](tell, *rest)
    except Exception as error:  # noqa: BLE001 - whatever is broken is what is asked for
        tell(failure=f"{error}".strip() or repr(error))
        sys.exit(1)
