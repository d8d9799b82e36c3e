"""The Open Inference Protocol over HTTP: what it answers, and how it refuses what it cannot."""

import base64
import json
import sys

import cv2
import httpx
import numpy as np
import pytest

from hpi.errors import ConfigError

from support import EXAMPLE, HANGS_S, assert_same_outputs

pytest.importorskip("fastapi")

MODEL = "/v2/models/human_keypoint_detection_lite"
HEADER = "Inference-Header-Content-Length"
FILE = EXAMPLE.read_bytes()
SMALL = np.zeros((4, 6, 3), np.uint8)


@pytest.fixture(scope="module")
def image():
    return cv2.imread(str(EXAMPLE))


def numbers(name, array, datatype, **fields):
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist(), **fields}


def binary(name, data, datatype, shape):
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}


def element(data):
    return len(data).to_bytes(4, "little") + data


THRESHOLD = numbers("threshold", np.array([0.5], np.float32), "FP32")


def ask(client, content, tail=b"", headers=None):
    """Post a request with binary data after it."""
    text = json.dumps(content).encode()
    own = {HEADER: str(len(text))} if tail else {}
    return client.post(f"{MODEL}/infer", content=text + tail, headers={**own, **(headers or {})})


def outputs(answer):
    """The outputs of an answer as arrays."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(HEADER, len(answer.content)))
    content, tail = json.loads(answer.content[:length]), answer.content[length:]
    arrays = {}
    for output in content["outputs"]:
        assert output["datatype"] == "FP32"
        if size := output.get("parameters", {}).get("binary_data_size"):
            data, tail = np.frombuffer(tail[:size], "<f4"), tail[size:]
        else:
            data = np.array(output.get("data", []), np.float32)
        arrays[output["name"]] = data.reshape(output["shape"])
    assert not tail
    return arrays


def test_what_the_server_and_the_model_are(client):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready").json() == {"name": "human_keypoint_detection_lite", "ready": True}
    metadata = client.get(MODEL).json()
    assert metadata == client.get(f"{MODEL}/versions/1").json()
    assert [(one["name"], one["shape"]) for one in metadata["outputs"]] == [
        ("boxes", [-1, 4]),
        ("scores", [-1]),
        ("keypoints", [-1, 17, 3]),
    ]
    assert client.head("/v2/health/ready").status_code == 200


def test_an_image_in_binary_data(client, image, people):
    content = {"id": "7", "inputs": [binary("image", image.tobytes(), "UINT8", list(image.shape)), THRESHOLD]}
    answer = ask(client, content, image.tobytes())
    assert_same_outputs(outputs(answer), people)
    assert (answer.json()["id"], answer.json()["model_version"]) == ("7", "1")
    stages = [one.partition(";")[0] for one in answer.headers["server-timing"].split(", ")]
    assert stages == ["queue", "infer", "encode"]


def test_answers_in_binary_data(client, people):
    content = {
        "inputs": [binary("image", element(FILE), "BYTES", [1])],
        "outputs": [{"name": name} for name in ("keypoints", "boxes", "scores")],
        "parameters": {"binary_data_output": True},
    }
    answer = ask(client, content, element(FILE))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert_same_outputs(outputs(answer), people)
    content["outputs"] = [{"name": "scores", "parameters": {"binary_data": False}}, {"name": "boxes"}]
    mixed = outputs(ask(client, content, element(FILE)))
    assert list(mixed) == ["scores", "boxes"]


def test_an_image_file_as_base64_gives_the_people_of_the_other_route(client, post):
    text = base64.b64encode(FILE).decode()
    answer = ask(client, {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]})
    found = outputs(answer)
    persons = post(json={"image": text, "visualize": False}).json()["result"]["persons"]
    for person, box, score, keypoints in zip(persons, *found.values(), strict=True):
        np.testing.assert_allclose(person["bbox"], box, atol=0.01)
        np.testing.assert_allclose(person["detScore"], score, atol=1e-4)
        np.testing.assert_allclose(person["kpts"], keypoints, atol=0.2)


@pytest.mark.parametrize("data", [SMALL.ravel().tolist(), SMALL.tolist()], ids=["flat", "nested"])
def test_nobody_has_shapes_too(client, data):
    found = outputs(ask(client, {"inputs": [numbers("image", SMALL, "UINT8") | {"data": data}]}))
    assert {name: array.shape for name, array in found.items()} == {
        "boxes": (0, 4),
        "scores": (0,),
        "keypoints": (0, 17, 3),
    }


def test_sides_of_any_length(client, rng):
    for shape in ((1, 1, 3), (1, 40_000, 3), (40_000, 1, 3)):
        data = rng.integers(0, 256, shape, np.uint8).tobytes()
        outputs(ask(client, {"inputs": [binary("image", data, "UINT8", list(shape))]}, data))


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/octet-stream"}])
def test_the_content_type_does_not_matter(client, headers):
    outputs(ask(client, {"inputs": [numbers("image", SMALL, "UINT8")]}, headers=headers))


def changed(**fields):
    return {"inputs": [{**numbers("image", SMALL, "UINT8"), **fields}]}


def with_threshold(**fields):
    return {"inputs": [numbers("image", SMALL, "UINT8"), {**THRESHOLD, **fields}]}


WRONG = {
    "no inputs": ({"inputs": []}, "'image' is missing"),
    "inputs missing": ({}, "inputs: Field required"),
    "no object": ([], "the request: Input should be"),
    "name": (changed(name="picture"), "'picture' is unknown"),
    "name not ASCII": (changed(name="\u202ebild"), "'\\u202ebild' is unknown"),
    "twice": ({"inputs": [numbers("image", SMALL, "UINT8")] * 2}, "'image' is there twice"),
    "datatype": (changed(datatype="FP32"), "send UINT8 of shape"),
    "datatype of no protocol": (changed(datatype="uint8"), "send UINT8 of shape"),
    "shape": (changed(shape=[4, 6]), "has shape [height, width, 3]"),
    "channels": (changed(shape=[4, 6, 4]), "has shape [height, width, 3]"),
    "no pixels": (changed(shape=[0, 6, 3], data=[]), "has shape [height, width, 3]"),
    "negative": (changed(shape=[-4, -6, 3]), "greater than or equal to 0"),
    "a shape of text": (changed(shape="4x6x3"), "inputs.0.shape"),
    "a huge shape": (changed(shape=[1 << 40, 1 << 40, 3]), "an image may have 50,000,000 pixels"),
    "beyond 64 bits": (changed(shape=[1 << 70, 1, 3]), "inputs.0.shape.0"),
    "too few": (changed(data=[0] * 71), "its data has 71 elements, not 72"),
    "no data": (changed(data=None), "either in 'data' or as binary data"),
    "too large a number": (changed(data=[256] * 72), "a value does not fit into UINT8"),
    "fractions": (changed(data=[0.5] * 72), "its data must be whole numbers"),
    "booleans": (changed(data=[True] * 72), "its data must be whole numbers"),
    "lists of another shape": (changed(data=[[0] * 36] * 2), "its data are lists of another shape"),
    "ragged": (changed(data=[[[0] * 3] * 6] * 3 + [[0] * 18]), "its data are lists of another shape"),
    "threshold": (with_threshold(data=[1.5]), "it is 1.5; send a number from 0 to 1"),
    "thresholds": (with_threshold(data=[0.5, 0.5], shape=[2]), "send FP32 of shape [1]"),
    "a threshold of text": (with_threshold(data=["high"]), "its data must be numbers"),
    "an infinite threshold": (with_threshold(data=[1e300]), "it is inf; send a number"),
    "output": ({**changed(), "outputs": [{"name": "people"}]}, "'people' is unknown"),
    "output twice": ({**changed(), "outputs": [{"name": "boxes"}] * 2}, "'boxes' is there twice"),
    "classes": (
        {**changed(), "outputs": [{"name": "boxes", "parameters": {"classification": 2}}]},
        "'classification' is not supported",
    ),
    "shared memory": (changed(parameters={"shared_memory_region": "a"}), "'shared_memory_region' is not supported"),
    "an id of a number": ({**changed(), "id": 7}, "id: Input should be a valid string"),
    "bytes that are no image": (changed(datatype="BYTES", shape=[1], data=["aGVsbG8="]), "not an image"),
    "bytes that are no base64": (changed(datatype="BYTES", shape=[1], data=["\u00e9"]), "neither a URL nor base64"),
    "a URL": (changed(datatype="BYTES", shape=[1], data=["https://example.org/a.jpg"]), "only http and https"),
    "two files": (changed(datatype="BYTES", shape=[2], data=["aGVsbG8="] * 2), "BYTES of shape [1]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_answered_with_what_is_wrong(client, case):
    content, fragment = WRONG[case]
    answer = ask(client, content)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert fragment in answer.json()["error"]


PIXELS = binary("image", SMALL.tobytes(), "UINT8", [4, 6, 3])
BROKEN = {
    "truncated": (PIXELS, SMALL.tobytes()[:-1], {}, "72 bytes of binary data, but 71 come after"),
    "too long": (PIXELS, SMALL.tobytes() + b"\0", {}, "72 bytes of binary data, but 73 come after"),
    "both": ({**PIXELS, "data": [0] * 72}, SMALL.tobytes(), {}, "either in 'data' or as binary data"),
    "no header": (PIXELS, SMALL.tobytes(), {HEADER: ""}, "send the length of the JSON in bytes"),
    "a header of text": (PIXELS, SMALL.tobytes(), {HEADER: "all"}, "send the length of the JSON in bytes"),
    "a header beyond the body": (PIXELS, SMALL.tobytes(), {HEADER: "9999"}, "but the body has"),
    "a header in the JSON": (PIXELS, SMALL.tobytes(), {HEADER: "9"}, "is not JSON"),
    "no length": (binary("image", b"a", "BYTES", [1]), b"a", {}, "not the length of one element"),
    "a wrong length": (binary("image", b"a" * 9, "BYTES", [1]), b"a" * 9, {}, "not the length of one element"),
    "another size": (binary("image", b"a" * 9, "UINT8", [4, 6, 3]), b"a" * 9, {}, "its data has 9 bytes, not 72"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_binary_data_is_answered_with_what_is_wrong(client, case):
    tensor, tail, headers, fragment = BROKEN[case]
    answer = ask(client, {"inputs": [tensor]}, tail, headers)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert fragment in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 5000, b'{"inputs": NaN}', b'{"id": "\\ud800"}'])
def test_what_is_no_json(client, body):
    answer = client.post(f"{MODEL}/infer", content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_other_models_routes_and_methods_have_errors_of_the_protocol(client):
    for path, status in {"/v2/models/pose": 404, f"{MODEL}/versions/2/ready": 404, "/v2/pose": 404}.items():
        answer = client.get(path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    answer = client.get(f"{MODEL}/infer")
    assert (answer.status_code, answer.headers["allow"], list(answer.json())) == (405, "POST", ["error"])


def test_limits_and_token_are_those_of_the_service(strict):
    with httpx.Client(base_url=strict.url, timeout=HANGS_S) as client:
        assert client.get(MODEL).status_code == 200
        answer = ask(client, changed())
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json() == {"error": "send the token: Authorization: Bearer ..."}
        token = {"Authorization": "Bearer secret"}
        outputs(ask(client, changed(), headers=token))
        large = bytes(2 << 20)
        answer = ask(client, {"inputs": [binary("image", large, "UINT8", [1, 1, 3])]}, large, token)
        assert (answer.status_code, answer.json()["error"]) == (413, "larger than the limit of 1 MiB")


def test_an_image_of_too_many_numbers_is_told_to_come_otherwise(client):
    answer = client.post(f"{MODEL}/infer", content=b"[" + b"0," * 1_000_001 + b"0]")
    assert answer.status_code == 413
    assert "send the image as binary data" in answer.json()["error"]


def test_requests_are_counted_by_route(client):
    outputs(ask(client, changed()))
    assert 'hpi_requests_total{code="200",route="/v2/models/{name}/infer"}' in client.get("/metrics").text


def test_grpc_needs_one_process():
    from hpi.serving.run import serve

    common = {"host": "127.0.0.1", "port": 1, "json_logs": False}
    with pytest.raises(ConfigError, match="--grpc_port is served by one process"):
        serve("human_keypoint_detection_lite", {}, {}, grpc_port=2, workers=2, **common)
    with pytest.raises(ConfigError, match="both 1; give two different ones"):
        serve("human_keypoint_detection_lite", {}, {}, grpc_port=1, workers=1, **common)


def test_grpc_that_is_not_installed_is_an_error(monkeypatch):
    from hpi.serving.run import serve

    monkeypatch.setitem(sys.modules, "grpc", None)
    common = {"host": "127.0.0.1", "port": 1, "json_logs": False}
    with pytest.raises(ConfigError, match=r'pip install "hpi-pose\[grpc\]"'):
        serve("human_keypoint_detection_lite", {}, {}, grpc_port=2, workers=1, **common)
