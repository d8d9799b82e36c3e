"""All checks, one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpi.doctor.machine import check_cpu, check_gpus, check_system
from hpi.doctor.network import check_network, download_hosts
from hpi.doctor.packages import Installed, check_conflicts, check_packages
from hpi.doctor.process import Answer, ask
from hpi.doctor.report import Check, Problem, Report
from hpi.doctor.running import check_main, runtimes_check, try_runtime
from hpi.doctor.storage import check_cache

CPU_LIMIT_S, GPU_LIMIT_S = 120.0, 900.0
"""Seconds for a runtime; on a GPU TensorRT first builds its engines, which takes minutes."""

MAIN_JOB = "human_keypoint_detection_lite"
"""The pipeline that the commands run by default."""

HERE = {"cached", "of PaddleX", "bundled"}
"""Places of models that are on this machine; the names of the others would fill the screen."""

OnProgress = Callable[[str], None]


def unheard(what: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Settings:
    """What to examine.

    Attributes:
        offline: do not try the network.
        limit_s: seconds for each runtime; None for the default of the device.
        on_progress: called with what is being examined.

    Example:
        >>> Settings(offline=True).limit_s is None
        True
    """

    offline: bool = False
    limit_s: float | None = None
    on_progress: OnProgress = unheard


def examine(settings: Settings = Settings()) -> Report:
    """Examine this installation. Whatever is broken becomes a problem in the report; nothing is raised.

    It takes some ten seconds, since every runtime is tried.
    """
    show = settings.on_progress
    installed = Installed()
    show("packages")
    checks = [
        _examined("system", check_system),
        _examined("packages", functools.partial(check_packages, installed)),
        _examined("conflicts", functools.partial(check_conflicts, installed)),
        _examined("cpu", check_cpu),
        _examined("gpu", check_gpus),
        _examined("cache", check_cache),
    ]
    has_gpu = bool(_facts(checks, "gpu").get("count"))
    limit_s = settings.limit_s or (GPU_LIMIT_S if has_gpu else CPU_LIMIT_S)
    show("models")
    catalogue = ask("catalogue", limit_s=CPU_LIMIT_S)
    checks.append(_models(catalogue))
    if not settings.offline:
        show("network")
        checks.append(_examined("network", functools.partial(_network, catalogue)))
    checks.append(_examined("runtimes", functools.partial(_runtimes, settings, catalogue, has_gpu, limit_s)))
    show("the main job")
    main = _examined("main", functools.partial(check_main, MAIN_JOB, limit_s, tuple(checks)))
    checks.append(main)
    works = not any(problem.blocks for problem in main.problems)
    return Report(works, _verdict(works, main, checks), tuple(checks))


def _examined(name: str, check: Callable[[], Check]) -> Check:
    """A check; an examination that fails itself is a problem of its own."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation may break any of it
        text = f"{name} cannot be examined: {error or repr(error)}"
        return Check(
            name, "unknown", (Problem(text, "reinstall: pip install --force-reinstall hpi-pose", blocks=True),)
        )


def _facts(checks: list[Check], name: str) -> Mapping[str, Any]:
    return next(check.facts for check in checks if check.name == name)


def _models(catalogue: Answer) -> Check:
    models: dict[str, str] = catalogue.facts.get("models", {})
    if catalogue.failure and not models:
        return Check("models", f"unknown: {catalogue.failure}", is_note=True, facts={"models": {}})
    places: dict[str, list[str]] = {}
    for name, place in models.items():
        places.setdefault(place, []).append(name)
    found = "\n".join(f"{place}: {_named_or_counted(place, names)}" for place, names in places.items())
    return Check("models", found, facts={"models": models})


def _named_or_counted(place: str, names: list[str]) -> str:
    if place in HERE:
        return ", ".join(names)
    return f"{len(names)} {'model' if len(names) == 1 else 'models'} (hpi models lists them)"


def _network(catalogue: Answer) -> Check:
    facts = catalogue.facts
    if "urls" not in facts:
        return Check("network", "not tried, since the list of models cannot be read", is_note=True)
    return check_network(download_hosts(facts["urls"], hugging_face=facts["hugging_face"]))


def _runtimes(settings: Settings, catalogue: Answer, has_gpu: bool, limit_s: float) -> Check:
    known: dict[str, dict[str, Any]] = catalogue.facts.get("runtimes", {})
    if not known:
        return Check("runtimes", "not tried, since their list cannot be read", is_note=True)
    usable = {"cpu": "cpu", **({"gpu": "gpu:0"} if has_gpu else {})}
    tried = []
    for name, about in known.items():
        for device in (usable[kind] for kind in about["devices"] if kind in usable and about["installed"]):
            settings.on_progress(f"{name} on {device}")
            tried.append(try_runtime(MAIN_JOB, name, device, limit_s))
    return runtimes_check(tried, known)


def _verdict(works: bool, main: Check, checks: list[Check]) -> str:
    if not works:
        return f"The main job {main.found}"
    count = sum(len(check.problems) for check in checks)
    if not count:
        return "Everything that is installed works."
    return f"The main job works. {count} {'thing' if count == 1 else 'things'} to look at:"
