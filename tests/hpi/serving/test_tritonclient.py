"""tritonclient, over HTTP and gRPC, against the service; and whatever else may arrive over gRPC."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from hpi import Predictor
from hpi.serving.inference_protocol.proto import SERVICE, message

from failing import ONE_BATCH, failing_service
from hostile_requests import Requests
from support import EXAMPLE, HANGS_S, LONG, assert_same_outputs, free_port, run_hpi, run_python, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.full]
grpc = pytest.importorskip("grpc")
over_http = pytest.importorskip("tritonclient.http")
over_grpc = pytest.importorskip("tritonclient.grpc")
from tritonclient.utils import InferenceServerException  # noqa: E402

NAME = "human_keypoint_detection_lite"
INFER = f"/{SERVICE}/ModelInfer"
FILE = EXAMPLE.read_bytes()


@pytest.fixture(scope="module")
def both(start_service):
    """A service over HTTP and gRPC, and the address of the latter."""
    port = free_port()
    return start_service("--grpc_port", str(port)), f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def clients(both):
    """A client over HTTP and one over gRPC, each with its module."""
    service, address = both
    netloc = urlsplit(service.url).netloc
    patience = {"connection_timeout": HANGS_S, "network_timeout": HANGS_S}
    with over_http.InferenceServerClient(netloc, **patience) as http, over_grpc.InferenceServerClient(address) as rpc:
        yield {"http": (over_http, http), "grpc": (over_grpc, rpc)}


@pytest.fixture(params=["http", "grpc"])
def triton(request, clients):
    return clients[request.param]


def tensor(module, name, array, datatype, **options):
    one = module.InferInput(name, list(array.shape), datatype)
    one.set_data_from_numpy(array, **options)
    return one


def image_file(module, data=FILE):
    return tensor(module, "image", np.array([data], object), "BYTES")


def assert_people(result, people):
    assert_same_outputs({name: result.as_numpy(name) for name in ("boxes", "scores", "keypoints")}, people)


def test_health_and_metadata(triton):
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    named = [client.get_server_metadata(), client.get_model_metadata(NAME)]
    names = [one["name"] if isinstance(one, dict) else one.name for one in named]
    assert names == ["hpi", NAME]


def test_the_people_are_those_of_the_predictor(triton, people):
    module, client = triton
    image = cv2.imread(str(EXAMPLE))
    threshold = tensor(module, "threshold", np.array([0.5], np.float32), "FP32")
    assert_people(client.infer(NAME, [tensor(module, "image", image, "UINT8"), threshold]), people)
    assert_people(client.infer(NAME, [image_file(module)], model_version="1"), people)
    high = tensor(module, "threshold", np.array([0.9], np.float32), "FP32")
    assert len(client.infer(NAME, [image_file(module), high]).as_numpy("boxes")) == 1


def test_outputs_are_selected_and_the_id_comes_back(triton):
    module, client = triton
    result = client.infer(
        NAME, [image_file(module)], outputs=[module.InferRequestedOutput("scores")], request_id="frame 7"
    )
    assert result.as_numpy("scores").shape == (2,)
    assert result.as_numpy("boxes") is None
    response = result.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "frame 7"


def test_nobody_has_shapes_too(triton):
    module, client = triton
    result = client.infer(NAME, [tensor(module, "image", np.zeros((8, 8, 3), np.uint8), "UINT8")])
    shapes = [result.as_numpy(name).shape for name in ("boxes", "scores", "keypoints")]
    assert shapes == [(0, 4), (0,), (0, 17, 3)]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_over_http(clients, people, coding):
    module, client = clients["http"]
    assert_people(client.infer(NAME, [image_file(module)], request_compression_algorithm=coding), people)


def test_compressed_messages_over_grpc_are_refused(clients):
    """They could be a thousand times as large as they say."""
    module, client = clients["grpc"]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(NAME, [image_file(module, bytes(10 << 20))], compression_algorithm="gzip")
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def refused(client, *inputs, status, fragment, **options):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(options.pop("model", NAME), inputs, **options)
    wanted = status[isinstance(client, over_grpc.InferenceServerClient)]
    assert caught.value.status() in {wanted, f"StatusCode.{wanted}"}
    assert fragment in caught.value.message()


WRONG = ("400", "INVALID_ARGUMENT")


def test_wrong_requests_have_errors_of_the_protocol(triton):
    module, client = triton
    pixels = np.zeros((8, 8, 3), np.uint8)
    one = image_file(module)
    for array, datatype, fragment in (
        (pixels[..., 0], "UINT8", "has shape [height, width, 3]"),
        (pixels[None], "UINT8", "has shape [height, width, 3]"),
        (np.float32(pixels), "FP32", "send UINT8"),
        (np.array([FILE, FILE], object), "BYTES", "BYTES of shape [1]"),
        (np.array([b"hello"], object), "BYTES", "not an image"),
    ):
        refused(client, tensor(module, "image", array, datatype), status=WRONG, fragment=fragment)
    refused(client, tensor(module, "picture", pixels, "UINT8"), status=WRONG, fragment="'picture' is unknown")
    refused(client, one, one, status=WRONG, fragment="'image' is there twice")
    people = [module.InferRequestedOutput("people")]
    refused(client, one, outputs=people, status=WRONG, fragment="'people' is unknown")
    missing = ("404", "NOT_FOUND")
    refused(client, one, model="pose", status=missing, fragment="there is no model 'pose'")
    refused(client, one, model_version="2", status=missing, fragment="has no version '2'")
    large = tensor(module, "image", np.zeros((4000, 4000, 3), np.uint8), "UINT8")
    refused(client, large, status=("413", "RESOURCE_EXHAUSTED"), fragment="larger than")


def infer(channel, content, **options):
    """Call ModelInfer with the bytes of a message."""
    call = channel.unary_unary(INFER, response_deserializer=message("ModelInferResponse").FromString)
    return call(content, timeout=HANGS_S, **options)


def request(*inputs, raw=(), **fields):
    """The bytes of a message."""
    return message("ModelInferRequest")(
        model_name=NAME, inputs=inputs, raw_input_contents=raw, **fields
    ).SerializeToString()


def pixels(**fields):
    return {"name": "image", "datatype": "UINT8", "shape": [4, 6, 3], **fields}


@pytest.fixture(scope="module")
def channel(both):
    with grpc.insecure_channel(both[1]) as channel:
        yield channel


def test_contents_by_type_are_answered_by_type(channel, people):
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [FILE]}}
    threshold = {"name": "threshold", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [0.5]}}
    answer = infer(channel, request(image, threshold))
    assert not answer.raw_output_contents
    boxes, scores, _ = (np.array(output.contents.fp32_contents) for output in answer.outputs)
    np.testing.assert_allclose(boxes.reshape(-1, 4), people.boxes, atol=0.01)
    np.testing.assert_allclose(scores, people.scores, atol=1e-4)
    assert not infer(channel, request(pixels(contents={"uint_contents": [0] * 72}))).outputs[0].shape[0]


BROKEN = {
    "a value": (request(pixels(contents={"uint_contents": [256] * 72})), "does not fit into UINT8"),
    "too few": (request(pixels(contents={"uint_contents": [0] * 71})), "71 elements, not 72"),
    "of another type": (request(pixels(contents={"int_contents": [0] * 72})), "0 elements, not 72"),
    "truncated": (request(pixels(), raw=[bytes(71)]), "71 bytes, not 72"),
    "both": (request(pixels(contents={"uint_contents": [0]}), raw=[bytes(72)]), "either in raw_input_contents or"),
    "one too many": (request(pixels(), raw=[bytes(72), b""]), "2 tensors, but there are 1 inputs"),
    "negative": (request(pixels(shape=[-4, -6, 3]), raw=[bytes(72)]), "has shape [height, width, 3]"),
    "many dimensions": (request(pixels(shape=[1] * 10_000), raw=[b""]), "has shape [height, width, 3]"),
    "shared memory": (
        request(pixels(parameters={"shared_memory_region": {"string_param": "a"}}), raw=[b""]),
        "'shared_memory_region' is not supported",
    ),
    "many inputs": (request(*[{}] * 5000), "more than 1000 fields"),
    "many elements": (request(pixels(contents={"bytes_contents": [b""] * 5000})), "more than 1000 fields"),
    "nothing": (b"", "there is no model ''"),
    "noise": (b"\xff" * 100, "the message is damaged"),
    "half": (request(pixels(), raw=[bytes(72)])[:-9], "the message is damaged"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_message_is_answered_with_what_is_wrong(channel, case):
    content, fragment = BROKEN[case]
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, content)
    codes = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert caught.value.code() in codes
    assert fragment in caught.value.details()


def test_the_token_is_asked_for_images_only(start_service):
    port = free_port()
    start_service("--grpc_port", str(port), *ONE_BATCH, HPI_TOKEN="secret")
    with over_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_model_ready(NAME)
        for headers in ({}, {"authorization": "Bearer other"}):
            with pytest.raises(InferenceServerException) as caught:
                client.infer(NAME, [image_file(over_grpc)], headers=headers)
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        result = client.infer(NAME, [image_file(over_grpc)], headers={"authorization": "Bearer secret"})
        assert len(result.as_numpy("scores")) == 2


def metric(service, name):
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def calls(code):
    return f'hpi_requests_total{{code="{code}",route="{INFER}"}}'


@pytest.fixture(scope="module")
def held(start_service, tmp_path_factory):
    """A service whose models an image of 34 columns keeps busy while there is a file, with a deadline."""
    folder, port = tmp_path_factory.mktemp("held"), free_port()
    options = ("--grpc_port", str(port), "--max_requests", "2", *ONE_BATCH)
    return start_service(*options, code=failing_service(""), TEST_FOLDER=str(folder)), f"127.0.0.1:{port}", folder


def image_of_width(width):
    return request(pixels(shape=[4, width, 3]), raw=[bytes(12 * width)])


def test_calls_that_are_cancelled_leave_the_queue_and_too_many_are_refused(held):
    service, address, folder = held
    (folder / "held").touch()
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(infer, channel, image_of_width(34))
        wait_until((folder / "busy").exists, "the image is in the models")
        call = channel.unary_unary(INFER).future(image_of_width(6))
        wait_until(lambda: metric(service, "hpi_queue_depth") == 1, "it waits for the models")
        with pytest.raises(grpc.RpcError) as caught:
            infer(channel, image_of_width(6))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        ready = channel.unary_unary(f"/{SERVICE}/ServerReady")(b"")
        assert not message("ServerReadyResponse").FromString(ready).ready
        call.cancel()
        wait_until(lambda: metric(service, calls("CANCELLED")) == 1, "it is cancelled")
        assert metric(service, "hpi_queue_depth") == 0
        (folder / "held").unlink()
        assert len(slow.result().outputs) == 3


def test_a_failure_of_a_runtime_shows_no_secrets(held):
    service, address, _ = held
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        infer(channel, image_of_width(33))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert caught.value.details().startswith("Internal server error (logId ")
    assert caught.value.details()[-37:-1] in service.log.read_text()


def test_what_was_accepted_is_finished_when_it_stops(start_service, tmp_path):
    port = free_port()
    service = start_service("--grpc_port", str(port), *ONE_BATCH, code=failing_service(""), TEST_FOLDER=str(tmp_path))
    (tmp_path / "held").touch()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(infer, channel, image_of_width(34))
        wait_until((tmp_path / "busy").exists, "the image is in the models")
        service.process.send_signal(signal.SIGTERM)
        (tmp_path / "held").unlink()
        assert len(slow.result().outputs) == 3
    assert service.process.wait(HANGS_S) == 0


def test_a_grpc_port_in_use_is_an_error(both, tmp_path):
    address = both[1]
    done = run_hpi("serve", "--port", str(free_port()), "--grpc_port", address.rpartition(":")[2], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {address} is in use; stop the process that listens there, or choose another port\n"


def resident_mb(service, field="VmHWM"):
    """The most memory that a service has taken, or with VmRSS what it takes now."""
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_large_and_hostile_messages_do_not_take_more_memory_than_the_limit(start_service, tmp_path):
    yml = tmp_path / "pipeline.yaml"
    yml.write_text(
        (EXAMPLE.parent.parent / f"configs/pipelines/{NAME}.yaml").read_text()
        + "\nServing: {extra: {max_memory_mb: 256, max_body_mb: 16, max_requests: 64}}\n"
    )
    port = free_port()
    service = start_service("--pipeline", str(yml), "--grpc_port", str(port), *ONE_BATCH)
    side = 2300
    contents = [
        request(pixels(shape=[side, side, 3]), raw=[bytes(3 * side * side)]),
        request(*[{}] * 1_000_000),
        request(pixels(contents={"uint_contents": [0] * (4 << 20)})),
        request(pixels(contents={"uint_contents": [0] * (15 << 20)})),
        request(pixels(shape=[1] * (15 << 20)), raw=[b""]),
    ]
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        infer(channel, contents[0])
        before = resident_mb(service)
        seen = set()

        def send(number):
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as own:
                try:
                    infer(own, contents[number % len(contents)])
                    seen.add("OK")
                except grpc.RpcError as error:
                    seen.add(error.code().name)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(send, range(64)))
    assert seen <= {"OK", "INVALID_ARGUMENT", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}, seen
    assert "OK" in seen
    assert resident_mb(service) - before < 256 + 64


GENERATED = 5000 if LONG else 500
WARM_UP = 200
"""Requests after which the service has taken what memory it keeps."""


def test_generated_requests_are_answered_or_refused(start_service, rng):
    """Each, over HTTP or gRPC, has the right answer or an error of the protocol; none costs memory that stays."""
    port = free_port()
    service = start_service("--grpc_port", str(port), *ONE_BATCH)
    image = cv2.resize(cv2.imread(str(EXAMPLE)), (80, 60), interpolation=cv2.INTER_AREA)
    drawn = Requests(rng, NAME, image, cv2.imencode(".png", image)[1].tobytes())
    with Predictor(NAME, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    expected = len(result.instances)
    seen: Counter[str] = Counter()
    with (
        httpx.Client(base_url=service.url, timeout=HANGS_S) as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ThreadPoolExecutor(8) as pool,
    ):

        def over_http(sent):
            answer = client.post(f"/v2/models/{NAME}/infer", content=sent.body, headers=sent.headers)
            if answer.status_code == 200:
                length = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
                content = json.loads(answer.content[:length])
                tail = sum(one.get("parameters", {}).get("binary_data_size", 0) for one in content["outputs"])
                assert length + tail == len(answer.content)
                assert_answer(sent, {one["name"]: one["shape"] for one in content["outputs"]})
            else:
                assert (answer.status_code, list(answer.json())) == (400, ["error"]), answer.text
                assert not sent.right, answer.text
            return f"HTTP {answer.status_code}"

        def over_grpc_(sent):
            try:
                answer = infer(channel, sent.body)
            except grpc.RpcError as error:
                assert error.code().name in {"INVALID_ARGUMENT", "NOT_FOUND"}, error
                assert error.details()
                assert not sent.right, error
                return error.code().name
            assert_answer(sent, {one.name: list(one.shape) for one in answer.outputs})
            return "OK"

        def assert_answer(sent, shapes):
            count = {shape[0] for shape in shapes.values()}
            assert len(count) == 1
            known = {"boxes": [4], "scores": [], "keypoints": [17, 3]}
            assert all(shape[1:] == known[name] for name, shape in shapes.items())
            if sent.right:
                assert (len(shapes), count) == (3, {expected})

        def send(_):
            with drawing:
                is_http = bool(rng.integers(2))
                sent = drawn.over_http() if is_http else drawn.over_grpc()
            return over_http(sent) if is_http else over_grpc_(sent)

        drawing = threading.Lock()
        seen.update(pool.map(send, range(WARM_UP)))
        before = resident_mb(service, "VmRSS")
        seen.update(pool.map(send, range(GENERATED - WARM_UP)))
    print(dict(seen))
    assert set(seen) == {"HTTP 200", "HTTP 400", "OK", "INVALID_ARGUMENT", "NOT_FOUND"}
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()
    assert resident_mb(service, "VmRSS") - before < 100


def test_tritonclient_may_be_in_the_process_of_the_server(tmp_path):
    for first, second in (("ours", "theirs"), ("theirs", "ours")):
        code = {
            "ours": "from hpi.serving.inference_protocol.proto import message; ours = message('ModelInferRequest')",
            "theirs": "from tritonclient.grpc.service_pb2 import ModelInferRequest as theirs",
        }
        check = (
            "theirs.FromString(ours(model_name='a', raw_input_contents=[b'b']).SerializeToString());"
            "print(ours.FromString(theirs(model_name='c').SerializeToString()).model_name, ours is theirs)"
        )
        done = run_python("-c", f"{code[first]}\n{code[second]}\n{check}", cwd=tmp_path)
        assert done.stdout == "c False\n", done.stderr


def test_the_descriptors_are_those_of_the_proto(tmp_path):
    pytest.importorskip("grpc_tools")
    folder = Path(sys.modules["hpi.serving.inference_protocol.proto"].__file__).parent
    made = tmp_path / "made.binpb"
    options = [f"-I{folder}", f"--descriptor_set_out={made}", "open_inference_grpc.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options], check=True, cwd=folder)
    assert made.read_bytes() == (folder / "open_inference_grpc.binpb").read_bytes()
