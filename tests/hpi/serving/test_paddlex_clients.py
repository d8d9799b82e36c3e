"""Requests recorded with PaddleX's server: what it accepts, this service accepts."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from odd_requests import JPEG, REQUESTS, Request, as_json, ask, summary

pytestmark = pytest.mark.long  # its slow cases run each night

PADDLEX = json.loads((Path(__file__).parent / "paddlex_answers.json").read_text())

REFUSED = {
    "detThreshold: True": "true is no number",
    "detThreshold: False": "true is no number",
    "detThreshold: 2": "a score is from 0 to 1; above it nobody is found, and nothing says why",
    "detThreshold: -1": "as above: everybody is found",
    "detThreshold: 'NaN'": "as above",
    "detThreshold: 'inf'": "as above",
    "detThreshold: nan": "as above",
    "detThreshold: -inf": "as above",
    "detThreshold: 1e+308": "as above",
    "Content-Encoding: br, but plain": "a header that is ignored today would change what is read tomorrow",
}
"""What PaddleX accepts and this service does not, and why."""

TAKEN = {
    *(f"image: {name}" for name in ("URL-safe", "URL-safe, lines", "no padding", "half the padding")),
    "image: data URL",
    *(f"image: data URL, {name}" for name in ("PNG", "upper case", "parameter", "no type", "lines", "no padding")),
    *(f"Content-Type: {name}" for name in (None, "", "text/json", "application/x-json", "text/plain")),
    "Content-Type: text/plain;charset=UTF-8",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: application/x-www-form-urlencoded; charset=UTF-8",
    "image as the body",
    "gzip",
    "HEAD health",
}  # fmt: skip
"""What PaddleX refuses and this service accepts."""

QUICK = {
    "image: lines of 76", "image: data URL", "image: punctuation inside", "image: file name", "JSON: utf-16",
    "JSON: UTF-8 with a byte order mark", "JSON: broken UTF-8", "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: application/vnd.api+json", "detThreshold: True", "detThreshold: '0.3'", "visualize: None", "chunked",
    "Expect: 100-continue", "path with a slash behind", "HEAD health",
}  # fmt: skip


@pytest.fixture(scope="module")
def port(service):
    return urlsplit(service.url).port


@pytest.fixture(scope="module")
def people(port):
    """The people of the plain request."""
    found = ask(port, Request(as_json())).content["result"]["persons"]
    assert len(found) == 2
    return found


def test_there_is_a_recorded_answer_for_each_request():
    assert set(PADDLEX) == set(REQUESTS)
    assert REFUSED.keys() | TAKEN | QUICK <= REQUESTS.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in REQUESTS]
)
def test_what_paddlex_accepts_is_answered_in_its_format(name, port, people):
    answer, reference = ask(port, REQUESTS[name]), PADDLEX[name]
    taken = reference.startswith("200") or name in TAKEN
    if name in REFUSED:
        assert reference.startswith("200")
        assert (answer.status, answer.content["errorCode"]) in {(422, 422), (415, 415)}
    elif not taken:
        assert 400 <= answer.status < 500 or summary(answer) == reference
        assert answer.content is None or list(answer.content) == ["logId", "errorCode", "errorMsg"]
    else:
        assert answer.status == 200
        if reference.startswith("200"):
            assert summary(answer) == reference
        if REQUESTS[name].path != "/health" and "detThreshold" not in name:
            assert answer.content["result"]["persons"] == people
    if reference[:3] in {"307", "404", "405"} and not taken:
        assert summary(answer) == reference


def test_the_people_equal_the_offline_result(people, lite):
    (offline,) = lite.predict(cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR))
    for person, other in zip(people, offline["boxes"], strict=True):
        assert np.allclose(person["kpts"], other["keypoints"], atol=1e-2)
