"""Doing the parts of a batch on a Ray cluster, with Ray Data. One that is lost with its node is done again."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpi.distributed.job import Job, Part, PartDone
from hpi.distributed.local import CORES, TRIES
from hpi.distributed.output import Output
from hpi.distributed.plan import Plan
from hpi.distributed.ray_cluster import LOCAL, connected
from hpi.distributed.worker import Worker
from hpi.errors import BackendError, ConfigError, HpiError, InputError
from hpi.options import AUTO

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """What each actor gets.

    Attributes:
        cpus: its threads.
        gpus: 1 or 0.
        actors: how many there is room for now.

    Example:
        >>> Share(cpus=4, gpus=1, actors=8).device
        'gpu'
    """

    cpus: int
    gpus: int
    actors: int

    @property
    def device(self) -> str:
        """What its models run on."""
        return "gpu" if self.gpus else "cpu"


def run_parts(job: Job, parts: Iterable[Part]) -> Generator[PartDone]:
    """Do parts on the Ray cluster that ``job.ray`` names.

    Args:
        job: the batch. Each node must reach its sources and its output.
        parts: of the plan in the output, where actors read them.

    Yields:
        What came of each part, in the order in which they end. One that has failed, or whose actor was lost, several
        times is given up, which its ``failure`` says.

    Raises:
        HpiError: there is no cluster, the models cannot be opened, or results cannot be written.
    """
    left = {part.number: len(part.files) for part in parts}
    in_vain = 0
    with connected(job.ray or LOCAL):
        while left and in_vain < TRIES:
            before = len(left)
            for answer in _run(job, list(left)):
                if isinstance(answer, HpiError):
                    raise answer
                if left.pop(answer.number, None) is not None:  # one whose node was lost may have been done twice
                    yield answer
            in_vain = in_vain + 1 if len(left) == before else 0
            if left and in_vain < TRIES:
                logger.warning("%d parts are done again: their actors were lost", len(left))
    for number, files in left.items():
        yield PartDone(number, files, failure=f"its actor was lost {TRIES} times; is there enough memory?")


def share_of(job: Job, nodes: Iterable[Mapping[str, float]]) -> Share:
    """What each actor gets: a GPU where nodes have some and the job may use it; its share of the cores of a node.

    Args:
        job: the batch.
        nodes: the resources of each.

    Raises:
        BackendError: no node has what the job names.

    Example:
        >>> from functools import partial
        >>> from hpi import Predictor
        >>> job = Job(("/data",), "/out", partial(Predictor, "body"))
        >>> share_of(job, [{"CPU": 8}, {"CPU": 6}])
        Share(cpus=4, gpus=0, actors=3)
        >>> share_of(job, [{"CPU": 8}, {"CPU": 32, "GPU": 4}])
        Share(cpus=8, gpus=1, actors=4)
    """
    wanted = job.predictor.keywords
    named, threads = wanted.get("device") or AUTO, wanted.get("threads")
    nodes = list(nodes)
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if named.startswith(("gpu", "cuda")) or (named == AUTO and any(gpus)):
        counts = [(count, int(node.get("CPU", 0))) for count, node in zip(gpus, nodes, strict=True) if count]
        if not counts:
            raise BackendError(f"--device {named}: no node of the Ray cluster has a GPU")
        return Share(threads or max(1, min(cpus // count for count, cpus in counts)), 1, sum(gpus))
    if named not in {AUTO, "cpu"}:
        raise BackendError(f"--device {named}: on a Ray cluster give cpu or gpu")
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    each = threads or min([CORES, *cpus])
    if each > max(cpus, default=0):
        raise BackendError(f"no node of the Ray cluster has {each} CPUs; give fewer --threads")
    return Share(each, 0, max(1, sum(count // each for count in cpus)))


def _run(job: Job, numbers: Collection[int]) -> Generator[PartDone | HpiError]:
    """Do parts, each at most once. An actor that is lost is replaced where there is room; its part is left out."""
    import ray
    from ray import data
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is reported here
    share = share_of(job, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    warnings.filterwarnings("ignore", "`ray_remote_args_fn`")  # it is to go, and nothing takes its place yet
    parts = data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    context = parts.context
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1
    answers = parts.map_batches(
        _Actor,
        fn_constructor_args=(job, share),
        batch_size=1,
        num_cpus=share.cpus,
        num_gpus=share.gpus,
        # One part more for each actor than it does now asks for more actors, where the cluster can grow.
        compute=data.ActorPoolStrategy(min_size=1, initial_size=share.actors, max_tasks_in_flight_per_actor=2),
        # Else a part waits for its actor to come back, for which there may be no room any more.
        ray_remote_args_fn=lambda: {"max_restarts": 0},
    )
    try:
        for row in answers.iter_rows():
            yield pickle.loads(row["answer"])
    except RayError as error:
        said = [line for line in str(error).splitlines() if line.strip()]  # a traceback and its error
        raise BackendError(f"--ray {job.ray}: {said[-1]}") from error


class _Actor:
    """Does the parts whose numbers it gets."""

    def __init__(self, job: Job, share: Share) -> None:
        self._worker = Worker(job, threads=share.cpus, device=share.device)
        self._plan = Plan(Output(job.output))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answer = pickle.dumps(self._answer(self._plan.part(int(batch["number"][0]))))
        return {"answer": np.array([answer], dtype=object)}

    def _answer(self, part: Part) -> PartDone | HpiError:
        for _ in range(TRIES):
            try:
                done = self._worker.attempt(part)
            except (ConfigError, InputError) as error:  # raised here, it would be an error of this part alone
                return error
            if done.failure is None:
                break
        return done
