"""Pages of other origins: preflight requests, and CORS headers on every answer, also on errors."""

import cv2
import httpx
import numpy as np
import pytest

from hpi.errors import ConfigError
from hpi.serving.settings import read_settings

from odd_requests import JPEG, PNG
from support import wait_until

PAGE = "https://page.example"
IMAGE = {"Content-Type": "image/jpeg", "Authorization": "Bearer secret"}

# The pipeline, failing on images 33 pixels wide.
FAILING = """
from hpi.pipelines.topdown import TopDownPipeline
predict = TopDownPipeline.run
def failing(pipeline, frames, **options):
    if any(frame.image.shape[1] == 33 for frame in frames):
        raise RuntimeError("the runtime failed")
    return predict(pipeline, frames, **options)
TopDownPipeline.run = failing
from hpi.cli import main
main()
"""


@pytest.fixture(scope="module")
def open_service(start_service):
    """A service for the pages of two origins, with a token."""
    origins = ("--cors", PAGE, "--cors", "http://localhost:3000")
    return start_service(*origins, "--max_body_mb", "1", code=FAILING, HPI_TOKEN="secret")


def preflight(origin, method="POST", headers="authorization,content-type"):
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_allowed_origins_pass_the_preflight(open_service, origin):
    """A preflight has no token."""
    answer = httpx.options(
        open_service.route, headers=preflight(origin, headers="authorization,content-encoding,content-type")
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    answer = httpx.post(open_service.route, content=JPEG, headers={**IMAGE, "Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]
    assert "Server-Timing" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://other.example", "https://page.example.org", "null", "http://page.example"])
def test_other_origins_do_not(open_service, origin):
    preflighted = httpx.options(open_service.route, headers=preflight(origin))
    assert preflighted.status_code == 400
    for answer in (preflighted, httpx.get(f"{open_service.url}/health", headers={"Origin": origin})):
        assert "access-control-allow-origin" not in answer.headers


def test_pages_can_read_errors_too(open_service):
    deadly = cv2.imencode(".png", np.zeros((40, 33, 3), np.uint8))[1].tobytes()
    html = {**IMAGE, "Content-Type": "text/html"}
    answers = {
        401: httpx.post(open_service.route, content=JPEG, headers={"Origin": PAGE}),
        404: httpx.get(f"{open_service.url}/nothing", headers={"Origin": PAGE}),
        405: httpx.get(open_service.route, headers={"Origin": PAGE}),
        413: httpx.post(open_service.route, content=bytes(2 << 20), headers={**IMAGE, "Origin": PAGE}),
        415: httpx.post(open_service.route, content=b"x", headers={**html, "Origin": PAGE}),
        422: httpx.post(open_service.route, content=b"x", headers={**IMAGE, "Origin": PAGE}),
        500: httpx.post(open_service.route, content=deadly, headers={**IMAGE, "Origin": PAGE}),
    }
    for status, answer in answers.items():
        assert (answer.status_code, answer.json()["errorCode"]) == (status, status)
        assert answer.headers["access-control-allow-origin"] == PAGE


def test_preflights_are_logged_like_other_requests(open_service):
    before = len(open_service.log.read_text())
    httpx.options(open_service.route, headers=preflight(PAGE))
    line = "OPTIONS /human-keypoint-detection 200"
    wait_until(lambda: line in open_service.log.read_text()[before:], "it is in the log")


def test_by_default_there_are_no_cors_headers(service):
    assert httpx.options(service.route, headers=preflight(PAGE)).status_code == 405
    answer = httpx.post(service.route, content=PNG, headers={"Content-Type": "image/png", "Origin": PAGE})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_origins_of_the_yaml_and_of_the_command_line():
    section = {"extra": {"cors_origins": ["HTTPS://Page.Example", "*"]}}
    assert read_settings(section, {"cors_origins": None}).cors_origins == (PAGE, "*")
    assert read_settings(section, {"cors_origins": ["http://[::1]:80"]}).cors_origins == ("http://[::1]:80",)
    assert read_settings(None, {}).cors_origins == ()


@pytest.mark.parametrize(
    "origin",
    ["page.example", "https://page.example/", "https://page.example/a", "https://", "null", "", "https://a b", "**"],
)
def test_a_malformed_origin_is_refused(origin):
    with pytest.raises(ConfigError, match=r"cors_origins.*write an origin as https://"):
        read_settings({"extra": {"cors_origins": [origin]}}, {})
