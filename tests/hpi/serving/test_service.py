"""The HTTP service: a real process, real sockets."""

import base64
import contextlib
import json
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import httpx
import numpy as np
import pytest

from hpi.backends.cpu import default_threads
from hpi.compat.paddlex.config import read_pipeline
from hpi.errors import ConfigError
from hpi.serving.settings import read_settings

from support import EXAMPLE, HANGS_S, assert_same_people, quick_first, run_hpi, wait_until

IMAGE = EXAMPLE.read_bytes()
PNG = {"Content-Type": "image/png"}


def as_json(data, **fields):
    return {"image": base64.b64encode(data).decode(), **fields}


def keypoints(answer):
    return np.array([person["kpts"] for person in answer["result"]["persons"]])


def as_result(people):
    """The people of an answer, with the field names of an offline result."""
    names = {"coordinate": "bbox", "keypoints": "kpts", "det_score": "detScore", "kpt_score": "kptScore"}
    return {"boxes": [{ours: person[theirs] for ours, theirs in names.items()} for person in people]}


@pytest.fixture(scope="module")
def expected(lite, image):
    """What the pipeline finds offline."""
    (result,) = lite.predict(image)
    return result["boxes"]


def test_the_answer_has_paddlexs_fields_and_the_offline_people(post, expected):
    answer = post(json=as_json(IMAGE))
    assert answer.status_code == 200
    content = answer.json()
    assert set(content) == {"logId", "errorCode", "errorMsg", "result"}
    assert (content["errorCode"], content["errorMsg"]) == (0, "Success")
    assert set(content["result"]) == {"persons", "image"}
    people = content["result"]["persons"]
    assert all(set(person) == {"bbox", "kpts", "detScore", "kptScore"} for person in people)
    assert_same_people([as_result(people)], [{"boxes": expected}])


def test_the_picture_is_a_jpeg_with_people_drawn_on_it(post, image):
    content = post(json=as_json(IMAGE, visualize=True)).json()
    data = base64.b64decode(content["result"]["image"])
    assert data.startswith(b"\xff\xd8")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == image.shape
    assert np.abs(picture.astype(int) - image).max() > 100
    assert "image" not in post(json=as_json(IMAGE, visualize=False)).json()["result"]


def test_the_body_can_be_an_image_file(post):
    answer = post(content=IMAGE, headers=PNG)
    assert "image" not in answer.json()["result"]
    assert np.array_equal(keypoints(answer.json()), keypoints(post(json=as_json(IMAGE, visualize=False)).json()))
    assert "image" in post(content=IMAGE, headers=PNG, params={"visualize": "true"}).json()["result"]
    stages = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"]))
    assert set(stages) == {"decode", "queue", "infer", "encode"}
    assert all(float(milliseconds) >= 0 for milliseconds in stages.values())


@pytest.mark.full
def test_each_request_has_its_own_threshold(post):
    """Also within one batch."""
    thresholds = [0.17, 0.5, 0.999] * 2

    def count(threshold):
        answer = post(content=IMAGE, headers=PNG, params={"detThreshold": threshold})
        return len(answer.json()["result"]["persons"])

    with ThreadPoolExecutor(12) as pool:
        counts = list(pool.map(count, thresholds))
    assert counts[:3] == [count(threshold) for threshold in thresholds[:3]]
    assert counts == counts[:3] * 2
    assert counts[0] > counts[1] == 2 > counts[2] == 0


def test_concurrent_requests_are_batched_and_not_mixed_up(client, post, lite, image, rng):
    images = [np.roll(image, int(shift), axis=1) for shift in rng.integers(0, 640, 8)]
    bodies = [cv2.imencode(".png", one)[1].tobytes() for one in images]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: post(content=body, headers=PNG).json(), bodies))
    assert_same_people([as_result(answer["result"]["persons"]) for answer in answers], list(lite.predict(images)))
    figures = client.get("/metrics").text
    batches, total = (float(re.search(rf"hpi_batch_size_{what} ([\d.]+)", figures)[1]) for what in ("count", "sum"))
    assert total / batches > 1


@pytest.mark.parametrize(
    ("arguments", "status", "fragment"),
    [
        ({"json": {}}, 422, "body.image"),
        ({"json": {"image": 5}}, 422, "body.image"),
        ({"json": as_json(IMAGE, detThreshold=2)}, 422, "body.detThreshold"),
        ({"json": as_json(IMAGE, detThreshold="high")}, 422, "body.detThreshold"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "body"),
        ({"content": b"[" * 100000, "headers": {"Content-Type": "application/json"}}, 422, "body"),
        ({"content": b'{"image": "\xff"}', "headers": {"Content-Type": "application/json"}}, 422, "body"),
        ({"json": {"image": "not base64"}}, 422, "neither a URL nor base64"),
        ({"json": {"image": ""}}, 422, "empty"),
        ({"json": as_json(b"not an image")}, 422, "the image: not an image"),
        ({"json": as_json(IMAGE[:3000])}, 422, "damaged or truncated"),
        ({"json": {"image": "http://127.0.0.1/people.jpg"}}, 422, "fetches no URLs"),
        ({"json": {"image": "file:///etc/passwd"}}, 422, "only http and https"),
        ({"content": b"", "headers": PNG}, 422, "empty"),
        ({"content": IMAGE, "headers": PNG, "params": {"detThreshold": "nan"}}, 422, "query.detThreshold"),
        ({"content": IMAGE, "headers": PNG, "params": {"visualize": "perhaps"}}, 422, "query.visualize"),
        ({"content": b"hello", "headers": {"Content-Type": "text/plain"}}, 415, "text/plain"),
        ({"data": {"image": "x"}}, 415, "x-www-form-urlencoded"),
    ],
)
def test_bad_requests_are_a_4xx_that_says_why(post, client, arguments, status, fragment):
    answer = post(**arguments)
    content = answer.json()
    assert (answer.status_code, content["errorCode"]) == (status, status)
    assert fragment in content["errorMsg"]
    assert content["logId"]
    assert "result" not in content
    assert not re.search(r"Traceback|/work|/tmp|site-packages", answer.text)


def test_unknown_routes_and_methods_are_4xx(client, service):
    assert client.get("/nothing").json()["errorCode"] == 404
    assert client.get(service.route).json()["errorCode"] == 405
    assert client.get("/page/../settings.py").status_code == 404
    assert client.get("/page/%2e%2e/settings.py").status_code == 404


def test_health_ready_metrics_info_and_openapi(client):
    health = client.get("/health").json()
    assert (health["errorCode"], health["errorMsg"]) == (0, "Healthy")
    assert client.get("/ready").status_code == 200
    figures = client.get("/metrics").text
    for name in ("hpi_requests_total", "hpi_queue_depth", "hpi_batch_size", "hpi_stage_seconds", "hpi_requests_inside"):
        assert name in figures
    info = client.get("/info").json()
    assert [model["task"] for model in info["models"]] == ["object_detection", "keypoint_detection"]
    if default_threads() > 1:  # batches can run side by side from the start
        assert {model["workers"] for model in info["sideBySide"]} == {default_threads()}
    assert (len(info["skeleton"]["keypoints"]), info["detThreshold"], info["tracker"]) == (17, 0.5, "oks")
    assert '"/' not in json.dumps(info)  # no paths of the server
    content = client.get("/openapi.json").json()["paths"]["/human-keypoint-detection"]["post"]
    assert {"application/json", "image/jpeg"} <= set(content["requestBody"]["content"])
    assert content["requestBody"]["content"]["application/json"]["examples"]
    assert {"200", "413", "422", "503"} <= set(content["responses"])


def test_too_large_images_are_refused_undecoded(post):
    """A small file with many pixels: 60,000,000 would take 180 MB."""
    _, data = cv2.imencode(".png", np.zeros((6000, 10000), np.uint8))
    assert len(data) < 100_000
    answer = post(content=data.tobytes(), headers=PNG)
    assert (answer.status_code, "10000x6000 pixels" in answer.json()["errorMsg"]) == (422, True)


# Limits that need settings of their own


def test_clients_need_the_token(strict):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \xe9".encode("latin-1")}):
        answer = httpx.post(strict.route, content=IMAGE, headers={**PNG, **headers})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert httpx.get(f"{strict.url}/metrics").status_code == 401
    assert httpx.get(f"{strict.url}/health").status_code == 200
    answer = httpx.post(strict.route, content=IMAGE, headers={**PNG, "Authorization": "Bearer secret"})
    assert answer.status_code == 200


def test_bodies_are_bounded_with_and_without_length(strict):
    headers = {**PNG, "Authorization": "Bearer secret"}
    large = bytes(1 << 21)
    assert httpx.post(strict.route, content=large, headers=headers).status_code == 413
    chunks = (large[: 1 << 16] for _ in range(32))
    # The connection may be closed while the rest is still being sent.
    with httpx.Client() as client, contextlib.suppress(httpx.WriteError):
        assert client.post(strict.route, content=chunks, headers=headers).status_code == 413


@pytest.mark.full
def test_too_many_requests_get_503_with_retry_after(strict):
    headers = {**PNG, "Authorization": "Bearer secret"}
    with ThreadPoolExecutor(24) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(strict.route, content=IMAGE, headers=headers, timeout=HANGS_S), range(48))
        )
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "try again" in refused.json()["errorMsg"]


def test_the_log_is_one_json_object_per_line(strict):
    answer = httpx.get(f"{strict.url}/health").json()
    wait_until(lambda: answer["logId"] in strict.log.read_text(), "the line of the log")
    lines = [json.loads(line) for line in strict.log.read_text().splitlines()]
    (mine,) = [line for line in lines if line.get("logId") == answer["logId"]]
    assert (mine["method"], mine["path"], mine["status"]) == ("GET", "/health", 200)
    assert "secret" not in strict.log.read_text()


@pytest.mark.full
def test_sigterm_finishes_accepted_requests(start_service, lite, image):
    service = start_service()
    answers, refused = [], []

    def ask():
        with httpx.Client(timeout=HANGS_S) as client:
            while True:
                try:
                    answers.append(client.post(service.route, content=IMAGE, headers=PNG))
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
                    refused.append(error)
                    return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) >= 16, "answers")
    service.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(HANGS_S)
    assert service.process.wait(HANGS_S) in {0, -signal.SIGTERM}
    assert {answer.status_code for answer in answers} == {200}
    log = service.log.read_text()
    assert len(re.findall(r"POST /human-keypoint-detection 200", log)) == len(answers)  # none was done in vain
    assert "Traceback" not in log


@pytest.mark.full
def test_several_workers_share_the_port(start_service):
    service = start_service("--workers", "2")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(service.route, content=IMAGE, headers=PNG, timeout=HANGS_S), range(8))
        )
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.full
def test_the_service_ends_if_workers_cannot_start(tmp_path, free_port):
    arguments = ("serve", "--workers", "2", "--port", str(free_port), "--device", "npu:0")
    done = run_hpi(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert "not built for npu" in done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "fragment"),
    quick_first(
        [
            (("--serve", "--pipeline", "nothing"), "unknown pipeline"),
            (("--serve", "--hpi_config", "{'backend': 'tflite'}"), "unknown backend 'tflite'"),
            (("--serve", "--engine", "tflite"), "unknown backend 'tflite'"),
            (("--serve", "--det_threshold", "0.5"), "takes no"),
            (("serve", "--max_batch", "0"), "max_batch"),
        ],
        1,
    ),
)
def test_wrong_usage_ends_before_the_port_is_bound(tmp_path, arguments, fragment):
    done = run_hpi(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert fragment in done.stderr


# Settings


def test_the_command_line_outranks_the_yaml():
    assert read_pipeline("human_keypoint_detection_lite").Serving is None
    assert read_settings(None, {"max_batch": None}).max_batch == 8
    section = {"visualize": False, "extra": {"max_batch": 4, "deadline_s": 5}}
    settings = read_settings(section, {"max_batch": 2, "token": None})
    assert (settings.visualize, settings.max_batch, settings.deadline_s) == (False, 2, 5)


@pytest.mark.parametrize(
    ("section", "fragment"),
    [
        ({"visualise": True}, "did you mean 'visualize'"),
        ({"extra": {"max_batches": 2}}, "did you mean 'max_batch'"),
        ({"extra": {"max_batch": 0}}, "max_batch"),
    ],
)
def test_wrong_settings_name_the_field(section, fragment):
    with pytest.raises(ConfigError, match=re.escape(fragment)):
        read_settings(section, {})
