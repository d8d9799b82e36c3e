"""The exported pipeline in a real Triton server: that of the package nvidia-pytriton, with the Python backend only.

HPI_TRITON names the Python of an environment with that package. Its server needs NumPy 1, which it takes from there;
everything else that the pipeline needs comes from the environment of the tests, which needs the same version of Python.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpi import Predictor
from hpi.export.triton.repository import Settings, export_triton

from pages import blocks
from support import EXAMPLE, HANGS_S, ROOT, free_port, run_python, wait_until

over_http = pytest.importorskip("tritonclient.http")
over_grpc = pytest.importorskip("tritonclient.grpc")
from tritonclient.utils import InferenceServerException  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.full]

PROTOCOLS = [over_http, over_grpc]
PIPELINE = "human_keypoint_detection_lite"
ABOUT = """
import ctypes, json, pathlib, pytriton, sys, sysconfig
try:
    ctypes.CDLL("libpython{}.{}.so.1.0".format(*sys.version_info))
    shared = True
except OSError:
    shared = False
print(json.dumps([sys.version_info[:2], shared, sysconfig.get_path("purelib"), sysconfig.get_config_var("LIBDIR"),
                  str(pathlib.Path(pytriton.__file__).parent)]))
"""
NATIVE_MODEL = '''
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """An ONNX file, run in the place of Triton's ONNX Runtime backend."""

    def initialize(self, args):
        folder = Path(args["model_repository"], args["model_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        names = [value.name for value in self.session.get_inputs()]
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in names}
        wanted = list(request.requested_output_names()) or None
        arrays = self.session.run(wanted, feeds)
        return triton.InferenceResponse([triton.Tensor(*pair) for pair in zip(wanted, arrays)])
'''


@dataclass(frozen=True)
class Server:
    """A running server."""

    http_port: int
    grpc_port: int
    log: Path

    def client(self, module):
        """A client over one of the protocols; one over HTTP is for one thread."""
        port = self.http_port if module is over_http else self.grpc_port
        return module.InferenceServerClient(f"127.0.0.1:{port}")


@pytest.fixture(scope="session")
def triton(tmp_path_factory):
    """A function that runs the server on a repository."""
    python = os.environ.get("HPI_TRITON")
    if not python:
        pytest.skip("HPI_TRITON names no Python with nvidia-pytriton")
    printed = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, check=True).stdout
    version, shared, packages, libraries, package = json.loads(printed.splitlines()[-1])
    if tuple(version) != sys.version_info[:2]:
        pytest.skip(f"HPI_TRITON has Python {version}, the tests have {sys.version_info[:2]}")
    if not shared:
        pytest.skip("Triton's Python backend needs Python as a shared library")
    server = Path(package) / "tritonserver"
    work = tmp_path_factory.mktemp("triton")
    shutil.copytree(server / "backends", work / "backends")  # with the stub of one Python, as pytriton does it
    shutil.copy(
        server / "python_backend_stubs" / "{}.{}".format(*version) / "triton_python_backend_stub",
        work / "backends" / "python",
    )
    # The stub takes its packages from the environment of the first python3 on PATH, whatever PYTHONPATH says.
    subprocess.run([python, "-m", "venv", "--without-pip", work / "env"], check=True)
    (site_packages,) = (work / "env").glob("lib/*/site-packages")
    (site_packages / "tests.pth").write_text(f"{packages}\n{ROOT}\n{sysconfig.get_path('purelib')}\n")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{packages}/nvidia_pytriton.libs:{libraries}",
        "PATH": f"{work / 'env' / 'bin'}:{os.environ['PATH']}",
    }

    @contextmanager
    def serve(repository):
        http, grpc = free_port(), free_port()
        log = work / f"{repository.name}.log"
        ports = [
            f"--http-port={http}",
            f"--grpc-port={grpc}",
            "--allow-metrics=false",
            "--disable-auto-complete-config",
            "--exit-timeout-secs=5",
        ]
        hosts = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]
        folders = [f"--model-repository={repository}", f"--backend-directory={work / 'backends'}"]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [server / "bin" / "tritonserver", *folders, *ports, *hosts],
                cwd=work, env=environment, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        try:
            running = Server(http, grpc, log)
            wait_until(lambda: process.poll() is not None or is_ready(running), f"the server; see {log}")
            assert process.poll() is None, log.read_text()[-4000:]
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(HANGS_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    return serve


def is_ready(server):
    try:
        with server.client(over_http) as client:
            return client.is_server_ready()
    except OSError:
        return False


@pytest.fixture(scope="session")
def expected():
    """What the pipeline finds in an image with a threshold."""
    with Predictor(PIPELINE, device="cpu") as predictor:
        yield lambda image, threshold=None: next(predictor.predict(image, threshold=threshold)).instances


@pytest.fixture(scope="module")
def own(triton, tmp_path_factory):
    """A server in which the pipeline runs its models itself."""
    repository = tmp_path_factory.mktemp("repository") / "own"
    export_triton(PIPELINE, repository, Settings(native=None))
    with triton(repository) as server:
        yield server


@pytest.fixture(scope="module")
def native(triton, tmp_path_factory):
    """A server that runs the models itself, in batches of requests; Python runs the ONNX files, as declared."""
    repository = tmp_path_factory.mktemp("repository") / "native"
    export_triton(PIPELINE, repository, Settings(max_batch=4))
    for config in repository.glob("*/config.pbtxt"):
        text = config.read_text()
        if 'backend: "onnxruntime"' in text:
            text = text.replace('"onnxruntime"', '"python"').replace('"model.onnx"', '"model.py"')
            config.write_text(text)
            (config.parent / "1" / "model.py").write_text(NATIVE_MODEL)
    with triton(repository) as server:
        yield server


def ask(client, module, threshold=None, **values):
    """The outputs for an image, given as ``image=`` or ``encoded=``, and a threshold."""
    given = {name: (value, "UINT8" if value.dtype == np.uint8 else "BYTES") for name, value in values.items()}
    if threshold is not None:
        given["threshold"] = np.float32([threshold]), "FP32"
    inputs = []
    for name, (value, kind) in given.items():
        inputs.append(module.InferInput(name, list(value.shape), kind))
        inputs[-1].set_data_from_numpy(value)
    answer = client.infer(PIPELINE, inputs)
    return {name: answer.as_numpy(name) for name in ("boxes", "scores", "keypoints")}


def assert_same(answer, people, pixels=0.1, scores=1e-3, sure_above=-1):
    """Of keypoints that the model is not sure of only the scores are compared."""
    assert answer["boxes"].shape == (len(people), 4)
    assert answer["keypoints"].shape == (len(people), 17, 3)
    np.testing.assert_allclose(answer["boxes"], people.boxes, atol=0.01)
    np.testing.assert_allclose(answer["scores"], people.scores, atol=1e-4)
    sure = people.keypoint_scores > sure_above
    np.testing.assert_allclose(answer["keypoints"][sure, :2], people.keypoints[sure], atol=pixels)
    np.testing.assert_allclose(answer["keypoints"][..., 2], people.keypoint_scores, atol=scores)


@pytest.mark.parametrize("module", PROTOCOLS)
def test_it_gives_the_pipelines_results(own, expected, module):
    image, nobody = cv2.imread(str(EXAMPLE)), np.zeros((64, 48, 3), np.uint8)
    with own.client(module) as client:
        assert_same(ask(client, module, image=image), expected(image))
        assert_same(ask(client, module, encoded=np.array([EXAMPLE.read_bytes()], dtype=object)), expected(image))
        assert_same(ask(client, module, image=image[:300, 50:].copy()), expected(image[:300, 50:]))
        assert_same(ask(client, module, image=image, threshold=0.8), expected(image, 0.8))
        assert_same(ask(client, module, image=nobody), expected(nobody))
    assert len(expected(nobody)) == 0


@pytest.mark.parametrize("module", PROTOCOLS)
def test_it_has_the_declared_tensors(own, module):
    with own.client(module) as client:
        metadata = client.get_model_metadata(PIPELINE, **({"as_json": True} if module is over_grpc else {}))
    shapes = {one["name"]: [int(side) for side in one["shape"]] for one in metadata["outputs"]}
    assert shapes == {"boxes": [-1, 4], "scores": [-1], "keypoints": [-1, 17, 3]}


@pytest.mark.parametrize("module", PROTOCOLS)
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"encoded": np.array([b"no image"], dtype=object)}, "the image"),
        ({"encoded": np.array([b""], dtype=object)}, "empty"),
        ({"encoded": np.array([EXAMPLE.read_bytes()[:5000]], dtype=object)}, "truncated"),
        ({"encoded": np.array([b"a", b"b"], dtype=object)}, "shape"),
        ({"image": np.zeros((4, 4, 4), np.uint8)}, "shape"),
        ({"image": np.zeros((4, 4), np.uint8)}, "shape"),
        ({"image": np.zeros((4, 4, 3), np.uint8), "encoded": np.array([b"a"], dtype=object)}, "give one of"),
        ({"image": np.zeros((4, 4, 3), np.uint8), "threshold": 2}, "from 0 to 1"),
        ({"image": np.zeros((4, 4, 3), np.uint8), "threshold": float("nan")}, "from 0 to 1"),
        ({"threshold": 0.5}, "give one of"),
    ],
)
def test_a_bad_input_is_an_error(own, module, values, says):
    with own.client(module) as client:
        with pytest.raises(InferenceServerException, match=says):
            ask(client, module, **values)
        assert client.is_model_ready(PIPELINE)


def test_the_service_answers_the_same(own, service):
    """The Open Inference Protocol on ``hpi serve``; there pixels and files have one name, and both types."""
    image = cv2.imread(str(EXAMPLE))
    file = np.array([EXAMPLE.read_bytes()], dtype=object)
    plain = over_http.InferenceServerClient(service.url.removeprefix("http://"))
    with plain as client, own.client(over_http) as triton:
        for name, value in (("image", image), ("encoded", file)):
            here = ask(client, over_http, image=value, threshold=0.3)
            there = ask(triton, over_http, **{name: value}, threshold=0.3)
            for output, array in there.items():
                np.testing.assert_allclose(here[output], array, atol=1e-3)


def test_the_client_of_the_documentation(own, expected, tmp_path):
    (client,) = (block.code for block in blocks(ROOT / "docs" / "how-to" / "triton.md") if block.language == "python")
    (tmp_path / "client.py").write_text(client.replace("127.0.0.1:8000", f"127.0.0.1:{own.http_port}"))
    done = run_python("client.py", EXAMPLE, cwd=tmp_path)
    people = expected(cv2.imread(str(EXAMPLE)))
    x, y = people.keypoints[0, 0]
    assert done.stdout == f"{len(people)} people, first nose at {x:.1f}, {y:.1f}\n", done.stderr


def test_native_models_are_called_with_several_requests_together(native, expected):
    image = cv2.imread(str(EXAMPLE))
    crops = [image[: 300 + 20 * step, 10 * step :].copy() for step in range(6)]

    def answer(row):
        module, crop = PROTOCOLS[row % 2], crops[row % len(crops)]
        file = np.array([[cv2.imencode(".png", crop)[1].tobytes()]], dtype=object)
        with native.client(module) as client:
            return ask(client, module, **({"encoded": file} if row % 3 == 0 else {"image": crop[None]}))

    answer(0)  # opens the pipeline, and validates the native models
    people = [expected(crop) for crop in crops]
    with ThreadPoolExecutor(6) as pool:
        for row, found in enumerate(pool.map(answer, range(18))):
            outputs = {name: value[0] for name, value in found.items()}
            # Another runtime changes the last bits of a box, and these which 1/32 of a pixel a crop is taken at.
            assert_same(outputs, people[row % len(crops)], pixels=0.5, scores=0.01, sure_above=0.3)
    with native.client(over_http) as client:
        with pytest.raises(InferenceServerException, match="one image a request"):
            ask(client, over_http, image=np.stack([image, image]))
        statistics = client.get_inference_statistics()["model_stats"]
    counts = {one["name"]: (one["inference_count"], one["execution_count"]) for one in statistics}
    assert counts[PIPELINE][0] > counts[PIPELINE][1]
    assert all(one["inference_stats"]["fail"]["count"] == 0 for one in statistics if one["name"] != PIPELINE)
