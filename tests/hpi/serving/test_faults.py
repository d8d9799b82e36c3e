"""Misbehaving clients and failing runtimes: the service answers what it can and keeps running."""

import base64
import json
import random
import re
import secrets
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from failing import ONE_BATCH, failing_service
from odd_requests import Request, ask
from support import EXAMPLE, HANGS_S, run_python, wait_until

IMAGE = EXAMPLE.read_bytes()
PNG = {"Content-Type": "image/png"}
READ_S = 4
"""How long the fragile service waits for a body: much longer than any stall of a body that is sent at once."""

FAILING = failing_service("hpi.serving.protocol.HEAD_S = 1")


def image_of_width(width):
    return cv2.imencode(".png", np.zeros((40, width, 3), np.uint8))[1].tobytes()


DEADLY, SLOW = image_of_width(33), image_of_width(34)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of the file that blocks the models, and of the file that shows that they are blocked."""
    return tmp_path_factory.mktemp("fragile")


@pytest.fixture(scope="module")
def fragile(start_service, folder):
    """A service that fails on one image, with a short timeout for slow bodies."""
    yml = folder / "pipeline.yaml"
    yml.write_text(
        (EXAMPLE.parent.parent / "configs/pipelines/human_keypoint_detection_lite.yaml").read_text()
        + f"\nServing: {{extra: {{read_s: {READ_S}, decode_s: {HANGS_S}, max_batch: 4, max_memory_mb: 160}}}}\n"
    )
    return start_service("--pipeline", str(yml), *ONE_BATCH, code=FAILING, TEST_FOLDER=str(folder))


@contextmanager
def busy(service, folder):
    """Keeps the models busy with an image; gives the future of its answer."""
    (folder / "held").touch()
    with ThreadPoolExecutor(1) as pool:
        try:
            answer = pool.submit(httpx.post, service.route, content=SLOW, headers=PNG, timeout=HANGS_S)
            wait_until((folder / "busy").exists, "the image is in the models")
            yield answer
        finally:
            (folder / "held").unlink()
            (folder / "busy").unlink(missing_ok=True)


@pytest.fixture
def alive(fragile):
    """After each test the service still answers."""
    yield
    assert httpx.post(fragile.route, content=IMAGE, headers=PNG, timeout=HANGS_S).status_code == 200
    assert fragile.process.poll() is None


def connect(service):
    host, port = urlsplit(service.url).netloc.split(":")
    return socket.create_connection((host, int(port)))


HEAD = b"POST /human-keypoint-detection HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


def test_clients_that_disconnect_during_an_upload(fragile, alive):
    for _ in range(20):
        with connect(fragile) as connection:
            connection.sendall(HEAD % len(IMAGE) + IMAGE[:1000])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset


def metric(service, name):
    """The current value of a metric; 0 if it does not exist yet."""
    found = re.search(rf"^{re.escape(name)} ([\d.]+)$", httpx.get(f"{service.url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.full
def test_clients_that_disconnect_leave_the_queue(fragile, folder, alive):
    gone = 'hpi_requests_total{code="499",route="/human-keypoint-detection"}'
    before, images = metric(fragile, gone), metric(fragile, "hpi_batch_size_sum")
    with busy(fragile, folder):
        for number in range(1, 21):
            with connect(fragile) as connection:
                connection.sendall(HEAD % len(IMAGE) + IMAGE)
                wait_until(lambda: metric(fragile, "hpi_queue_depth") == 1, "it waits for the models")
            wait_until(lambda number=number: metric(fragile, gone) == before + number, "it is cancelled")
        assert metric(fragile, "hpi_queue_depth") == 0
    assert metric(fragile, "hpi_batch_size_sum") == images + 1


@pytest.mark.full
def test_a_slow_request_and_those_behind_it_get_504(start_service, folder):
    hasty = start_service("--deadline", "1", *ONE_BATCH, code=FAILING, TEST_FOLDER=str(folder))
    with busy(hasty, folder) as first:
        second = httpx.post(hasty.route, content=IMAGE, headers=PNG, timeout=HANGS_S)
        for answer in (first.result(), second):
            assert (answer.status_code, "not done within 1 s" in answer.json()["errorMsg"]) == (504, True)
    # Then it answers again, as soon as the machine allows.
    post = lambda: httpx.post(hasty.route, content=IMAGE, headers=PNG, timeout=HANGS_S)  # noqa: E731
    wait_until(lambda: post().status_code == 200, "an answer in time")


def test_silent_connections_are_closed(fragile, alive):
    """Silent from the start, in the middle of a head, and after an answer."""
    silent, halfway, after = connect(fragile), connect(fragile), connect(fragile)
    halfway.sendall(b"POST /human-keypoint-detection HTTP/1.1\r\nHost: x\r\n")
    after.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while b"Healthy" not in answer:  # head and body may come one after the other
        answer += after.recv(4096)
    assert b"200 OK" in answer
    after.sendall(b"GET")
    for connection in (silent, halfway, after):
        connection.settimeout(HANGS_S)
        assert not connection.recv(4096)
        connection.close()


@pytest.mark.full
def test_a_slow_body_is_not_mistaken_for_silence(fragile, alive):
    """It takes longer than the timeout of a head."""
    _, image = cv2.imencode(".png", np.zeros((40, 35, 3), np.uint8))
    with connect(fragile) as connection:
        connection.sendall(HEAD % len(image))
        time.sleep(1.3)
        connection.sendall(image.tobytes())
        connection.settimeout(HANGS_S)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.full
def test_images_in_flight_share_a_memory_limit(fragile, folder, alive):
    """12 images of 9,000,000 pixels take 324 MB decoded; the limit is 160."""
    _, data = cv2.imencode(".png", np.zeros((3000, 3000, 3), np.uint8))
    with ThreadPoolExecutor(12) as pool, busy(fragile, folder):
        post = partial(httpx.post, fragile.route, content=data.tobytes(), headers=PNG, timeout=HANGS_S)
        submitted = [pool.submit(post) for _ in range(12)]
        refused = next(as_completed(submitted)).result()
    assert refused.status_code == 503
    assert "no memory is left" in refused.json()["errorMsg"]
    assert {one.result().status_code for one in submitted} == {200, 503}


@pytest.mark.full
def test_slow_bodies_get_408_while_others_are_served(fragile, alive):
    connections = [connect(fragile) for _ in range(80)]  # more than requests are admitted
    for connection in connections:
        connection.sendall(HEAD % len(IMAGE) + b"x")
    assert httpx.post(fragile.route, content=IMAGE, headers=PNG, timeout=HANGS_S).status_code == 200
    for connection in connections:
        connection.settimeout(HANGS_S)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
        connection.close()


def test_decompression_bombs_are_refused(fragile, alive):
    """40000 x 40000 pixels in a file of a few bytes, and a header of few pixels before a huge stream."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (40_000, 7_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        body = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)) + chunk(b"IEND", b"")
        answer = httpx.post(fragile.route, content=body, headers=PNG, timeout=HANGS_S)
        assert answer.status_code == 422, answer.text


def test_a_failing_runtime_is_a_500_for_its_image_only(fragile, alive):
    bodies = [IMAGE, DEADLY, IMAGE, IMAGE] * 3
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda body: httpx.post(fragile.route, content=body, headers=PNG, timeout=HANGS_S), bodies)
        )
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200] * 3
    failed = answers[1].json()
    assert (failed["errorCode"], failed["errorMsg"]) == (500, "Internal server error")
    assert "secret" not in answers[1].text
    log = fragile.log.read_text()
    assert failed["logId"] in log  # the reason is in the log, under the same number
    assert "the runtime failed at /secret/path" in log


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.full)])
def test_every_malformed_request_is_a_4xx(fragile, alive, count):
    seed = secrets.randbits(32)
    print(f"seed={seed}")
    before = fragile.log.read_text().count("Traceback")

    def send(share):
        chance = random.Random(seed + share)
        connection = HTTPConnection(urlsplit(fragile.url).netloc, timeout=HANGS_S)
        found = {}
        for _ in range(count // 4):
            kind, body, query = malformed(chance)
            connection.request("POST", f"/human-keypoint-detection{query}", body, {"Content-Type": kind})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            assert content["errorCode"] == answer.status
            assert content["errorMsg"]
            found.setdefault(answer.status, (kind, body[:100], query))
        return found

    with ThreadPoolExecutor(4) as pool:
        codes = {code: example for found in pool.map(send, range(4)) for code, example in found.items()}
    assert set(codes) <= {415, 422}, codes
    assert fragile.log.read_text().count("Traceback") == before


def malformed(chance):
    """A request with at least one error in content type, body or query."""
    image = cut_or_scrambled(chance)
    bad_json = [
        lambda: chance.randbytes(chance.randrange(200)),
        lambda: json.dumps({"image": chance.choice([None, 1, [], {}, True, "%%%", "ftp://x/y", "http://127.0.0.1/"])}),
        lambda: json.dumps({"photo": "x"}),
        lambda: json.dumps({"image": base64.b64encode(image).decode()}),
        lambda: json.dumps({"image": "AAAA", "detThreshold": chance.choice([-1, 2, "x", [], 1e308])}),
        lambda: json.dumps({"image": "AAAA", "visualize": chance.choice(["x", 7, []])}),
        lambda: json.dumps([1, 2])[: chance.randrange(6)],
        lambda: '{"image": "' + "A" * chance.randrange(1, 4) + '", "image": 3}',
    ]
    if chance.random() < 0.6:
        body = chance.choice(bad_json)()
        return "application/json", body if isinstance(body, bytes) else body.encode(), ""
    if chance.random() < 0.5:
        return chance.choice(["image/png", "image/jpeg", "application/octet-stream", "image/"]), image, ""
    if chance.random() < 0.5:
        return (
            "image/png",
            IMAGE,
            chance.choice(["?detThreshold=", "?detThreshold=2", "?visualize=x", "?detThreshold=%00"]),
        )
    return chance.choice(["text/html", "", "multipart/form-data", "a/b/c", "image"]), IMAGE, ""


def cut_or_scrambled(chance):
    """A damaged image file."""
    if chance.random() < 0.5:
        return IMAGE[: chance.randrange(2000)]
    return bytes(8) + chance.randbytes(chance.randrange(500))


# The keypoint model, answering NaN for crops of which SPOILED is true.
NOT_A_NUMBER = """
import numpy as np
from hpi.models.topdown import TopDown
build = TopDown.__init__
def spoil(estimator, spec, session, *others):
    build(estimator, spec, session, *others)
    run = session.run
    def spoiled(feeds):
        crops = feeds["image"] if feeds["image"].dtype == np.uint8 else feeds["image"].transpose(0, 2, 3, 1)[..., ::-1]
        blue, green, _ = (np.ptp(crops[..., channel].reshape(len(crops), -1), axis=1) for channel in range(3))
        heatmaps, *rest = run(feeds)
        heatmaps = np.array(heatmaps)
        heatmaps[SPOILED] = np.nan
        return [heatmaps, *rest]
    session.run = spoiled
TopDown.__init__ = spoil
from hpi.cli import main
main()
"""
WITHOUT_BLUE = NOT_A_NUMBER.replace("SPOILED", "(blue == 0) & (green > 0)")


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/human-keypoint-detection", "text/html", 415),
        ("/human-keypoint-detection/", "image/png", 307),
        ("/nothing", "image/png", 404),
        ("/health", "image/png", 405),
    ],
)
def test_refusals_arrive_before_the_connection_closes(fragile, alive, path, kind, status):
    """The body does not fit into the buffers of the connection; sending it to a closed one would reset it."""
    port = urlsplit(fragile.url).port
    for version in ("1.0", "1.1"):
        request = Request(bytes(8 << 20), kind, path=path, version=version)
        assert ask(port, request).status == status


def test_bodies_held_back_by_expect_are_not_awaited(fragile, alive):
    head, _ = Request(b"nine byte", "text/html", headers={"Expect": "100-continue"}).bytes()
    with connect(fragile) as connection:
        connection.sendall(head)
        connection.settimeout(10)
        assert connection.recv(4096).startswith(b"HTTP/1.1 415")


@pytest.mark.full
def test_a_model_that_always_returns_nan_is_not_served(tmp_path):
    for workers in ("1", "2"):
        arguments = ("serve", "--device", "cpu", "--backend", "onnxruntime", "--workers", workers, "--port", "65003")
        done = run_python("-c", NOT_A_NUMBER.replace("SPOILED", "..."), *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "returns NaN or infinity" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.full
def test_nan_is_a_500_for_its_image_only(start_service, tmp_path):
    """The other images are in the same batch."""
    yml = tmp_path / "pipeline.yaml"
    yml.write_text(
        (EXAMPLE.parent.parent / "configs/pipelines/human_keypoint_detection_lite.yaml").read_text()
        + "\nServing: {extra: {max_batch: 4, max_wait_ms: 60000}}\n"
    )
    service = start_service("--pipeline", str(yml), "--backend", "onnxruntime", *ONE_BATCH, code=WITHOUT_BLUE)
    image = cv2.imread(str(EXAMPLE))
    image[..., 0] = 0
    bad = cv2.imencode(".png", image)[1].tobytes()
    with ThreadPoolExecutor(4) as pool:
        post = lambda body: httpx.post(service.route, content=body, headers=PNG, timeout=HANGS_S)  # noqa: E731
        answers = list(pool.map(post, [IMAGE, bad, IMAGE, IMAGE]))
    assert metric(service, "hpi_batch_size_sum") == 4
    assert metric(service, "hpi_batch_size_count") == 1
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    failed = answers[1].json()
    assert (failed["errorCode"], failed["errorMsg"]) == (500, "Internal server error")
    assert failed["logId"] in service.log.read_text()
    people = answers[0].json()["result"]["persons"]
    assert len(people) == 2
    assert all(answer.json()["result"]["persons"] == people for answer in answers[2:])
