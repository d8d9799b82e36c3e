"""Counters and timings of the service, for Prometheus; the timings of a traced request are stages of its trace too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hpi.pipelines.steps import Step
from hpi.serving.tracing import Attributes, current_trace

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service.

    Attributes:
        requests: answered requests by route and HTTP status.
        batch_sizes: images in each batch.
        stream_frames: answered frames of WebSockets by status.
        stream_drops: frames of WebSockets that a newer one replaced.

    Example:
        >>> metrics = Metrics()
        >>> metrics.requests.labels("/info", "200").inc()
        >>> b'hpi_requests_total{code="200",route="/info"} 1.0' in metrics.text()
        True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("hpi_requests", "Answered requests.", ("route", "code"), registry=self._registry)
        self.batch_sizes = Histogram(
            "hpi_batch_size", "Images that went through the models together.", buckets=_SIZES, registry=self._registry
        )
        self.stream_frames = Counter(
            "hpi_stream_frames", "Answered frames of WebSockets.", ("code",), registry=self._registry
        )
        self.stream_drops = Counter(
            "hpi_stream_dropped", "Frames of WebSockets that a newer one replaced.", registry=self._registry
        )
        self._stages = Histogram(
            "hpi_stage_seconds",
            "Time that a request spends in a stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed whenever the metrics are read."""
        Gauge(name, help_text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def stage(self, name: str, seconds: float) -> None:
        """Record how long a request spent in a stage."""
        self._stages.labels(name).observe(seconds)


class Clock:
    """Times the stages of one request.

    Attributes:
        seconds: duration of each stage.

    Example:
        >>> clock = Clock(Metrics())
        >>> clock.note("decode", 0.002)
        >>> clock.server_timing()
        'decode;dur=2.00'
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.seconds: dict[str, float] = {}

    def note(
        self,
        stage: str,
        seconds: float,
        start: float | None = None,
        *,
        steps: Sequence[Step] = (),
        attributes: Attributes | None = None,
    ) -> None:
        """Add to the duration of a stage.

        Args:
            stage: its name.
            seconds: how long it took.
            start: when it began, by :func:`time.perf_counter`, seconds; None: it has just ended.
            steps: of the pipeline, inside this stage; only traces show them.
            attributes: what traces show besides.
        """
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self._metrics.stage(stage, seconds)
        trace = current_trace()
        if trace is not None:
            trace.stage(stage, perf_counter() - seconds if start is None else start, seconds, steps, attributes)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Time a ``with`` block."""
        start = perf_counter()
        yield
        self.note(stage, perf_counter() - start, start)

    def milliseconds(self) -> dict[str, float]:
        """The duration of each stage, in milliseconds."""
        return {stage: round(1000 * seconds, 2) for stage, seconds in self.seconds.items()}

    def server_timing(self) -> str:
        """The stages as the value of the HTTP header ``Server-Timing``, in milliseconds."""
        return ", ".join(f"{stage};dur={duration:.2f}" for stage, duration in self.milliseconds().items())
