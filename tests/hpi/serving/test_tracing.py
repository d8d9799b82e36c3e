"""Traces: the stages of each request, in the caller's trace, whatever threads they run in."""

import asyncio
import http.server
import signal
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from hpi import ConfigError, Predictor
from hpi.serving.settings import Settings

from support import EXAMPLE, HANGS_S, free_port, run_python, serve, wait_until

pytest.importorskip("fastapi")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

ROUTE = "/human-keypoint-detection"
PNG = {"Content-Type": "image/png"}


def caller(rng, flags="01"):
    """A trace id, the id of a span in it, and the header that tells both."""
    trace, span = rng.bytes(16).hex(), rng.bytes(8).hex()
    return trace, span, {"traceparent": f"00-{trace}-{span}-{flags}"}


@pytest.fixture(scope="module")
def exporter():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def app(exporter):
    """The application of the default pipeline, whose spans stay here."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from hpi.serving.app import create_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpi.serving.tracing._sender", lambda _: SimpleSpanProcessor(exporter))
        app = create_app(
            Predictor("human_keypoint_detection_lite", device="cpu", objective="latency"), Settings(otlp="env")
        )
    from fastapi.testclient import TestClient

    with TestClient(app):
        yield app


@pytest.fixture
def spans(exporter):
    """The spans that have ended since the test began."""
    exporter.clear()
    return exporter.get_finished_spans


def names(spans):
    return {span.name: span for span in spans}


def test_each_of_many_requests_has_its_stages_in_the_trace_of_its_caller(app, spans, rng):
    callers = [caller(rng) for _ in range(3)]

    async def post_all():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=HANGS_S) as client:
            body = EXAMPLE.read_bytes()
            posts = (
                client.post(f"{ROUTE}?visualize=true", content=body, headers={**PNG, **headers})
                for *_, headers in callers
            )
            return await asyncio.gather(*posts)

    answers = asyncio.run(post_all())
    assert [answer.status_code for answer in answers] == [200] * len(callers)
    for (trace, parent, _), answer in zip(callers, answers, strict=True):
        found = names(span for span in spans() if f"{span.context.trace_id:032x}" == trace)
        request, infer = found.pop(f"POST {ROUTE}"), found["infer"]
        assert f"{request.parent.span_id:016x}" == parent
        assert found.keys() == {"decode", "queue", "infer", "detect", "keypoints", "draw", "encode"}
        for name, span in found.items():
            above = infer if name in {"detect", "keypoints"} else request
            assert span.parent.span_id == above.context.span_id, name
            assert above.start_time <= span.start_time <= span.end_time <= above.end_time, name
        assert 1 <= infer.attributes["hpi.batch_size"] <= len(callers)
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["hpi.log_id"] == answer.json()["logId"]
        assert (found["detect"].end_time - found["detect"].start_time) > 0


def test_what_a_caller_sends_is_not_believed_blindly(app, spans, rng):
    from fastapi.testclient import TestClient

    client = TestClient(app)
    trace, _, _ = caller(rng)
    _, _, unsampled = caller(rng, "00")
    for odd in (f"00-{trace}-00", f"00-{'0' * 32}-{'0' * 16}-01", "\xff" * 300, f"ff-{trace}-b7ad6b7169203331-01"):
        answer = client.post(ROUTE, content=b"no image", headers={**PNG, "traceparent": odd.encode("latin-1")})
        assert answer.status_code == 422
    assert client.post(ROUTE, content=b"no image", headers={**PNG, **unsampled}).status_code == 422
    for path in ("/health", "/ready", "/metrics", "/", "/missing"):
        client.get(path)
    assert [span.name for span in spans()] == [f"POST {ROUTE}"] * 4
    for span in spans():
        assert span.parent is None
        assert span.attributes["http.response.status_code"] == 422
        assert span.status.is_ok


@pytest.mark.full
def test_a_frame_of_a_stream_has_a_trace_of_its_own(app, spans, rng):
    from fastapi.testclient import TestClient

    trace, _, headers = caller(rng)
    with TestClient(app).websocket_connect("/stream", headers=headers) as socket:
        for _ in range(2):
            socket.send_bytes(EXAMPLE.read_bytes())
            assert len(socket.receive_json()["persons"]) == 2
    wait_until(lambda: "GET /stream" in names(spans()), "the WebSocket has ended")
    stream = names(spans())["GET /stream"]
    assert f"{stream.context.trace_id:032x}" == trace
    frames = [span for span in spans() if span.name == "frame"]
    assert [frame.attributes["hpi.frame"] for frame in frames] == [0, 1]
    assert len({stream.context.trace_id, *(frame.context.trace_id for frame in frames)}) == 3
    for frame in frames:
        assert [link.context.span_id for link in frame.links] == [stream.context.span_id]
        inside = {span.name for span in spans() if span.context.trace_id == frame.context.trace_id}
        assert inside == {"frame", "decode", "queue", "infer", "detect", "keypoints"}


@pytest.mark.parametrize(
    "missing", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch, missing):
    from hpi.serving.tracing import Tracing

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r'traces need OpenTelemetry .*pip install "hpi-pose\[tracing\]"'):
        Tracing("env")


def test_what_cannot_be_sent_does_not_keep_the_service_from_stopping(monkeypatch):
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from hpi.serving.tracing import Tracing

    released = threading.Event()

    class Stuck(SpanExporter):
        def export(self, _):
            released.wait(HANGS_S)
            return SpanExportResult.FAILURE

    monkeypatch.setattr("hpi.serving.tracing.CLOSE_S", 0.05)
    tracing = Tracing("env", BatchSpanProcessor(Stuck()))
    with tracing.request("POST", {}):
        pass
    start = time.monotonic()
    tracing.close()
    assert time.monotonic() - start < 25, "OpenTelemetry itself waits for 30 s"
    released.set()


@pytest.mark.parametrize(
    "wrong", ["", "collector:4318", "ftp://collector", "http://", "http://user@host", "http://a b"]
)
def test_the_address_of_the_collector_is_checked(wrong):
    from hpi.serving.settings import read_settings

    assert read_settings(None, {"otlp": "https://collector:4318/otlp"}).otlp
    with pytest.raises(ConfigError, match="write the collector as http"):
        read_settings(None, {"otlp": wrong})


@pytest.mark.full
def test_a_service_without_traces_does_not_load_what_makes_them(tmp_path):
    """FastAPI itself imports OpenTelemetry's interface, which does nothing by itself."""
    code = (
        "import sys; from hpi import Predictor; from hpi.serving.app import create_app;"
        "from hpi.serving.settings import Settings;"
        "create_app(Predictor('human_keypoint_detection_lite', device='cpu'), Settings());"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]"
    )
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@contextmanager
def collector():
    """A collector of OTLP over HTTP; yields its address and what it has got: requests to it, each with its spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with serve(Collector) as url:
        yield url, got


def spans_of(got):
    return [
        span for _, request in got for of_process in request.resource_spans for of in of_process.scope_spans
        for span in of.spans
    ]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("switch", ["option", "environment"])
def test_a_service_sends_its_traces_to_a_collector(start_service, switch, rng):
    trace, parent, headers = caller(rng)
    with collector() as (url, got):
        if switch == "option":
            service = start_service("--otlp", url, OTEL_BSP_SCHEDULE_DELAY="100")
        else:
            variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "pose"}
            service = start_service("--otlp", "env", **variables)
        httpx.post(service.route, content=EXAMPLE.read_bytes(), headers={**PNG, **headers}, timeout=HANGS_S)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(HANGS_S)  # what is left is sent before it ends
    assert {path for path, _ in got} == {"/v1/traces"}
    found = {span.name: span for span in spans_of(got)}
    assert {span.trace_id.hex() for span in found.values()} == {trace}
    assert found[f"POST {ROUTE}"].parent_span_id.hex() == parent
    assert {"decode", "queue", "infer", "detect", "keypoints", "encode"} <= found.keys()
    resource = {one.key: one.value.string_value for one in got[0][1].resource_spans[0].resource.attributes}
    assert resource["service.name"] == ("hpi" if switch == "option" else "pose")


@pytest.mark.full
def test_a_call_by_grpc_is_traced_too(start_service, rng):
    grpc = pytest.importorskip("grpc")
    from hpi.serving.inference_protocol.proto import SERVICE, message

    trace, parent, headers = caller(rng)
    port = free_port()
    image = message("ModelInferRequest")(
        model_name="human_keypoint_detection_lite", raw_input_contents=[as_bytes(EXAMPLE)]
    )
    image.inputs.add(name="image", datatype="BYTES", shape=[1])
    with collector() as (url, got):
        service = start_service("--otlp", url, "--grpc_port", str(port), OTEL_BSP_SCHEDULE_DELAY="100")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", type(image).SerializeToString, bytes)
            infer(image, metadata=list(headers.items()), timeout=HANGS_S)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(HANGS_S)
    found = {span.name: span for span in spans_of(got)}
    assert found[f"{SERVICE}/ModelInfer"].parent_span_id.hex() == parent
    assert found.keys() >= {"decode", "queue", "infer", "detect", "keypoints", "encode"}
    assert {span.trace_id.hex() for span in found.values()} == {trace}


def as_bytes(file):
    """A file as the tensor BYTES has it: with its size before it."""
    data = file.read_bytes()
    return len(data).to_bytes(4, "little") + data


@pytest.mark.full
def test_a_service_whose_collector_is_away_answers_and_stops(start_service):
    service = start_service("--otlp", f"http://127.0.0.1:{free_port()}", OTEL_BSP_SCHEDULE_DELAY="50")
    for _ in range(3):
        answer = httpx.post(service.route, content=EXAMPLE.read_bytes(), headers=PNG, timeout=HANGS_S)
        assert answer.status_code == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(HANGS_S) == 0
