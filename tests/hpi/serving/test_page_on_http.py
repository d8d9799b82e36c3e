"""The pages on HTTP and on the Open Inference Protocol name everything that the service has."""

import re
from typing import get_args

import httpx
import pytest
from pydantic import BaseModel

from hpi.compat.paddlex.http_protocol import Answer, InferRequest, Message
from hpi.serving.inference_protocol.messages import (
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ServerMetadata,
)
from hpi.serving.middleware import _REQUEST_HEADERS, _RESPONSE_HEADERS
from hpi.serving.stream_messages import FrameAnswer, FrameError, OptionsMessage

from support import EXAMPLE, ROOT

V2 = [InferenceRequest, InferenceResponse, ModelMetadata, ServerMetadata]

UNNAMED = {"Content-Type", "WWW-Authenticate"}
"""Headers of HTTP itself that are on the page in another form."""


@pytest.fixture(scope="module")
def page():
    """The codes on the pages, whole and as words."""
    folder = ROOT / "docs" / "reference"
    text = "".join((folder / name).read_text(encoding="utf-8") for name in ("http.md", "inference-protocol.md"))
    return set(re.findall(r"`([^`\n]+)`", text)) | set(re.findall(r"\w+", text))


def test_every_route_is_on_the_page(service, page):
    schema = httpx.get(f"{service.url}/openapi.json").json()
    routes = {*schema["paths"], "/", "/docs", "/openapi.json", "/stream"}
    assert routes <= page
    model = {"{name}": "human_keypoint_detection_lite", "{version}": "1"}
    urls = [service.url + re.sub("{.*?}", lambda part: model[part[0]], route) for route in routes]
    assert all(httpx.get(url).status_code in {200, 405, 426} for url in urls)


def test_every_status_is_on_the_page(service, page):
    schema = httpx.get(f"{service.url}/openapi.json").json()
    statuses = {
        status for methods in schema["paths"].values() for method in methods.values() for status in method["responses"]
    }
    assert statuses <= page


@pytest.mark.parametrize("record", [InferRequest, Answer, Message, OptionsMessage, FrameAnswer, FrameError, *V2])
def test_every_field_is_on_the_page(page, record):
    assert fields(record) <= page


def fields(kind):
    """The fields of a record and of those in it."""
    own = set(kind.model_fields)
    for field in kind.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                own |= fields(inner)
    return own


def test_every_field_of_info_is_on_the_page(service, page):
    info = httpx.get(f"{service.url}/info").json()
    assert {*info, *info["models"][0], *info["skeleton"]} <= page


def test_every_metric_and_stage_is_on_the_page(service, post, page):
    answer = post(content=EXAMPLE.read_bytes(), headers={"Content-Type": "image/png"}, params={"visualize": True})
    stages = set(re.findall(r"(\w+);dur=", answer.headers["Server-Timing"]))
    assert {"decode", "infer", "draw"} <= stages <= page
    metrics = set(re.findall(r"^# HELP (\w+)", httpx.get(f"{service.url}/metrics").text, re.MULTILINE))
    assert {name for name in metrics if not name.endswith("_created")} <= page


def test_every_header_that_pages_may_use_is_on_the_page(page):
    assert {*_REQUEST_HEADERS, *_RESPONSE_HEADERS} - UNNAMED <= page
