"""Traces of requests, sent to an OpenTelemetry collector.

OpenTelemetry is imported once a :class:`Tracing` is made, and a service makes none unless its settings ask for traces.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from threading import Thread
from typing import TYPE_CHECKING

import hpi
from hpi.errors import ConfigError
from hpi.pipelines.steps import Step

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

FROM_ENVIRONMENT = "env"
"""In the place of an address: the variables of OpenTelemetry, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``, have it."""

CLOSE_S = 5
"""How long a service that stops takes at most to send what is left, in seconds; it would try a collector for longer."""

Attributes = Mapping[str, str | int]

_current: ContextVar[Trace | None] = ContextVar("hpi_trace", default=None)


def current_trace() -> Trace | None:
    """The trace of the request that this task or thread works on; None where it has none.

    Example:
        >>> current_trace() is None
        True
    """
    return _current.get()


def request_trace(
    tracing: Tracing | None, name: str, carrier: Mapping[str, str]
) -> AbstractContextManager[Trace | None]:
    """Trace a request if requests are traced; see :meth:`Tracing.request`.

    Example:
        >>> with request_trace(None, "ModelInfer", {}) as trace:
        ...     print(trace)
        None
    """
    return nullcontext() if tracing is None else tracing.request(name, carrier)


class Tracing:
    """Makes the traces of a service, and sends them from a thread of its own; those that it cannot send it drops.

    Example:
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        >>> kept = InMemorySpanExporter()
        >>> tracing = Tracing("env", SimpleSpanProcessor(kept))
        >>> caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        >>> with tracing.request("ModelInfer", {"traceparent": caller}) as trace:
        ...     trace.stage("decode", time.perf_counter() - 0.002, 0.002)
        >>> [(span.name, f"{span.context.trace_id:032x}") for span in kept.get_finished_spans()]
        [('decode', '0af7651916cd43dd8448eb211c80319c'), ('ModelInfer', '0af7651916cd43dd8448eb211c80319c')]
        >>> tracing.close()
    """

    def __init__(self, otlp: str, processor: SpanProcessor | None = None) -> None:
        """Start the thread.

        Args:
            otlp: address of the collector for OTLP over HTTP, such as ``http://127.0.0.1:4318``, or
                :data:`FROM_ENVIRONMENT`. OpenTelemetry's variables also have the headers, the share of the requests
                that are traced, and the name of the service, which is else ``hpi``.
            processor: takes the finished spans instead.

        Raises:
            ConfigError: OpenTelemetry is not installed.
        """
        try:
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            processor = processor or _sender(otlp)
        except ImportError as error:
            raise ConfigError(f'traces need OpenTelemetry ({error}): pip install "hpi-pose[tracing]"') from error
        own = Resource.create({"service.name": "hpi", "service.version": hpi.__version__})
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hpi", hpi.__version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str, carrier: Mapping[str, str]) -> Iterator[Trace]:
        """Trace a request, until the end of the ``with`` block; an exception that leaves it is recorded.

        Args:
            name: of its span, such as the method of an RPC.
            carrier: its headers or metadata, with names in lower case; ``traceparent`` in them makes it part of the
                caller's trace (W3C Trace Context).
        """
        from opentelemetry.trace import SpanKind

        above = self._propagator.extract(carrier)
        spans = self._tracer.start_as_current_span(name, above, SpanKind.SERVER)
        with spans as span, _as_current(Trace(self._tracer, span)) as trace:
            yield trace

    def close(self) -> None:
        """Send what has not been sent, for :data:`CLOSE_S` at most, and stop the thread."""
        closing = Thread(target=self._provider.shutdown, name="hpi-traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class Trace:
    """The span of a request, to which its stages are added."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def stage(
        self, name: str, start: float, seconds: float, steps: Sequence[Step] = (), attributes: Attributes | None = None
    ) -> None:
        """Add a stage that has ended.

        Args:
            name: of the stage.
            start: when it began, by :func:`time.perf_counter`, seconds.
            seconds: how long it took.
            steps: of the pipeline, inside this stage.
            attributes: what is known of the stage.
        """
        if not self._span.is_recording():  # of a request that is not among those that are traced
            return
        stage = self._add(name, self._span, start, seconds, attributes)
        for one in steps:
            self._add(one.name, stage, one.start, one.seconds)

    @contextmanager
    def part(self, name: str, attributes: Attributes) -> Iterator[None]:
        """Trace a part of a request that goes on for long: by a trace of its own, with a link to this one."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link

        links = [Link(self._span.get_span_context())]
        spans = self._tracer.start_as_current_span(name, Context(), attributes=attributes, links=links)
        with spans as span, _as_current(Trace(self._tracer, span)):
            yield

    def answered(self, name: str, status: int, attributes: Attributes) -> None:
        """Name the span of an HTTP request, whose route and status are known last.

        Args:
            name: method and route, as OpenTelemetry's conventions have it.
            status: of the answer; from 500 on it is an error.
            attributes: what is known of the request.
        """
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(name)
        self._span.set_attributes({**attributes, "http.response.status_code": status})
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))

    def _add(self, name: str, above: Span, start: float, seconds: float, attributes: Attributes | None = None) -> Span:
        from opentelemetry.trace import set_span_in_context

        began = time.time_ns() - int(1e9 * (time.perf_counter() - start))
        span = self._tracer.start_span(name, set_span_in_context(above), attributes=attributes, start_time=began)
        span.end(began + int(1e9 * seconds))
        return span


@contextmanager
def _as_current(trace: Trace) -> Iterator[Trace]:
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def _sender(otlp: str) -> SpanProcessor:
    """Sends spans in batches, from a thread."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The exporter adds the path only to an address from the environment.
    endpoint = None if otlp == FROM_ENVIRONMENT else f"{otlp.rstrip('/').removesuffix('/v1/traces')}/v1/traces"
    return BatchSpanProcessor(OTLPSpanExporter(endpoint))
