"""How hpi batch scales on one machine: processes of one thread each, a model of their contention, and its check.

The service time of a part is how long its process worked on it. Processes that share a machine slow each other down:
with ``n`` of them it grows to ``1 + contention (n - 1) + coherency n (n - 1)`` times that of one, Gunther's universal
scalability law, and where there are only ``c < n`` cores to ``n / c`` times as much again. Both numbers are fitted to
the measured service times. The check does not use how long a whole run took: a simulation gives parts to processes as
the batch does, with the recorded service times of one process and that law, and its end is compared with the clock's.
What a run starts with is measured by a batch of one image.
"""

from __future__ import annotations

import heapq
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from hpi import Predictor
from hpi.backends.cpu import usable_cores
from hpi.benchmarks.batch import repeated
from hpi.benchmarks.options import Output, Pipeline, Rounds
from hpi.distributed.batch import Progress, run_batch
from hpi.distributed.inputs import cut, list_files
from hpi.distributed.job import Job, PartDone
from hpi.distributed.output import Output as Folder
from hpi.distributed.plan import write_plan
from hpi.evaluation.report import describe_models, write_report

HEADINGS = (
    "processes", "images a second", "ms an image in a process", "of one process", "by the law",
    "s of a run", "s simulated", "CPU s a 1000 images",
)  # fmt: skip
LISTED = 200_000
"""Paths of the list whose planning is timed."""
SIMULATED = 200
"""Simulations, each with other draws of the recorded service times."""


class Run(NamedTuple):
    """A batch.

    Attributes:
        seconds: of all of it.
        parts: what came of each.
        cpu_s: CPU seconds of its processes.
        driver_s: CPU seconds of the one that gives out the parts.
        written: bytes of its results.
    """

    seconds: float
    parts: list[PartDone]
    cpu_s: float
    driver_s: float
    written: int


class Law(NamedTuple):
    """By how much ``n`` processes of one thread slow each other down.

    Example:
        >>> law = Law(contention=0.1, coherency=0.0, cores=2)
        >>> law.stretch(2), law.stretch(4)
        (1.1, 2.6)
    """

    contention: float
    coherency: float
    cores: int

    def stretch(self, count: int) -> float:
        """The service time with so many processes, where one alone takes 1."""
        slowed = 1 + self.contention * (count - 1) + self.coherency * count * (count - 1)
        return slowed * max(1, count / self.cores)


def fit(service_s: dict[int, float], cores: int) -> Law:
    """The law of the mean service times by the number of processes; neither number is below 0.

    Example:
        >>> law = fit({1: 0.02, 2: 0.022, 4: 0.026}, cores=8)
        >>> round(law.contention, 6), round(law.coherency, 6)
        (0.1, 0.0)
    """
    from scipy.optimize import nnls

    counts = np.array(sorted(service_s), np.float64)
    stretched = np.array([service_s[int(count)] / service_s[1] for count in counts])
    growth = stretched / np.maximum(1, counts / cores) - 1
    (contention, coherency), _ = nnls(np.stack([counts - 1, counts * (counts - 1)], axis=1), growth)
    return Law(float(contention), float(coherency), cores)


def simulate(
    sizes: Sequence[int], service_s: Sequence[float], count: int, start_s: float, law: Law, seed: int
) -> float:
    """Seconds until processes have done all parts, each taking the next one when it is free.

    Args:
        sizes: images of each part, in order.
        service_s: recorded seconds an image of parts of one process alone; each part draws one.
        count: processes.
        start_s: when each of them is ready.
        law: how they slow each other down.
        seed: of the draws.

    Example:
        >>> simulate([10, 10, 10], [0.1], count=2, start_s=1, law=Law(0, 0, cores=2), seed=0)
        3.0
    """
    drawn = np.random.default_rng(seed).choice(np.asarray(service_s), len(sizes))
    free = [start_s] * count
    for size, seconds in zip(sizes, drawn, strict=True):
        heapq.heappush(free, heapq.heappop(free) + size * float(seconds) * law.stretch(count))
    return max(free)


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of images.")],
    pipeline: Pipeline = "human_keypoint_detection_lite",
    images: Annotated[int, typer.Option(min=64, help="Images of a run; the folder is repeated.")] = 600,
    processes: Annotated[
        list[int] | None, typer.Option(min=1, help="Besides one; repeat for several. By default 2 and 4.")
    ] = None,
    rounds: Rounds = 3,
    output: Output = None,
) -> None:
    """Measure how hpi batch scales, fit a model, and check it by simulation."""
    counts = sorted({1, *(processes or (2, 4))})
    with Predictor(pipeline, threads=1, objective="throughput") as predictor:
        models = describe_models(predictor)
    with tempfile.TemporaryDirectory(prefix="hpi-scale-") as work:
        many, one = repeated(folder, Path(work) / "many", images), repeated(folder, Path(work) / "one", 1)
        runs: dict[int, list[tuple[Run, Run]]] = {count: [] for count in counts}
        for _ in track(range(rounds), description="rounds", console=Console(stderr=True)):
            for count in counts:
                runs[count].append((_run(one, pipeline, count, work), _run(many, pipeline, count, work)))
        planned, read = _paths_planned_a_second(Path(work)), _bytes_of(many)
    service = {count: _service_s(turns) for count, turns in runs.items()}
    law = fit(service, usable_cores())
    alone = [part.seconds / part.images for _, run in runs[1] for part in run.parts]
    cells = [_row(count, runs[count], service, law, alone) for count in counts]
    all_turns = [turn for turns in runs.values() for turn in turns]
    per_part = float(np.median([(run.driver_s - start.driver_s) / (len(run.parts) - 1) for start, run in all_turns]))
    read_kb, written_kb = read / images / 1024, all_turns[0][1].written / images / 1024
    most_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    facts = (
        f"Contention {law.contention:.3f}, coherency {law.coherency:.3f}. The process that gives out the parts takes "
        f"{1000 * per_part:.1f} ms of CPU time for each part. {planned:,.0f} paths a second are planned. Of an image "
        f"{read_kb:.0f} KB are read and {written_kb:.2f} KB written. A process takes at most {most_mb:.0f} MB.\n"
    )
    Console().print(*(" | ".join(line) for line in [HEADINGS, *cells]), facts, sep="\n")
    if output is not None:
        rows = {count: [(start.seconds, _plain(run)) for start, run in turns] for count, turns in runs.items()}
        write_report(output, "Scale", __doc__ or "", HEADINGS, cells, {"models": models, "runs": rows}, facts)


def _plain(run: Run) -> dict[str, Any]:
    return {**run._asdict(), "parts": [asdict(part) for part in run.parts]}


def _run(folder: Path, pipeline: str, count: int, work: str) -> Run:
    target = Path(work) / "output"
    job = Job(
        (str(folder),),
        str(target),
        partial(Predictor, pipeline, threads=1),
        batch_size=8,  # else each run would find a size of its own
        part_size=32,  # enough parts to draw service times from
        processes=count,
    )
    parts: list[PartDone] = []

    def keep(progress: Progress) -> None:
        if progress.last is not None:
            parts.append(progress.last)

    before, start = _cpu_s(), time.perf_counter()
    run_batch(job, keep)
    seconds = time.perf_counter() - start
    driver, children = np.subtract(_cpu_s(), before)
    written = _bytes_of(target)
    shutil.rmtree(target)
    return Run(seconds, parts, float(children), float(driver), written)


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _cpu_s() -> tuple[float, float]:
    """CPU seconds of this process, and of those that it has started and that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def _service_s(turns: Sequence[tuple[Run, Run]]) -> float:
    """Seconds of a process for an image: the median of the runs."""
    return float(np.median([sum(p.seconds for p in run.parts) / sum(p.images for p in run.parts) for _, run in turns]))


def _row(
    count: int, turns: Sequence[tuple[Run, Run]], service: dict[int, float], law: Law, alone: Sequence[float]
) -> list[str]:
    starts, runs = [start for start, _ in turns], [run for _, run in turns]
    images = sum(part.images for part in runs[0].parts)
    start_s = float(np.median([start.seconds for start in starts])) - service[1]
    rate = float(np.median([images / (run.seconds - start_s) for run in runs]))
    sizes = [part.images for part in sorted(runs[0].parts, key=lambda part: part.number)]
    simulated = [simulate(sizes, alone, count, start_s, law, seed) for seed in range(SIMULATED)]
    cpu = float(np.median([run.cpu_s - start.cpu_s for start, run in turns]))
    return [
        str(count),
        f"{rate:.1f}",
        f"{1000 * service[count]:.1f}",
        f"{service[count] / service[1]:.2f}",
        f"{law.stretch(count):.2f}",
        f"{np.median([run.seconds for run in runs]):.1f}",
        f"{np.median(simulated):.1f}",
        f"{1000 * cpu / images:.1f}",
    ]


def _paths_planned_a_second(work: Path) -> float:
    """Paths of a list that are cut into parts and written, a second."""
    paths, plan = work / "list.txt", Folder(str(work / "plan"))
    paths.write_text("".join(f"/data/images/{number:09d}.jpg\n" for number in range(LISTED)))
    start = time.perf_counter()
    write_plan(plan, cut(list_files([f"@{paths}"]), part_size=1000))
    return LISTED / (time.perf_counter() - start)
