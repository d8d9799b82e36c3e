"""What the service may be asked for, and how much of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hpi.io.validation import Record, parse

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _origin(text: str) -> str:
    """An origin as browsers send it."""
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text.lower()):
        raise ValueError("write an origin as https://example.org or http://localhost:3000, without a path, or *")
    return text.lower()


Origin = Annotated[str, AfterValidator(_origin)]


class Settings(Record):
    """Limits and switches of the service.

    Attributes:
        max_batch: most photos that go through the models together; 1 turns dynamic batching off.
        max_wait_ms: how long the first photo of a batch waits for others.
        max_requests: most requests that wait for the models or are in them; further ones get 503.
        deadline_s: longest time from a request's last byte to its answer; then 504.
        max_body_mb: largest request body, 2^20 bytes.
        max_memory_mb: most that the bodies and decoded photos of all requests may take together, 2^20 bytes; then 503.
        read_s: longest time that the body of a request may take to arrive.
        max_pixels: largest photo.
        decode_s: longest time that a photo may take to decode.
        visualize: whether answers to JSON requests hold a picture where the request does not say; as in PaddleX.
        allow_url: fetch photos from public http(s) addresses.
        fetch_s: longest time that fetching may take.
        token: what clients must send as ``Authorization: Bearer``; None: nothing.
        cors_origins: origins whose pages may use the service from a browser, such as ``https://example.org``; ``*``:
            all of them.
    """

    max_batch: Count = 8
    max_wait_ms: Annotated[float, Field(ge=0)] = 2
    max_requests: Count = 64
    deadline_s: Positive = 30
    max_body_mb: Positive = 32
    max_memory_mb: Positive = 1024
    read_s: Positive = 30
    max_pixels: Count = 50_000_000
    decode_s: Positive = 10
    visualize: bool = True
    allow_url: bool = False
    fetch_s: Positive = 10
    token: str | None = None
    cors_origins: tuple[Origin, ...] = ()


class _ServingSection(Record):
    """``Serving:`` of a pipeline's YAML, as PaddleX has it."""

    visualize: bool = True
    extra: Mapping[str, Any] | None = None


def read_settings(section: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> Settings:
    """The settings of a service.

    Args:
        section: ``Serving`` of the pipeline's YAML: PaddleX's ``visualize``, and under ``extra`` any other field.
        asked: fields from the command line, which outrank those; None stands for fields that were not given.

    Raises:
        ConfigError: a field is unknown or wrong; the message names it.
    """
    configured = parse(_ServingSection, section or {}, "Serving")
    given = {name: value for name, value in asked.items() if value is not None}
    fields = {"visualize": configured.visualize, **(configured.extra or {}), **given}
    return parse(Settings, fields, "Serving.extra")
