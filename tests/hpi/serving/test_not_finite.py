"""A model that returns NaN for one image: only the request of that image fails."""

import base64
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import httpx
import numpy as np
import pytest
import yaml

from hpi.zoo import Zoo

from support import EXAMPLE, HANGS_S, ROOT

onnx = pytest.importorskip("onnx")
pytest.importorskip("fastapi")

DETECTOR = "PicoDet-S_person_416"


@pytest.fixture(scope="module")
def nan_service(start_service, tmp_path_factory):
    """The bundled pipeline, whose detector returns NaN for images with a white corner."""
    folder = tmp_path_factory.mktemp("nan")
    source = Zoo.default().find(DETECTOR).folder
    shutil.copy(source / "inference.yml", folder)
    model = onnx.load(str(source / "inference.onnx"))
    rows = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["rows" if name == rows else name for name in node.output]
    constants = {"bright": np.float32(2), "bad": np.float32(np.nan), "good": np.float32(1)}
    places = {"start": [0, 0], "end": [4, 4], "axes": [2, 3]}
    for name, value in {**constants, **places}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    for kind, inputs, output, attributes in (
        ("Slice", ["image", "start", "end", "axes"], "corner", {}),
        ("ReduceMin", ["corner"], "least", {"keepdims": 0}),
        ("Less", ["least", "bright"], "dark", {}),
        ("Where", ["dark", "good", "bad"], "factor", {}),
        ("Mul", ["rows", "factor"], rows, {}),
    ):
        model.graph.node.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
    onnx.save(model, str(folder / "inference.onnx"))
    config = yaml.safe_load((ROOT / "configs" / "pipelines" / "human_keypoint_detection_lite.yaml").read_text())
    config["SubModules"]["ObjectDetection"] |= {"model_dir": str(folder)}
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(config))
    options = ("--pipeline", str(folder / "pipeline.yaml"), "--backend", "onnxruntime")
    return start_service(*options, "--max_wait_ms", "500")


@pytest.mark.full
def test_only_that_image_fails(nan_service):
    image = cv2.imread(str(EXAMPLE))
    image[:40, :40] = 255
    marked = cv2.imencode(".png", image)[1].tobytes()
    images = [EXAMPLE.read_bytes(), marked, EXAMPLE.read_bytes(), marked]

    def send(image):
        body = {"image": base64.b64encode(image).decode(), "visualize": False}
        return httpx.post(nan_service.route, json=body, timeout=HANGS_S)

    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(send, images))
    assert [answer.status_code for answer in answers] == [200, 500, 200, 500]
    for answer in answers:
        content = json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in the answer"))
        assert content["errorCode"] == (0 if answer.status_code == 200 else 500)
    assert len(answers[0].json()["result"]["persons"]) == 2
    assert "NaN or infinity" in nan_service.log.read_text()
