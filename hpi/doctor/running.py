"""Running the default pipeline: as the engine chooses, and on each runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hpi.doctor.process import Answer, ask
from hpi.doctor.report import Check, Problem

PEOPLE = 2
"""How many there are in the reference image."""
LEAST_PX = 0.001
"""Deviations below it are shown as this much."""
MEND_OTHERS = "mend the other problems first, then run hpi doctor again"
REPORT = "run hpi predict on an image with --debug, and report what it says with the output of hpi doctor"


def check_main(pipeline: str, limit_s: float, checks: Sequence[Check]) -> Check:
    """The main job: a pipeline on the device and the runtimes that are chosen by default.

    Args:
        pipeline: its name.
        limit_s: seconds after which it counts as hanging.
        checks: those before it, whose problems it need not repeat.
    """
    answer = ask("predict", pipeline, "auto", "auto", limit_s=limit_s)
    facts = {"pipeline": pipeline, **answer.facts}
    if failure := answer.failure or _wrong_count(facts):
        explained = any(problem.blocks for check in checks for problem in check.problems)
        problem = Problem(f"{pipeline} does not run: {failure}", MEND_OTHERS if explained else REPORT, blocks=True)
        return Check("main", f"does not run: {failure}", (problem,), facts=facts)
    runs_on = (
        f"{model['model']} on {model['backend']} {model['variant']}, {model['device']}" for model in facts["models"]
    )
    found = "\n".join((f"{pipeline}: {facts['milliseconds']:.3g} ms an image", *runs_on))
    problems = tuple(Problem(warning, "") for warning in dict.fromkeys(_new(facts["warnings"], checks)))
    return Check("main", found, problems, facts=facts)


def _new(warnings: Iterable[str], checks: Sequence[Check]) -> Iterator[str]:
    """The warnings of a run that are not about a cache whose problem is known."""
    cache = next((check.facts.get("folder") for check in checks if check.name == "cache" and check.problems), None)
    return (warning for warning in warnings if cache is None or cache not in warning)


def _wrong_count(facts: Mapping[str, Any]) -> str | None:
    found = facts.get("people")
    return None if found == PEOPLE else f"it finds {found} people in the reference image instead of {PEOPLE}"


def try_runtime(pipeline: str, name: str, device: str, limit_s: float) -> dict[str, Any]:
    """Run a pipeline on one runtime, and compare it with the reference.

    Returns:
        In JSON's types: its name, device and version, whether it passed, the median time of an image in ms, the
        largest deviation in pixels, and what was wrong; None for what is not known.
    """
    answer = _run(pipeline, name, device, limit_s)
    facts = answer.facts
    verdicts = facts.get("verdicts") or {}
    pixels = [verdict["pixels"] for verdict in verdicts.values() if verdict["pixels"] is not None]
    failure = _failure_of(answer, verdicts)
    return {
        "runtime": name,
        "device": device,
        "version": next((model["version"].partition("-")[0] for model in facts.get("models", [])), None),
        "passed": failure is None,
        "milliseconds": facts.get("milliseconds"),
        "deviation_px": max(pixels, default=None),
        "failure": failure,
        "warnings": facts.get("warnings", []),
    }


def _run(pipeline: str, name: str, device: str, limit_s: float) -> Answer:
    """The temporary folder is made here, since the process may be killed."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="hpi-doctor-", ignore_cleanup_errors=True)
    except OSError:
        return ask("predict", pipeline, name, device, limit_s=limit_s)
    with temporary as folder:
        return ask("predict", pipeline, name, device, folder, limit_s=limit_s)


def _failure_of(answer: Answer, verdicts: Mapping[str, Mapping[str, Any]]) -> str | None:
    if answer.failure and answer.facts.get("milliseconds"):
        return f"runs, but could not be compared with the reference: {answer.failure}"
    if answer.failure:
        return answer.failure
    refused = [f"{model}: {verdict['summary']}" for model, verdict in verdicts.items() if not verdict["passed"]]
    return "; ".join(refused) or _wrong_count(answer.facts)


def runtimes_check(tried: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> Check:
    """The check of what :func:`try_runtime` has found.

    Args:
        tried: of each runtime and device.
        known: every runtime, with ``installed`` and the command to ``install`` it.

    Example:
        >>> runtimes_check([], {"openvino": {"installed": False, "install": "pip install openvino"}}).found
        'not installed: openvino'
    """
    absent = {name: about["install"] for name, about in known.items() if not about["installed"]}
    lines = [_line(one) for one in tried]
    if absent:
        lines.append(f"not installed: {', '.join(absent)}")
    problems = tuple(
        Problem(
            f"{one['runtime']} on {one['device']} does not pass: {one['failure']}",
            f"uninstall it, or install it anew: {known[one['runtime']]['install']}",
            blocks=True,
        )
        for one in tried
        if not one["passed"]
    )
    return Check("runtimes", "\n".join(lines), problems, facts={"tried": list(tried), "not_installed": absent})


def _line(one: Mapping[str, Any]) -> str:
    what = f"{one['runtime']} {one['version'] or ''}".rstrip()
    if not one["passed"]:
        return f"{what} on {one['device']}: failed"
    off = one["deviation_px"]
    if off is None:
        against = "not compared (no temporary folder can be made)"
    else:
        against = "the reference" if off == 0 else f"at most {max(off, LEAST_PX):.2g} px off"
    return f"{what} on {one['device']}: {one['milliseconds']:.3g} ms an image, {against}"
