"""Settings of the service: limits and switches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hpi.io.validation import Record, parse
from hpi.serving.tracing import FROM_ENVIRONMENT

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _origin(text: str) -> str:
    """Check an origin, and write it as browsers do."""
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text.lower()):
        raise ValueError("write an origin as https://example.org or http://localhost:3000, without a path, or *")
    return text.lower()


def _collector(text: str) -> str:
    """Check the address of a collector."""
    if text != FROM_ENVIRONMENT and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", text):
        raise ValueError(f"write the collector as http://127.0.0.1:4318, or {FROM_ENVIRONMENT}")
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Collector = Annotated[str, AfterValidator(_collector)]


class Settings(Record):
    """Limits and switches of the service.

    Attributes:
        max_batch: maximum number of images that go through the models together; 1 turns dynamic batching off.
        max_wait_ms: how long the first image of a batch waits for others.
        max_requests: maximum number of requests that run or wait for the models; further ones get 503.
        deadline_s: maximum time from the last byte of a request to its answer; then 504.
        max_body_mb: maximum size of a request body, MiB; then 413.
        max_memory_mb: maximum memory for the bodies and decoded images of all requests together, MiB; then 503.
        read_s: maximum time for the body of a request to arrive; then 408.
        max_pixels: maximum size of an image, pixels; then 422.
        decode_s: maximum time to decode an image; then 422.
        visualize: whether answers to JSON requests include a picture if the request does not say; as in PaddleX.
        allow_url: fetch images from public http(s) addresses.
        fetch_s: maximum time to fetch an image; then 422.
        token: what clients must send as ``Authorization: Bearer``; None if they need none.
        max_streams: maximum number of open WebSockets; further ones get 503.
        max_frame_mb: maximum size of a message of a WebSocket, MiB.
        idle_s: a WebSocket is closed after so much time without a message.
        cors_origins: origins whose pages may use the service from a browser, such as ``https://example.org``; ``*`` for
            all of them.
        otlp: address of the OpenTelemetry collector that traces go to, by OTLP over HTTP; ``env``: OpenTelemetry's
            variables have it; None: nothing is traced.

    Example:
        >>> settings = Settings(max_batch=4, cors_origins=["https://Example.org"])
        >>> settings.max_batch, settings.max_requests, settings.cors_origins
        (4, 64, ('https://example.org',))
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
    max_streams: Count = 16
    max_frame_mb: Positive = 8
    idle_s: Positive = 60
    token: str | None = None
    cors_origins: tuple[Origin, ...] = ()
    otlp: Collector | None = None


class _ServingSection(Record):
    """``Serving:`` of a pipeline's YAML, as PaddleX has it."""

    visualize: bool = True
    extra: Mapping[str, Any] | None = None


def read_settings(section: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> Settings:
    """The settings of a service.

    Args:
        section: ``Serving`` of the pipeline's YAML: PaddleX's ``visualize``, and under ``extra`` any other field.
        overrides: fields of the command line, which outrank the YAML; None stands for a field that is not set.

    Raises:
        ConfigError: a field is unknown or wrong; the message names it.

    Example:
        >>> read_settings({"visualize": False, "extra": {"max_batch": 4}}, {"deadline_s": 5}).max_batch
        4
    """
    configured = parse(_ServingSection, section or {}, "Serving")
    given = {name: value for name, value in overrides.items() if value is not None}
    fields = {"visualize": configured.visualize, **(configured.extra or {}), **given}
    return parse(Settings, fields, "Serving.extra")
