"""This version beside an earlier one, and beside PaddleX: detectors alone, single images, a folder, the service.

Everyone runs in a process of its own, and all of a case take turns, round by round, so that what slows the machine
down slows all. A turn counts with the median of its runs, after one to warm up. ``now is faster`` is the other's time
over this version's, in the median over the rounds. Both versions begin with an empty ``HPI_HOME``, so neither has
measurements of its own.

- detector: the model alone with one image that is already scaled.
- image: one decoded image, with ``auto`` and with both models on OpenVINO. PaddleX runs with as many threads as there
  are cores, which suits it better than its default.
- folder: files that are read, decoded and predicted; results are not drawn. ``by hand`` are the best arrangements of
  workers x threads, batches and runtimes, of all that were tried for one turn.
- service: clients on the same machine send one image, each the next as soon as it has its answer; answers are checked.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from hpi.backends.cpu import usable_cores
from hpi.benchmarks.options import Output, PaddleX, Rounds, TurnSeconds
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.pipeline import pipeline_config, start_paddlex
from hpi.benchmarks.serving import Tally, Work, load, own_server, start_paddlex_server
from hpi.evaluation.report import write_report
from hpi.zoo import Zoo

Config = dict[str, Any]

ROUNDS = 5
RUNTIMES = ("onnxruntime", "openvino")
BATCHES = (1, 4, 8)
BEST_BY_HAND = 2
CLIENTS = 32
SERVICE_TURN = 4
"""So many times as long as the others: a client waits until the others had their answers."""
MOST_CHECKS = 20
NOW, BEFORE, PADDLEX = "now", "before", "paddlex"
HEADINGS = (
    "case", "who", "runs on", "ms an image", "least to most", "images a second", "now is faster", "least to most",
)  # fmt: skip


class Part(str, Enum):
    """What is measured."""

    detector = "detector"
    image = "image"
    folder = "folder"
    service = "service"


@dataclass(frozen=True)
class Outcome:
    """What came of a turn: milliseconds of an image, people in all images, and what the models ran on."""

    ms: float
    people: int
    runs_on: str = "-"


@dataclass(frozen=True)
class Participant:
    """What takes turns: the number of its process, and a turn."""

    process: int
    turn: Callable[[], Outcome]


Case = tuple[str, dict[str, Participant]]
"""What is measured, and everyone who takes turns; the first is this version."""


@dataclass(frozen=True)
class Setup:
    """What a run measures, and with what.

    Attributes:
        pythons: of this version and of the earlier one.
        paddlex: of an environment with PaddleX.
        home: where both versions keep what they make.
        images: single images.
        folder: of images.
        seconds: of a turn.
        versions: packages of everyone who ran.
    """

    pythons: Mapping[str, Path]
    paddlex: Path | None
    home: Path
    images: list[Path]
    folder: Path
    seconds: float
    versions: dict[str, dict[str, str]]

    def start(self, stack: ExitStack) -> dict[str, Peer]:
        """Both versions; they end with the stack."""
        peers = {
            who: stack.enter_context(closing(Peer(python, "hpi", {}, HPI_HOME=str(self.home / who))))
            for who, python in self.pythons.items()
        }
        self.versions.update({who: peer.versions for who, peer in peers.items()})
        return peers

    def paddlex_for(self, config: Config) -> Path | None:
        """The Python with PaddleX, where that can run the pipeline: it reads Paddle's own files."""
        folders = [module.get("model_dir") for module in config["SubModules"].values()]
        readable = all(folder and any(Path(folder).glob("*.pdiparams")) for folder in folders)
        return self.paddlex if readable else None


def main(
    images: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Images with people.")],
    before: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Python of an environment with the earlier version.")
    ],
    folder: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images.")],
    pipeline: Annotated[
        list[str], typer.Option(help="Name, YAML file or DETECTOR_FOLDER,KEYPOINT_FOLDER; repeat for several.")
    ],
    paddlex: PaddleX = None,
    part: Annotated[list[Part] | None, typer.Option(help="Only this; repeat for several.")] = None,
    seconds: TurnSeconds = 1,
    rounds: Rounds = ROUNDS,
    output: Output = None,
) -> None:
    """Time this version beside an earlier one, in turn, and beside PaddleX where it can run the pipeline."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        pythons = {NOW: Path(sys.executable), BEFORE: before}
        setup = Setup(pythons, paddlex, Path(home), images, folder, seconds, {})
        for of_part, config in product(part or Part, map(_config, pipeline)):
            for name, participants in PARTS[of_part](setup, config):
                Console(stderr=True).print(name, highlight=False)
                rows += _measure(name, participants, rounds)
                if output is not None:  # what is there is kept, should the rest be interrupted
                    report = {"versions": setup.versions, "rows": rows}
                    write_report(output, "Versions", __doc__ or "", HEADINGS, _cells(rows), report, _notes(setup, rows))
    Console().print(*(" | ".join(cells) for cells in _cells(rows)), sep="\n")


def _config(name: str) -> Config:
    """The content of a pipeline's YAML."""
    detector, _, keypoint_model = name.partition(",")
    if not keypoint_model:
        return pipeline_config(name, None, None)
    folders = [Path(folder).absolute() for folder in (detector, keypoint_model)]
    return pipeline_config("human_keypoint_detection", *(f"{Zoo.default().of_path(one).name}={one}" for one in folders))


def _names(config: Config) -> list[str]:
    """Of the detector and of the keypoint model."""
    return [config["SubModules"][module]["model_name"] for module in ("ObjectDetection", "KeypointDetection")]


def _detectors(setup: Setup, config: Config) -> Iterator[Case]:
    """The detector alone on each runtime."""
    name, _ = _names(config)
    with ExitStack() as stack:
        peers = setup.start(stack)
        for runtime in RUNTIMES:
            options = {"config": config, "backend": runtime}
            yield f"{name} on {runtime}", _versions(setup, peers, options=options)


def _images(setup: Setup, config: Config) -> Iterator[Case]:
    """The pipeline on single images."""
    with ExitStack() as stack:
        peers = setup.start(stack)
        if paddlex := setup.paddlex_for(config):
            threads = {"PADDLE_PDX_CPU_NUM_THREADS": str(usable_cores())}
            peers[PADDLEX] = stack.enter_context(closing(start_paddlex(paddlex, config, **threads)))
            setup.versions[PADDLEX] = peers[PADDLEX].versions
        for runtime, path in product(("auto", "openvino"), setup.images):
            options = {"config": config, "backend": runtime}
            participants = _versions(setup, peers, options=options, path=str(path.absolute()))
            if PADDLEX in peers and runtime == "auto":
                turn = partial(_paddlex_turn, peers[PADDLEX], setup.seconds, path)
                participants[PADDLEX] = Participant(peers[PADDLEX].process, turn)
            yield f"{' + '.join(_names(config))}, {path.name}, {runtime}", participants


def _folder(setup: Setup, config: Config) -> Iterator[Case]:
    """The pipeline on a folder: by default with single images and batches, for throughput, and arranged by hand."""
    with ExitStack() as stack:
        peers = setup.start(stack)
        work = {"path": str(setup.folder.absolute())}
        by_hand = _best_by_hand(setup, peers[NOW], config, work)
        for objective, batch_size in ((None, 1), (None, 8), ("throughput", 8)):
            options = {"config": config, "objective": objective}
            participants = _versions(setup, peers, options=options, batch_size=batch_size, **work)
            how = f"{objective or 'by default'}, batches of {batch_size}"
            yield f"{' + '.join(_names(config))}, folder, {how}", participants | by_hand


def _best_by_hand(setup: Setup, peer: Peer, config: Config, work: Mapping[str, Any]) -> dict[str, Participant]:
    """The best arrangements of workers, threads, batches and runtimes, as far as one turn each tells."""
    counts = sorted({1, usable_cores()})
    arranged = {
        f"by hand: {runtime}, {workers} x {threads} threads, batches of {batch_size}": Participant(
            peer.process,
            partial(
                _turn,
                peer,
                setup.seconds,
                options={"config": config, "backend": runtime, "workers": workers, "threads": threads},
                batch_size=batch_size,
                **work,
            ),
        )
        for runtime, workers, threads, batch_size in product(RUNTIMES, counts, counts, BATCHES)
    }
    times = {who: participant.turn().ms for who, participant in arranged.items()}
    return {who: arranged[who] for who in sorted(times, key=times.__getitem__)[:BEST_BY_HAND]}


def _service(setup: Setup, config: Config) -> Iterator[Case]:
    """The service under load with the last of the images."""
    path, seconds = setup.images[-1], SERVICE_TURN * setup.seconds
    with ExitStack() as stack:
        answer = setup.start(stack)[NOW].ask(seconds=0, options={"config": config}, path=str(path.absolute()))
    work = Work.of(path, answer["keypoints"][0])
    participants = {}
    with ExitStack() as stack:
        for who, python in setup.pythons.items():
            home = str(setup.home / who)
            server = stack.enter_context(own_server(config, python=python, HPI_HOME=home))
            participants[who] = Participant(server.process.pid, partial(_load_turn, server.port, seconds, work))
        if paddlex := setup.paddlex_for(config):
            peer, port = start_paddlex_server(paddlex, config)
            stack.enter_context(closing(peer))
            setup.versions[f"{PADDLEX}, service"] = peer.versions
            participants[PADDLEX] = Participant(peer.process, partial(_load_turn, port, seconds, work))
        yield f"{' + '.join(_names(config))}, service, {CLIENTS} clients, {path.name}", participants


PARTS: dict[Part, Callable[[Setup, Config], Iterator[Case]]] = {
    Part.detector: _detectors,
    Part.image: _images,
    Part.folder: _folder,
    Part.service: _service,
}


def _versions(setup: Setup, peers: Mapping[str, Peer], **work: Any) -> dict[str, Participant]:
    """Both versions with the same work."""
    return {
        who: Participant(peers[who].process, partial(_turn, peers[who], setup.seconds, **work)) for who in setup.pythons
    }


def _turn(peer: Peer, seconds: float, **work: Any) -> Outcome:
    answer = peer.ask(seconds=seconds, **work)
    images = len(answer["keypoints"]) or 1  # a detector alone gets one
    people = sum(map(len, answer["keypoints"]))
    return Outcome(float(np.median(answer["ms"])) / images, people, " + ".join(answer["models"]))


def _paddlex_turn(peer: Peer, seconds: float, path: Path) -> Outcome:
    answer = peer.ask(seconds=seconds, paths=[str(path)])
    return Outcome(float(np.median(answer["ms"])), answer["people"])


def _load_turn(port: int, seconds: float, work: Work) -> Outcome:
    tally = Tally()
    load(port, CLIENTS, seconds, work, tally)
    if tally.wrong or not tally.milliseconds:
        raise RuntimeError(f"a service gives {tally.wrong} wrong answers and {len(tally.milliseconds)} right ones")
    return Outcome(1000 * tally.seconds / len(tally.milliseconds), len(work.keypoints))


def _measure(name: str, participants: Mapping[str, Participant], rounds: int) -> list[dict[str, Any]]:
    """Rows of everyone in a case."""
    taken: dict[str, list[Outcome]] = {who: [] for who in participants}
    waiting = 0.0
    for _ in range(rounds):
        for who, participant in participants.items():
            others = {one.process for one in participants.values()} - {participant.process}
            _wait_until_idle(others)
            start, cpu = time.perf_counter(), sum(map(_cpu_seconds, others))
            taken[who].append(participant.turn())
            waiting = max(waiting, (sum(map(_cpu_seconds, others)) - cpu) / (time.perf_counter() - start))
    people = {outcome.people for outcomes in taken.values() for outcome in outcomes}
    if len(people) > 1:
        raise RuntimeError(f"{name}: not the same work: {sorted(people)} people are found")
    ms = {who: np.array([outcome.ms for outcome in outcomes]) for who, outcomes in taken.items()}
    return [
        {
            "case": name,
            "who": who,
            "people": taken[who][-1].people,
            "runs_on": taken[who][-1].runs_on,
            "rounds_ms": of_one.tolist(),
            "times_now": (of_one / ms[NOW]).tolist(),
            "waiting": waiting,
        }
        for who, of_one in ms.items()
    ]


def _wait_until_idle(processes: Collection[int]) -> None:
    """Threads of Paddle spin for 0.2 s after a run."""
    earlier = -1.0
    for _ in range(MOST_CHECKS):
        if earlier == (cpu := sum(map(_cpu_seconds, processes))):
            return
        earlier = cpu
        time.sleep(0.05)


def _cpu_seconds(process: int) -> float:
    """CPU time of a process so far; on Linux."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            row["case"],
            row["who"],
            row["runs_on"],
            f"{np.median(row['rounds_ms']):.2f}",
            f"{min(row['rounds_ms']):.2f} to {max(row['rounds_ms']):.2f}",
            f"{1000 / np.median(row['rounds_ms']):.1f}",
            f"{np.median(row['times_now']):.2f}",
            f"{min(row['times_now']):.2f} to {max(row['times_now']):.2f}",
        ]
        for row in rows
    ]


def _notes(setup: Setup, rows: list[dict[str, Any]]) -> str:
    """Who ran, and that nobody was in the way of another."""
    lines = [f"- {who}: {', '.join(map(' '.join, packages.items()))}" for who, packages in setup.versions.items()]
    waiting = max(row["waiting"] for row in rows)
    return "\n".join([f"While others had their turn, those who waited used at most {waiting:.1%} of a core.\n", *lines])
