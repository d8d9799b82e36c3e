"""The service on Ray Serve: its answers are those of ``hpi serve``, and an update loses no request."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from odd_requests import JPEG, REQUESTS, ask
from support import HANGS_S, LONG, free_port, run_hpi, wait_until

pytest.importorskip("ray")
pytest.importorskip("fastapi")
from websockets.sync.client import connect

pytestmark = [pytest.mark.cluster, pytest.mark.full]

SHARE = ("--device", "cpu", "--threads", "1", "--objective", "latency", "--deadline", str(HANGS_S))
PASSING = {"date", "server", "server-timing", "x-request-id"}
"""Headers of the time, and those that Ray adds."""
REQUESTS_DURING_UPDATE = 2000 if LONG else 400


@pytest.fixture(scope="module")
def command(home, tmp_path_factory):
    """``hpi deploy ray`` with a Ray of its own."""
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    log = folder / "log.txt"
    arguments = [sys.executable, "-m", "hpi", "deploy", "ray", "--replicas", "2", "--port", str(port), *SHARE]
    with log.open("wb") as stream:
        process = subprocess.Popen(arguments, cwd=folder, stdout=stream, stderr=stream)
    try:
        wait_until(lambda: "to update it" in log.read_text() or process.poll() is not None, "the service is there")
        assert process.poll() is None, log.read_text()
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", process=process, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANGS_S) == 0


@pytest.fixture(scope="module")
def plain(start_service):
    """``hpi serve``."""
    return start_service(*SHARE)


def comparable(answer):
    """What an answer says, besides ids and times."""
    headers = {name: text for name, text in answer.headers.items() if name not in PASSING}
    content = answer.content and {name: value for name, value in answer.content.items() if name != "logId"}
    return answer.status, headers, content


def test_requests_good_and_bad_are_answered_alike(command, plain, rng):
    ports = [urlsplit(service.url).port for service in (command, plain)]
    with ThreadPoolExecutor(len(ports)) as pool:
        for name in rng.choice(list(REQUESTS), 80, replace=False):
            found, expected = pool.map(lambda port, name=name: comparable(ask(port, REQUESTS[name])), ports)
            assert found == expected, name


@pytest.mark.parametrize("path", ["/", "/docs", "/info", "/openapi.json", "/page/sample.png", "/ready", "/nothing"])
def test_pages_and_states_are_the_same(command, plain, path):
    found, expected = (httpx.get(service.url + path, timeout=HANGS_S) for service in (command, plain))
    assert found.status_code == expected.status_code
    assert without_ids(found.text) == without_ids(expected.text)


def without_ids(text):
    return re.sub(r'"logId":"[^"]*"', "", text)


def test_metrics_are_those_of_a_replica(command):
    assert "hpi_requests_total" in httpx.get(f"{command.url}/metrics", timeout=HANGS_S).text


def test_streams_follow_people(command, plain):
    answers = []
    for service in (command, plain):
        with connect(service.url.replace("http", "ws") + "/stream", max_size=None, open_timeout=HANGS_S) as stream:
            for _ in range(3):
                stream.send(JPEG)
                answers.append(json.loads(stream.recv(timeout=HANGS_S)))
    assert [one["persons"] for one in answers[:3]] == [one["persons"] for one in answers[3:]]
    assert {person["trackId"] for person in answers[2]["persons"]} == {1, 2}


def address_of(command):
    """``host:port`` of the Ray that a command has started."""
    return re.search(r"\((\S+:\d+)\)", command.log.read_text())[1]


def update(command, folder, *options):
    """Deploy the service again, with other options."""
    port = str(urlsplit(command.url).port)
    arguments = ("--ray", address_of(command), "--port", port, *SHARE, *options)
    done = run_hpi("deploy", "ray", *arguments, cwd=folder, RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr


@contextmanager
def load(command, requests):
    """Four clients that ask one request after the other until the block ends, and at least so many; their statuses."""
    small = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    url, ended, statuses = f"{command.url}/human-keypoint-detection", threading.Event(), []

    def ask_on():
        with httpx.Client(timeout=HANGS_S) as client:
            while not ended.is_set() or len(statuses) < requests:
                statuses.append(client.post(url, content=small, headers={"Content-Type": "image/png"}).status_code)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_on) for _ in range(4)]
        try:
            wait_until(lambda: len(statuses) > 100 or any(client.done() for client in clients), "requests are answered")
            yield statuses
        finally:
            ended.set()
        for client in clients:
            client.result()


def test_an_update_under_load_loses_no_request(command, tmp_path):
    with load(command, REQUESTS_DURING_UPDATE) as statuses:
        update(command, tmp_path, "--replicas", "2", "--max_pixels", "1000")
        during = len(statuses)
    print(f"{during} requests during the update, {len(statuses)} in all")
    assert len(statuses) >= REQUESTS_DURING_UPDATE
    # The new replicas take no more than 1000 pixels.
    assert set(statuses) == {200, 422}
    assert statuses.index(422) > 100


@pytest.mark.long
def test_a_replica_more_comes_with_the_load(command, tmp_path):
    update(command, tmp_path, "--replicas", "1")  # Serve waits ten minutes before it takes one of two away
    update(command, tmp_path, "--min_replicas", "1", "--max_replicas", "2", "--max_batch", "1")
    assert running_replicas(command) == 1
    with load(command, requests=0) as statuses:
        wait_until(lambda: running_replicas(command) == 2, "there is a second replica")
    assert set(statuses) == {200}


def running_replicas(command):
    """How many replicas Serve says are running."""
    code = (
        "import sys; from hpi.distributed.ray_cluster import connected\n"
        "with connected(sys.argv[1]):\n"
        "    from ray import serve\n"
        "    (application,) = serve.status().applications.values()\n"
        "    print(application.deployments['service'].replica_states.get('RUNNING', 0))\n"
    )
    arguments = [sys.executable, "-c", code, address_of(command)]
    environment = os.environ | {"RAY_AUTH_MODE": "token"}
    asked = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment, timeout=HANGS_S)
    return int(asked.stdout.split()[-1])
