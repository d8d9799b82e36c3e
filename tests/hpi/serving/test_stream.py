"""Frames over a WebSocket: a real process, real sockets, clients that misbehave."""

import base64
import contextlib
import json
import os
import re
import secrets
import signal
import socket
import time
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from hpi.instances import Instances
from hpi.tracking.base import UNTRACKED
from hpi.tracking.smoothing import Smoother

from failing import ONE_BATCH, failing_service
from support import EXAMPLE, HANGS_S, assert_same_people, quick_first, wait_until

pytest.importorskip("fastapi")
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

IMAGE = EXAMPLE.read_bytes()

FRAGILE = failing_service(
    "hpi.serving.stream.SEND_S = hpi.serving.protocol.CLOSE_S = hpi.serving.protocol.HEAD_S = 0.5"
)
LIMITS = "{max_streams: 3, max_frame_mb: 1, max_pixels: 1000000, max_memory_mb: 4, idle_s: 3}"


def frame(opcode, payload):
    """A frame of the protocol, masked with zeros."""
    size = len(payload)
    length = bytes([128 | size]) if size < 126 else bytes([254]) + size.to_bytes(2, "big")
    return bytes([128 | opcode]) + length + bytes(4) + payload


def png(width, height=40):
    return cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()


SMALL, DEADLY, SLOW = png(32), png(33), png(34)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fragile")


@pytest.fixture(scope="module")
def fragile(start_service, folder):
    """A service with narrow limits."""
    yml = folder / "pipeline.yaml"
    lite = (EXAMPLE.parent.parent / "configs/pipelines/human_keypoint_detection_lite.yaml").read_text()
    yml.write_text(f"{lite}\nServing: {{extra: {LIMITS}}}\n")
    return start_service("--pipeline", str(yml), *ONE_BATCH, code=FRAGILE, TEST_FOLDER=str(folder))


@contextlib.contextmanager
def stream(service, **options):
    """A WebSocket; ``ask`` sends a message and takes the next answer."""
    with connect(url_of(service), max_size=None, open_timeout=HANGS_S, **options) as opened:
        opened.ask = lambda message: opened.send(message) or answer_of(opened)
        yield opened


def url_of(service):
    return service.url.replace("http", "ws", 1) + "/stream"


def answer_of(opened):
    return json.loads(opened.recv(timeout=HANGS_S))


def as_result(answer):
    """An answer with the field names of an offline result."""
    names = {"coordinate": "bbox", "keypoints": "kpts", "det_score": "detScore", "kpt_score": "kptScore"}
    return {"boxes": [{ours: person[theirs] for ours, theirs in names.items()} for person in answer["persons"]]}


def metric(service, name):
    found = re.search(rf"^{re.escape(name)} ([\d.e+]+)$", httpx.get(f"{service.url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture
def busy(fragile, folder):
    """Keeps the models of the fragile service busy with an image."""
    (folder / "held").touch()
    try:
        with stream(fragile) as opened:
            opened.send(SLOW)
            wait_until((folder / "busy").exists, "the image is in the models")
            yield opened
    finally:
        (folder / "held").unlink(missing_ok=True)
        (folder / "busy").unlink(missing_ok=True)


@pytest.fixture
def alive(fragile):
    """After each test everybody has left, and the service still answers."""
    yield
    for gauge in ("hpi_streams_open", "hpi_streams_followed"):
        wait_until(lambda gauge=gauge: metric(fragile, gauge) == 0, f"{gauge} is 0")
    with stream(fragile) as opened:
        assert opened.ask(SMALL)["errorCode"] == 0


def test_each_frame_is_answered_with_the_offline_people(service, lite, image, rng):
    images = [np.roll(image, int(shift), axis=1) for shift in rng.integers(0, 640, 2)]
    with stream(service) as opened:
        opened.send(json.dumps({"tracker": None}))
        answers = [opened.ask(cv2.imencode(".png", one)[1].tobytes()) for one in images]
    assert_same_people(list(map(as_result, answers)), list(lite.predict(images)))
    assert [answer["frame"] for answer in answers] == [0, 1]
    assert {person["trackId"] for answer in answers for person in answer["persons"]} == {None}
    first, second = answers
    assert set(first) == {"frame", "time", "dropped", "milliseconds", "persons", "errorCode"}
    assert 0 <= first["time"] < second["time"]
    assert {"decode", "queue", "infer", "total"} == set(first["milliseconds"])
    assert sum(first["milliseconds"].values()) <= 2 * first["milliseconds"]["total"]


def test_the_newest_frame_wins(service):
    before = metric(service, "hpi_stream_dropped_total")
    with stream(service) as opened:
        for _ in range(12):
            opened.send(IMAGE)
        answers = []
        while not answers or answers[-1]["frame"] < 11:
            answers.append(answer_of(opened))
    assert answers[-1]["dropped"] == 12 - len(answers) > 0
    assert metric(service, "hpi_stream_dropped_total") == before + answers[-1]["dropped"]


def test_streams_share_batches_and_are_not_mixed_up(fragile, alive, busy, folder, image, lite):
    """Two that wait for the models go through them together."""
    images = [image, image[:, ::-1]]
    batches, images_seen = (metric(fragile, f"hpi_batch_size_{what}") for what in ("count", "sum"))
    with stream(fragile) as one, stream(fragile) as other:
        for opened, content in zip((one, other), images, strict=True):
            opened.send(json.dumps({"tracker": None}))
            opened.send(cv2.imencode(".png", content)[1].tobytes())
        wait_until(lambda: metric(fragile, "hpi_queue_depth") == 2, "both wait for the models")
        (folder / "held").unlink()
        answers = [answer_of(opened) for opened in (one, other)]
    assert_same_people(list(map(as_result, answers)), list(lite.predict(images)))
    assert metric(fragile, "hpi_batch_size_sum") == images_seen + 2
    assert metric(fragile, "hpi_batch_size_count") == batches + 1


def shifted(image, pixels):
    """The image as a file, moved to the right."""
    return cv2.imencode(".png", np.roll(image, pixels, axis=1))[1].tobytes()


@pytest.mark.full
@pytest.mark.parametrize("tracker", quick_first([{}, {"tracker": "ocsort"}, {"tracker": "oks"}, {"detEvery": 3}]))
def test_people_keep_their_ids_when_another_comes(service, image, tracker):
    """The right player comes into the picture when the left one has been there for some frames."""
    alone = image.copy()
    alone[:, 320:] = 0
    ids = []
    with stream(service) as opened:
        opened.send(json.dumps({"detThreshold": 0.5, **tracker}))
        for number in range(12):
            opened.send(json.dumps({"time": number / 25}))
            answer = opened.ask(shifted(alone if number < 6 else image, 2 * number))
            ids.append([person["trackId"] for person in sorted(answer["persons"], key=lambda one: one["bbox"])])
    left, right = ids[-1]
    assert None not in (left, right)
    assert left != right
    assert ids[3:6] == [[left]] * 3
    assert [found[0] for found in ids[6:]] == [left] * 6


@pytest.mark.full
def test_each_stream_has_its_own_ids(service):
    with stream(service) as one, stream(service) as other:
        for _ in range(4):
            answers = [opened.ask(IMAGE) for opened in (one, other)]
    ids = [{person["trackId"] for person in answer["persons"]} for answer in answers]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


@pytest.mark.full
def test_smoothed_keypoints_are_told_beside_those_that_were_found(service, image, lite):
    smoother = Smoother("oneeuro", lowest_score=lite.pipelines[0].skeleton.visible_above)
    with stream(service) as opened:
        opened.send(json.dumps({"smooth": "oneeuro"}))
        for number in range(6):
            opened.send(json.dumps({"time": number / 25}))
            answer = opened.ask(shifted(image, number % 2))
            expected = smoother.update(as_instances(answer), answer["time"]).points
    found, smoothed = (np.array([person[name] for person in answer["persons"]]) for name in ("kpts", "kptsSmoothed"))
    assert np.abs(smoothed - expected).max() < 1e-3
    assert (np.abs(smoothed - found)[..., :2].max(axis=(1, 2)) > 0.1).all()


def as_instances(answer):
    """The people of an answer."""
    persons = answer["persons"]
    points = np.array([person["kpts"] for person in persons])
    return Instances(
        [person["detScore"] for person in persons],
        boxes=[person["bbox"] for person in persons],
        keypoints=points[..., :2],
        keypoint_scores=points[..., 2],
        track_ids=[UNTRACKED if person["trackId"] is None else person["trackId"] for person in persons],
    )


def test_options_hold_for_the_stream_and_times_for_a_frame(service):
    counts = []
    for threshold in (0.17, 0.5, 0.999):
        with stream(service) as opened:
            opened.send(json.dumps({"detThreshold": threshold, "time": 1000.5}))
            answer = opened.ask(IMAGE)
            counts.append(len(answer["persons"]))
            assert answer["time"] == 1000.5
            opened.send(json.dumps({"time": 1000.5}))
            assert "after that of the last frame, 1000.5 s" in opened.ask(IMAGE)["errorMsg"]
            assert "before the first frame" in opened.ask(json.dumps({"tracker": None}))["errorMsg"]
    assert counts[0] > counts[1] == 2 > counts[2] == 0


@pytest.mark.parametrize(
    ("message", "fragment"),
    [
        ("{", "json_invalid"),
        ("[" * 1000, "json_invalid"),
        ("[]", "message"),
        (json.dumps({"detThreshold": 2}), "message.detThreshold"),
        (json.dumps({"detThreshold": True}), "message.detThreshold"),
        (json.dumps({"detthreshold": 0.5}), "did you mean 'detThreshold'?"),
        (json.dumps({"time": -1}), "message.time"),
        (json.dumps({"tracker": "sort"}), "give bytetrack, ocsort, oks"),
        (json.dumps({"detEvery": 0}), "message.detEvery"),
        (json.dumps({"detEvery": "often"}), "message.detEvery"),
        (json.dumps({"smooth": "much"}), "none of oneeuro, ema"),
        (json.dumps({"smooth": "ema", "tracker": None}), "people who are followed"),
        ('{"time": NaN}', "message"),
        ("x" * 2000, "at most 1024 characters"),
        (b"", "empty"),
        (b"not an image", "not an image"),
        (IMAGE[:3000], "damaged or truncated"),
        (png(2000, 1000), "2000x1000 pixels"),
    ],
)
def test_a_bad_message_is_told_why_and_the_stream_goes_on(fragile, message, fragment):
    with stream(fragile) as opened:
        answer = opened.ask(message)
        assert (answer["errorCode"], fragment in answer["errorMsg"]) == (422, True), answer
        assert answer["frame"] == (0 if isinstance(message, bytes) else None)
        assert answer["logId"]
        assert opened.ask(SMALL)["errorCode"] == 0


def test_no_message_ends_the_service(fragile, alive):
    seed = secrets.randbits(32)
    print(f"{seed=}")
    rng = np.random.default_rng(seed)
    with stream(fragile) as opened:
        for _ in range(200):
            start, end = sorted(rng.integers(0, 5000, 2))
            content = bytearray(IMAGE[start:end] if rng.random() < 0.5 else rng.bytes(end - start))
            message = bytes(content) if rng.random() < 0.7 else content.decode("latin-1")
            assert opened.ask(message)["errorCode"] in {413, 422}


def test_a_failing_runtime_is_a_500_for_its_frame_only(fragile, alive):
    with stream(fragile) as opened:
        failed = opened.ask(DEADLY)
        assert (failed["errorCode"], failed["errorMsg"], failed["frame"]) == (500, "Internal server error", 0)
        assert opened.ask(SMALL)["errorCode"] == 0
    assert failed["logId"] in fragile.log.read_text()


def test_frames_share_the_memory_limit(fragile, alive, busy, folder):
    """A million pixels take 3 MB, of the limit of 4."""
    with stream(fragile) as one, stream(fragile) as other:
        for opened in (one, other):
            opened.send(png(1000, 1000))
        answer = answer_of(other)
        assert (answer["errorCode"], "no memory is left" in answer["errorMsg"]) == (503, True)
        (folder / "held").unlink()
        assert answer_of(one)["errorCode"] == 0
        assert other.ask(png(1000, 1000))["errorCode"] == 0


def test_too_many_streams_are_refused(fragile, alive, busy):
    with stream(fragile), stream(fragile):
        with pytest.raises(InvalidStatus) as refused, stream(fragile):
            pass
        assert refused.value.response.status_code == 503
        answer = json.loads(refused.value.response.body)
        assert answer["errorMsg"] == "busy: 3 streams are open; try again"
        assert refused.value.response.headers["Retry-After"] == "1"
        assert httpx.get(f"{fragile.url}/stream").json()["errorMsg"] == answer["errorMsg"]
        assert httpx.get(f"{fragile.url}/ready").status_code == 200


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x82\xff" + ((1 << 20) + 1).to_bytes(8, "big") + bytes(4), b"exceeds limit"),
        (b"\x02\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * 1000, b"more than 1000 pieces"),
    ],
)
def test_a_message_that_is_too_large_closes_the_stream(fragile, alive, message, reason):
    """Too many bytes, of which the head tells; or too many empty pieces."""
    with opened_by_hand(fragile) as connection:
        connection.sendall(message)
        answer = connection.recv(4096)
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == 1009
    assert reason in answer


@pytest.mark.full
def test_a_silent_stream_is_closed(fragile, alive):
    """But not as early as a connection that sends no request."""
    with stream(fragile) as opened, pytest.raises(ConnectionClosed) as closed:
        answer_of(opened)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "no message within 3 s")


def test_a_client_that_leaves_takes_its_frame_along(fragile, alive, busy, folder):
    images_seen = metric(fragile, "hpi_batch_size_sum")
    with stream(fragile) as opened:
        opened.send(SMALL)
        wait_until(lambda: metric(fragile, "hpi_queue_depth") == 1, "it waits for the models")
    wait_until(lambda: metric(fragile, "hpi_queue_depth") == 0, "it has left the queue")
    with opened_by_hand(fragile) as half:
        half.sendall(frame(2, SMALL)[:-1])
    busy.close()
    (folder / "held").unlink()
    wait_until(lambda: metric(fragile, "hpi_streams_open") == 0, "all have left")
    assert metric(fragile, "hpi_batch_size_sum") == images_seen


@pytest.mark.full
@pytest.mark.full
def test_no_stream_is_remembered_after_its_end(fragile, alive):
    """Clients leave at any moment: while a frame arrives, is decoded, waits, or is in the models."""
    seed = secrets.randbits(32)
    print(f"{seed=}")
    rng = np.random.default_rng(seed)
    for delay in rng.uniform(0, 0.2, 60):
        with stream(fragile) as opened:
            opened.send(IMAGE)
            time.sleep(delay)
            opened.send(SMALL)


@pytest.mark.full
@pytest.mark.parametrize("message", [frame(1, b"{"), b""], ids=["asks", "is idle"])
def test_a_client_that_does_not_read_is_cut_off(fragile, alive, message):
    """Nor do its pings fill the memory with their answers."""
    with opened_by_hand(fragile) as deaf:
        pings = frame(9, bytes(125)) * 1000
        for _ in range(100):
            deaf.sendall(pings)
        deaf.sendall(message)
        wait_until(lambda: metric(fragile, "hpi_streams_open") == 0, "it has been given up")
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := deaf.recv(1 << 20):
                received += len(chunk)
    assert received < 100 * len(pings)


def opened_by_hand(service):
    """The socket of a WebSocket that nobody reads."""
    host, port = urlsplit(service.url).netloc.split(":")
    connection = socket.create_connection((host, int(port)), timeout=HANGS_S)
    head = ["GET /stream HTTP/1.1", f"Host: {host}:{port}", "Connection: Upgrade", "Upgrade: websocket"]
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [*head, "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 101")
    return connection


# Who may open one


@pytest.fixture(scope="module")
def secured(start_service):
    return start_service("--cors", "https://page.example", HPI_TOKEN="s3cret/?")


def subprotocols(token):
    return ["hpi", "hpi.bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")]


@pytest.mark.parametrize(
    "options",
    [{"additional_headers": {"Authorization": "Bearer s3cret/?"}}, {"subprotocols": subprotocols("s3cret/?")}],
)
def test_the_token_is_sent_as_a_header_or_as_a_subprotocol(secured, options):
    with stream(secured, **options) as opened:
        assert opened.subprotocol == ("hpi" if "subprotocols" in options else None)
        assert opened.ask(SMALL)["errorCode"] == 0
    assert "s3cret" not in secured.log.read_text()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"additional_headers": {"Authorization": "Bearer wrong"}},
        {"subprotocols": subprotocols("wrong")},
        {"subprotocols": subprotocols("")},
        {"subprotocols": ["hpi"]},
    ],
)
def test_nobody_gets_in_without_the_token(secured, options):
    with pytest.raises(InvalidStatus) as refused, stream(secured, **options):
        pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["errorCode"] == 401


def test_a_request_that_is_no_websocket_is_told_what_one_would_be(secured):
    headers = {"Authorization": "Bearer s3cret/?"}
    assert httpx.get(f"{secured.url}/stream").status_code == 401
    answer = httpx.get(f"{secured.url}/stream", headers=headers)
    assert (answer.status_code, answer.json()["errorCode"], answer.headers["upgrade"]) == (426, 426, "websocket")
    assert httpx.get(f"{secured.url}/stream", headers={**headers, "Origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["https://page.example", "{own}"])
def test_pages_of_the_service_and_of_allowed_origins_may_open_one(secured, origin):
    origin = origin.format(own=secured.url)
    with stream(secured, origin=origin, subprotocols=subprotocols("s3cret/?")) as opened:
        assert opened.ask(SMALL)["errorCode"] == 0


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://page.example.org", "http://page.example", "null", "http://127.0.0.1", "{"],
)
def test_other_pages_may_not(secured, origin):
    with pytest.raises(InvalidStatus) as refused, stream(secured, origin=origin, subprotocols=subprotocols("s3cret/?")):
        pass
    assert refused.value.response.status_code == 403


# The last test, since it stops the service


def test_the_frame_in_hand_is_answered_before_the_service_stops(fragile, busy, folder):
    fragile.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "Shutting down" in fragile.log.read_text(), "it has taken notice")
    (folder / "held").unlink()
    answer = answer_of(busy)
    assert (answer["frame"], answer["errorCode"]) == (0, 0)
    with pytest.raises(ConnectionClosed) as closed:
        answer_of(busy)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "the service stops")
    assert fragile.process.wait(HANGS_S) in {0, -signal.SIGTERM}
    assert "Traceback" not in fragile.log.read_text().partition("Shutting down")[2]
