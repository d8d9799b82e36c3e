"""The HTTP service under load, beside PaddleX's own server with the same weights.

Clients on the same machine send one image as base64 over kept connections, each the next as soon as it has its answer,
to each server in turn; every answer is compared with what the pipeline finds offline. ``one by one`` is this service
without dynamic batching. A client that gets a 503 comes back after the time in ``Retry-After``. Times are of
answers with people; the clients share the cores with the servers.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from rich.progress import Progress

from hpi import Predictor
from hpi.benchmarks.memory import growth, resident_mb
from hpi.benchmarks.options import DetectorEntry, Output, PaddleX, Pipeline, PoseEntry, Rounds
from hpi.benchmarks.peer import Peer
from hpi.benchmarks.pipeline import pipeline_config, with_folders
from hpi.benchmarks.plots import save_clients, save_memory
from hpi.errors import ConfigError
from hpi.evaluation.report import describe_models, write_report

ROUTE = "/human-keypoint-detection"
ROUNDS = 3
START_S = 120
MEMORY_CLIENTS, MEMORY_STEP = 8, 24
PIXELS, SCORE = 0.2, 0.01
"""How far an answer may be from the offline result, which ran in a batch of another size or on another runtime."""
HEADINGS = ("clients", "who", "answers a second", "p50 ms", "p99 ms", "busy (503)", "wrong", "times hpi")


@dataclass(frozen=True)
class Work:
    """What the clients send, and what they expect: keypoints ``[N, K, 3]``."""

    body: bytes
    keypoints: NDArray[np.float32]

    @classmethod
    def of(cls, path: Path, keypoints: ArrayLike) -> Work:
        """An image file, and the keypoints of its people."""
        image = base64.b64encode(path.read_bytes()).decode()
        return cls(json.dumps({"image": image, "visualize": False}).encode(), np.asarray(keypoints, np.float32))

    def is_right(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer has these keypoints."""
        found = np.array([person["kpts"] for person in answer["result"]["persons"]])
        if found.shape != self.keypoints.shape:
            return False
        off = np.abs(found - self.keypoints)
        return bool(off[..., :2].max(initial=0) <= PIXELS and off[..., 2].max(initial=0) <= SCORE)


@dataclass
class Tally:
    """What the clients of one server saw."""

    milliseconds: list[float] = field(default_factory=list)
    busy: int = 0
    wrong: int = 0
    seconds: float = 0.0


def main(
    path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An image with people.")],
    detector: DetectorEntry = None,
    pose: PoseEntry = None,
    pipeline: Pipeline = "human_keypoint_detection_lite",
    clients: Annotated[list[int], typer.Option(min=1, help="Clients at once; repeat for several.")] = [1, 8, 32, 128],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time of one turn.")] = 6,
    rounds: Rounds = ROUNDS,
    requests: Annotated[int, typer.Option(help="Requests for the plot of the memory; 0: none.")] = 10_000,
    paddlex: PaddleX = None,
    output: Output = None,
) -> None:
    """Put the service under load, alone or beside PaddleX's server."""
    config = pipeline_config(pipeline, detector, pose)
    with Predictor("", config=config, device="cpu") as predictor:
        models = describe_models(predictor)
        config = with_folders(config, predictor)
        (result,) = predictor.predict(str(path))
    if not result["boxes"]:
        raise ConfigError(f"{path}: nobody is found in it; give an image with people")
    work = Work.of(path, [person["keypoints"] for person in result["boxes"]])
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {
            "hpi": stack.enter_context(own_server(config)),
            "hpi, one by one": stack.enter_context(own_server(config, "--max_batch", "1")),
        }
        ports = {name: server.port for name, server in servers.items()}
        versions: dict[str, Any] = {}
        if paddlex is not None:
            peer, ports["paddlex"] = start_paddlex_server(paddlex, config)
            stack.enter_context(closing(peer))
            versions["paddlex"] = peer.versions
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        task = progress.add_task("load", total=len(clients) * rounds * len(ports))
        memory: list[float] = []
        for count in clients:
            tallies = {name: Tally() for name in ports}
            for _ in range(rounds):
                for name, port in ports.items():
                    load(port, count, seconds, work, tallies[name])
                    progress.advance(task)
            rows += [_row(count, name, tally, tallies["hpi"]) for name, tally in tallies.items()]
            _report(output, rows, memory, models, versions)
        if requests:
            memory = _memory(servers["hpi"], requests, work, progress)
            _report(output, rows, memory, models, versions)
    Console().print(*(" | ".join(cells) for cells in map(_cells, rows)), sep="\n")


def _report(
    output: Path | None, rows: list[dict[str, Any]], memory: list[float], models: list[dict[str, Any]], versions: Any
) -> None:
    """Keep what is there, should the rest be interrupted."""
    if output is None:
        return
    grown = ""
    if memory:
        grown = f"{growth(memory, MEMORY_STEP, 'requests')}\n"
        save_memory(output.with_name(f"{output.name}_memory.png"), MEMORY_STEP, memory)
    report = {"models": models, "peers": versions, "rows": rows, "memory_mb": memory}
    write_report(output, "Serving", __doc__ or "", HEADINGS, [_cells(row) for row in rows], report, grown)
    save_clients(output.with_suffix(".png"), rows)


def load(port: int, clients: int, seconds: float, work: Work, tally: Tally) -> None:
    """Let clients send requests for a while, and add what they see to the tally."""
    lock, start = threading.Lock(), time.perf_counter()
    end = start + seconds

    def client(_: int) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
            while time.perf_counter() < end:
                begun = time.perf_counter()
                status, retry_after, answer = _ask(connection, work)
                milliseconds = 1000 * (time.perf_counter() - begun)
                right = status == 200 and work.is_right(answer)
                with lock:
                    tally.busy += status == 503
                    tally.wrong += status != 503 and not right
                    if right:
                        tally.milliseconds.append(milliseconds)
                time.sleep(retry_after)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    tally.seconds += time.perf_counter() - start


def _ask(connection: HTTPConnection, work: Work) -> tuple[int, float, Any]:
    """Status, seconds to wait before the next request, and answer."""
    connection.request("POST", ROUTE, work.body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, float(answer.headers.get("Retry-After", 0)), json.loads(answer.read())


def _memory(server: Server, requests: int, work: Work, progress: Progress) -> list[float]:
    """Resident memory of a server in MB after every so many requests."""
    task = progress.add_task("memory", total=requests)
    connections = [HTTPConnection("127.0.0.1", server.port, timeout=600) for _ in range(MEMORY_CLIENTS)]
    resident = []

    def share(connection: HTTPConnection) -> None:
        for _ in range(-(-MEMORY_STEP // MEMORY_CLIENTS)):
            _ask(connection, work)

    with ThreadPoolExecutor(MEMORY_CLIENTS) as pool:
        for _ in range(requests // MEMORY_STEP):
            list(pool.map(share, connections))
            resident.append(resident_mb(server.process.pid))
            progress.advance(task, MEMORY_STEP)
    for connection in connections:
        connection.close()
    return resident


@dataclass(frozen=True)
class Server:
    """A service that runs."""

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def own_server(
    config: Mapping[str, Any], *options: str, python: str | Path = sys.executable, **environment: str
) -> Iterator[Server]:
    """This project's service in a process of its own.

    Args:
        config: content of the pipeline's YAML, with absolute paths.
        options: of the command line.
        python: interpreter of the environment that the project is installed in.
        environment: variables on top of this process's.
    """
    with tempfile.TemporaryDirectory() as folder:
        yml = Path(folder) / "pipeline.yaml"
        yml.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        port = _free_port()
        command = [str(python), "-m", "hpi", "serve", "--pipeline", str(yml), "--port", str(port), "--device", "cpu"]
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,  # not where another version of the project may lie
            env={**os.environ, **environment},
        )
        try:
            _wait_for(port, process)
            yield Server(port, process)
        finally:
            process.terminate()
            process.wait()


def start_paddlex_server(python: Path, config: Mapping[str, Any]) -> tuple[Peer, int]:
    """PaddleX's own server in a process of its own, and its port."""
    port = _free_port()
    environment = {"PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    peer = Peer(python, "paddlex_server", {"pipeline": config, "port": port}, **environment)
    _wait_for(port)
    return peer, port


def _wait_for(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except OSError as error:
            if time.monotonic() > end or (process is not None and process.poll() is not None):
                raise RuntimeError(f"the server on port {port} does not answer: {error}") from error
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _row(clients: int, who: str, tally: Tally, ours: Tally) -> dict[str, Any]:
    p50, p99 = np.percentile(tally.milliseconds, [50, 99]) if tally.milliseconds else (np.nan, np.nan)
    rate, our_rate = (len(one.milliseconds) / one.seconds for one in (tally, ours))
    return {
        "clients": clients,
        "who": who,
        "throughput": rate,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "busy": tally.busy,
        "wrong": tally.wrong,
        "of_hpi": rate / our_rate,
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    times = (f"{row[name]:.1f}" for name in ("throughput", "p50_ms", "p99_ms"))
    return [str(row["clients"]), row["who"], *times, str(row["busy"]), str(row["wrong"]), f"{row['of_hpi']:.2f}"]
