"""TensorRT: its real Python interface without its libraries, the rest on a fake, and what needs a GPU."""

import ast
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxconverter_common", reason="onnxconverter-common is not installed")

import cv2
import onnx

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, SessionOptions, TensorSpec
from hpi.backends.batches import CROPS
from hpi.backends.gpu import Gpu, gpu_count
from hpi.backends.tensorrt import TensorRT, TensorRTSession
from hpi.backends.tensorrt.batching import IMAGES, ONE, batch_range, bounds, bucket_of, checked_shape, split_batch
from hpi.backends.tensorrt.engine import engine_key, timings_name
from hpi.errors import BackendError
from hpi.models.readers import read_model
from hpi.selection.parity import reference_results, validate
from hpi.zoo import Zoo

from support import ROOT, ROUNDING, assert_same_detections, float_files, quick_first, require
from tensorrt_fake import FakeGpu, GpuArray, make_cupy, make_cupyx, make_tensorrt

pytestmark = pytest.mark.long  # its slow cases run each night

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
HERE = Path(__file__).parent
SOURCES = sorted((ROOT / "backends" / "tensorrt").glob("*.py"))
GPU = Gpu(0, "Fake 4090", 8.9, 12.8)
VARIANTS = TensorRT().variants()


# The real interface, without the libraries behind it.

CLASSES = {
    "builder": "Builder",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "optimization": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "severity": "ILogger.Severity",
    "stream": "cuda.Stream",
}
"""The class of the object that a variable in the source holds, by its name."""

CALLED_BACK = {
    "ILogger.log",
    "IProgressMonitor.phase_start",
    "IProgressMonitor.step_complete",
    "IProgressMonitor.phase_finish",
}
NOT_BY_A_VARIABLE = {"ParserError.desc", *CALLED_BACK}


def source_nodes():
    return (node for source in SOURCES for node in ast.walk(ast.parse(source.read_text())))


def used_names(package):
    """Dotted names of a package that the source uses, directly or through variables that hold its objects."""
    of_cupy = package == "cupy"
    names = set() if of_cupy else set(NOT_BY_A_VARIABLE)
    for node in source_nodes():
        if isinstance(node, ast.Attribute):
            owner, *path = dotted(node)
            owner = owner.lstrip("_")
            if owner == package:
                names.add(".".join(path))
            elif owner in CLASSES and (CLASSES[owner] == "cuda.Stream") == of_cupy:
                names.add(f"{CLASSES[owner]}.{path[0]}")
    return names


def used_calls():
    """Every call into TensorRT: the name, the number of positional arguments, and the names of the others."""
    calls = []
    for node in source_nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, *path = dotted(node.func)
            owner = owner.lstrip("_")
            starred = any(isinstance(argument, ast.Starred) for argument in node.args)
            if owner in {"trt", *CLASSES} - {"stream"} and not starred:
                name = ".".join(path if owner == "trt" else [CLASSES[owner], path[0]])
                calls.append((name, len(node.args), [keyword.arg for keyword in node.keywords]))
    return calls


def accepts(documented, count, keywords):
    """Whether a signature in a docstring of pybind11 fits a call; without any, the function is written in Python."""
    signatures = re.findall(r"^(?:\d+\. )?\w+\(self: [\w.]+(.*)\) -> ", documented, re.MULTILINE)
    for signature in signatures:
        parameters = re.findall(r", (\w+): ((?:\[[^]]*\]|[^,])*)", signature)
        names = [name for name, _ in parameters]
        required = [name for name, of_type in parameters if " = " not in of_type]
        given = {*names[:count], *keywords}
        if count <= len(names) and set(keywords) <= set(names) and set(required) <= given:
            return True
    return not signatures


def dotted(node):
    """The parts of ``a.b.c``, without ``self`` and everything up to the last call."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts += [node.id] if isinstance(node, ast.Name) else [""]
    parts.reverse()
    for start, part in enumerate(parts[:-1]):
        if part.lstrip("_") in {"trt", "cupy", *CLASSES}:
            return parts[start:]
    return parts


def bindings():
    """Folders with TensorRT's Python bindings of each generation."""
    named = os.environ.get("HPI_TENSORRT_BINDINGS", "")
    folders = [Path(folder) for folder in named.split(os.pathsep) if folder]
    here = importlib.util.find_spec("tensorrt_bindings")
    return folders + ([Path(here.origin).parent.parent] if here and here.origin else [])


LOOK_UP = """
import json, sys, tensorrt_bindings as trt
from functools import reduce
names = json.loads(sys.argv[1])
missing, documented = [], {}
for name in names:
    try:
        found = reduce(getattr, name.split("."), trt)
    except AttributeError:
        missing.append(name)
    else:
        documented[name] = (found.__init__ if isinstance(found, type) else found).__doc__ or ""
class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
    def log(self, severity, message):
        pass
class Progress(trt.IProgressMonitor):
    def __init__(self):
        super().__init__()
Log(), Progress()
json.dump({
    "version": trt.__version__,
    "missing": missing,
    "strongly_typed": 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
    "documented": documented,
    "hashable": trt.ILogger.Severity.ERROR in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR),
    "dtypes": [trt.nptype(one).__name__ for one in (trt.DataType.FLOAT, trt.DataType.INT64)],
}, sys.stdout)
"""


@pytest.mark.parametrize("folder", bindings() or [None], ids=lambda folder: folder.name if folder else "none")
def test_every_used_name_of_tensorrt_exists(folder, tmp_path):
    if folder is None:
        pytest.skip("needs tensorrt_cu12_bindings (10.x) or tensorrt_cu13_bindings (11.x), installed or in a folder of "
                    "HPI_TENSORRT_BINDINGS")  # fmt: skip
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler, cc")
    (library,) = (folder / "tensorrt_bindings").glob("tensorrt*.so")
    wanted = set(re.findall(rb"lib(?:nvinfer|nvinfer_plugin|nvonnxparser)\.so\.\d+", library.read_bytes()))
    assert len(wanted) == 3
    for name in wanted:
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", tmp_path / name.decode(), HERE / "tensorrt_stub.c"], check=True
        )
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(np.__file__).parent.parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP, json.dumps(sorted(used_names("trt")))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == [], found["version"]
    calls = used_calls()
    assert ("IBuilderConfig.set_timing_cache", 1, ["ignore_mismatch"]) in calls
    for name, count, keywords in calls:
        assert accepts(found["documented"][name], count, keywords), (name, count, keywords, found["version"])
    assert found["hashable"]
    assert found["dtypes"] == ["float32", "int64"]
    # 11 ignores it: there is no other way any more.
    assert found["strongly_typed"] == (2 if found["version"].startswith("10.") else 1)


@pytest.mark.parametrize(
    ("count", "keywords", "fits"),
    [
        (1, ["two"], True),
        (2, [], True),
        (2, ["three"], True),
        (1, [], False),
        (4, [], False),
        (2, ["four"], False),
    ],
)
def test_calls_are_checked_against_documented_signatures(count, keywords, fits):
    documented = "call(self: a.B, one: tuple[int, int], two: a.C, three: str = None) -> bool\n\n Calls."
    assert accepts(documented, count, keywords) == fits


def test_names_used_of_tensorrt_are_collected():
    """The walk over the source relies on variables named after what they hold."""
    names = used_names("trt")
    assert {"Builder", "BuilderFlag.TF32", "ICudaEngine.get_tensor_shape", "Builder.create_network"} <= names
    assert {"IExecutionContext.execute_async_v3", "ILogger.Severity.ERROR", "ITimingCache.serialize"} <= names
    assert {name.split(".")[0] for name in names} >= {of_class.split(".")[0] for of_class in CLASSES.values()} - {
        "cuda"
    }


def test_every_used_name_of_cupy_exists():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    names = used_names("cupy")
    assert {"cuda.Stream", "cuda.Stream.begin_capture", "zeros"} <= names
    for name in names:
        owner = cupy
        for part in name.split("."):
            assert hasattr(owner, part) or f".{part} " in owner.__doc__, name  # an attribute of objects only
            owner = getattr(owner, part, None)
    assert importlib.util.find_spec("cupyx")


# What is decided without a GPU.


def spec_of(*shape, name="image"):
    return TensorSpec(name, np.dtype(np.float32), shape)


def test_batch_sizes_follow_from_the_inputs():
    assert batch_range([spec_of(None, 3, 4, 4)], has_nms=False) == CROPS
    assert batch_range([spec_of(None, 3, 4, 4), spec_of(None, 2)], has_nms=True) == IMAGES
    assert batch_range([spec_of(None, 3, 4, 4), spec_of(1, 2)], has_nms=True) == ONE
    with pytest.raises(BackendError, match="fixed dimensions"):
        batch_range([spec_of(None, 3, None, 4)], has_nms=False)


def test_bounds_are_given_for_free_batches_only():
    inputs = [spec_of(None, 3, 4, 4), spec_of(1, 2, name="scale_factor")]
    assert bounds(inputs, CROPS) == {"image": ((1, 3, 4, 4), (8, 3, 4, 4), (32, 3, 4, 4))}


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(1, 32, [1]), (33, 32, [32, 1]), (64, 32, [32, 32]), (3, 1, [1] * 3)]
)
def test_a_batch_is_split_at_the_most(count, most, sizes):
    assert split_batch(count, most) == sizes


def test_a_batch_is_padded_to_a_power_of_two():
    assert [bucket_of(count) for count in (1, 2, 3, 4, 5, 9, 17, 32)] == [1, 2, 4, 4, 8, 16, 32, 32]


def test_buffer_shape_must_be_known_and_batch_first():
    assert checked_shape("boxes", (4, 100, 4), 4) == (4, 100, 4)
    for shape in [(4, -1, 4), (1, 100, 4), ()]:
        with pytest.raises(BackendError, match="batch of 4"):
            checked_shape("boxes", shape, 4)


def test_engine_key_covers_everything_it_depends_on(home):
    graph = float_files(POSE).onnx

    def asked(variant, **of_builder):
        return SessionOptions(ArtifactCache(home), variant=VARIANTS[variant], backend_options=of_builder)

    keys = [
        engine_key(POSE, graph, asked(0), CROPS, GPU, "10.13"),
        engine_key("other", graph, asked(0), CROPS, GPU, "10.13"),
        engine_key(POSE, float_files(DETECTOR).onnx, asked(0), CROPS, GPU, "10.13"),
        engine_key(POSE, graph, asked(1), CROPS, GPU, "10.13"),
        engine_key(POSE, graph, asked(2), CROPS, GPU, "10.13"),
        engine_key(POSE, graph, asked(0), IMAGES, GPU, "10.13"),
        engine_key(POSE, graph, asked(0), CROPS, GPU, "11.0"),
        engine_key(POSE, graph, asked(0, builder_optimization_level=5), CROPS, GPU, "10.13"),
        *(
            engine_key(POSE, graph, asked(0), CROPS, replace(GPU, **other), "10.13")
            for other in ({"name": "T4"}, {"compute_capability": 7.5}, {"cuda": 13.0})
        ),
    ]
    assert len({json.dumps(key) for key in keys}) == len(keys)
    assert re.fullmatch(r"\w+", timings_name(GPU, "10.13.0.35"))


def test_the_safest_variant_comes_first():
    assert [str(variant) for variant in VARIANTS] == ["fp32", "fp16 mixed", "fp16"]


def test_missing_packages_are_named(monkeypatch, options):
    files, on_gpu = float_files(POSE), replace(options, device="gpu:0")
    monkeypatch.setattr("hpi.backends.base.is_installed", lambda _: True)
    monkeypatch.setattr("hpi.backends.tensorrt.is_installed", lambda package: package == "onnx")
    assert "cupy, onnxconverter_common" in TensorRT().unavailable(files, on_gpu)
    monkeypatch.setattr("hpi.backends.tensorrt.is_installed", lambda _: True)
    assert TensorRT().unavailable(files, on_gpu) is None
    assert "'cpu'" in TensorRT().unavailable(files, options)


# Sessions on the fake.


@pytest.fixture
def fake_gpu(monkeypatch):
    """A fake GPU, with fake packages that use it."""
    fake_gpu = FakeGpu()
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(fake_gpu))
    monkeypatch.setitem(sys.modules, "cupy", make_cupy(fake_gpu))
    monkeypatch.setitem(sys.modules, "cupyx", make_cupyx())
    monkeypatch.setattr("hpi.backends.tensorrt.session.gpu_of", lambda _: GPU)
    return fake_gpu


@pytest.fixture
def prepared_on_the_host(fake_gpu, monkeypatch):
    """There is no fake of CUDA kernels."""
    monkeypatch.setattr(TensorRTSession, "accepts_gpu_arrays", False)


@pytest.fixture
def on_gpu(tmp_path):
    return SessionOptions(ArtifactCache(tmp_path / "artifacts"), device="gpu:0", threads=2)


@pytest.fixture(scope="module")
def reference(home):
    """ONNX Runtime's sessions of the bundled models."""
    options = SessionOptions(ArtifactCache(home / "artifacts"), threads=2)
    loaded = {name: BACKENDS["onnxruntime"].load(float_files(name), options) for name in (POSE, DETECTOR)}
    yield loaded
    for session in loaded.values():
        session.close()


def load(options, name=POSE, variant=VARIANTS[0]):
    return TensorRT().load(float_files(name), replace(options, variant=variant))


def crops(rng, count):
    return {"image": rng.standard_normal((count, 3, 256, 256), np.float32)}


def views(image, count):
    """Crops of an image of people, as the detector takes them."""
    starts = [40 * index for index in range(count)]
    images = [cv2.resize(image[:, start : start + 320], (416, 416)) for start in starts]
    batch = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 64 - 2
    return {"image": np.ascontiguousarray(batch), "scale_factor": np.full((count, 2), 416 / 320, np.float32)}


@pytest.mark.full
@pytest.mark.parametrize("many", quick_first([2, 34]))
def test_every_batch_size_matches_the_reference(fake_gpu, on_gpu, reference, rng, caplog, many):
    """Set up, captured and replayed; padded and split."""
    with load(on_gpu) as session:
        for count in (3, 4, 1, 3, many, 2, 1):
            feeds = crops(rng, count)
            (found,) = session.run(feeds)
            assert np.abs(found - reference[POSE].run(feeds)[0]).max() < ROUNDING
        assert session.split(34) == [32, 2]
        assert not fake_gpu.current.waiting  # on the caller's own stream, which nobody here waits for
        assert len(fake_gpu.launched) == 4  # the second 3 and 4, the second 2 and the second 1
        info = session.info
    assert (info.backend, info.device, info.version, str(info.variant)) == ("tensorrt", "gpu:0", "11.0.0", "fp32")
    assert [(of_input.name, of_input.shape) for of_input in info.inputs] == [("image", (None, 3, 256, 256))]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_nan_scores_are_an_error(fake_gpu, on_gpu, image):
    with load(on_gpu, DETECTOR) as session:
        feeds = views(image, 2)
        feeds["image"][1] = np.nan
        with pytest.raises(BackendError, match=r"inference\.onnx on tensorrt failed: its scores are NaN"):
            session.run(feeds)
        assert session.run(views(image, 2))[1].all()


def test_outputs_survive_the_next_run(fake_gpu, on_gpu, rng):
    with load(on_gpu) as session:
        first, second = crops(rng, 2), crops(rng, 2)
        (kept,) = session.run(first)
        before = kept.copy()
        session.run(second)
        assert np.array_equal(kept, before)


@pytest.mark.full
def test_gpu_arrays_stay_on_the_gpu(fake_gpu, on_gpu, reference, rng):
    """The run comes after what the caller has enqueued on its stream, and before what it enqueues next."""
    with load(on_gpu) as session:
        for count in (2, 2, 3):
            feeds = crops(rng, count)
            given = GpuArray(fake_gpu, np.zeros_like(feeds["image"]))
            given[:] = GpuArray(fake_gpu, feeds["image"])
            (found,) = session.run({"image": given})
            assert isinstance(found, GpuArray)
            assert np.abs(found.get() - reference[POSE].run(feeds)[0]).max() < ROUNDING


@pytest.mark.full
def test_detector_returns_the_boxes_of_its_whole_graph(fake_gpu, on_gpu, reference, image):
    with load(on_gpu, DETECTOR) as session:
        assert session.info.outputs == reference[DETECTOR].info.outputs
        for count in (1, 3, 9):
            feeds = views(image, count)
            found = session.run(feeds)
            assert len(found[0]) > count
            assert_same_detections(found, reference[DETECTOR].run(feeds))
        feeds = views(image, 2)
        found = session.run({name: GpuArray(fake_gpu, feed) for name, feed in feeds.items()})
        for from_gpu, from_host in zip(found, session.run(feeds), strict=True):
            assert np.array_equal(from_gpu, from_host)
    graph, config = fake_gpu.built[0]
    assert "NonMaxSuppression" not in {node.op_type for node in onnx.ModelProto.FromString(graph).graph.node}
    assert config.profiles[0]["scale_factor"] == ((1, 2), (1, 2), (8, 2))


def test_nms_that_cannot_be_cut_is_refused_before_an_engine_is_built(fake_gpu, on_gpu, shared):
    files = read_model(shared / "models" / "RTMDet-nano_person_320").files
    with pytest.raises(BackendError, match="which its NonMaxSuppression decides"):
        BACKENDS["tensorrt"].load(files, on_gpu)
    assert not fake_gpu.built


@pytest.mark.parametrize("variant", quick_first(VARIANTS, 1), ids=str)
def test_engine_is_built_in_the_requested_precision(fake_gpu, on_gpu, variant):
    with load(on_gpu, variant=variant) as session:
        assert session.info.variant == variant
    graph, config = fake_gpu.built[0]
    model = onnx.ModelProto.FromString(graph).graph
    types = {tensor.name: tensor.data_type for tensor in model.initializer}
    weights = [types[node.input[1]] for node in model.node if node.op_type == "Conv"]
    half = weights.count(onnx.TensorProto.FLOAT16) / len(weights)
    assert half == pytest.approx({"fp32": 0, "fp16 mixed": 0.75, "fp16": 1}[str(variant)], abs=0.01)
    assert {value.type.tensor_type.elem_type for value in model.input} == {onnx.TensorProto.FLOAT}
    assert config.cleared == ["tf32"]
    assert config.profiles == [{"image": ((1, 3, 256, 256), (8, 3, 256, 256), (32, 3, 256, 256))}]


@pytest.mark.parametrize(
    ("name", "variant"), quick_first((name, variant) for name in (DETECTOR, POSE) for variant in VARIANTS), ids=str
)
def test_every_variant_passes_the_parity_gate(prepared_on_the_host, on_gpu, reference, name, variant):
    spec = Zoo.default().find(name)
    expected = reference_results(spec, reference[name], "fp32")
    with load(on_gpu, name, variant) as session:
        verdict = validate(spec, session, expected)
    assert verdict.passed, verdict.summary


@pytest.mark.full
@pytest.mark.parametrize("name", ["PP-TinyPose_128x96", "PicoDet-S_pedestrian_320"])
def test_official_models_pass_the_parity_gate(prepared_on_the_host, on_gpu, options, shared, name):
    """Their graphs come from paddle2onnx, with outputs that other nodes read and shapes computed inside."""
    require("paddle2onnx")
    spec = read_model(shared / "models" / name)
    with BACKENDS["onnxruntime"].load(spec.files, options) as trusted:
        expected = reference_results(spec, trusted, "fp32")
    with TensorRT().load(spec.files, replace(on_gpu, artifacts=options.artifacts, variant=VARIANTS[1])) as session:
        verdict = validate(spec, session, expected)
    assert verdict.passed, verdict.summary


@pytest.mark.full
def test_an_engine_is_built_once(fake_gpu, on_gpu, caplog):
    with caplog.at_level(logging.INFO, "hpi.backends.tensorrt"):
        for _ in range(2):
            load(on_gpu).close()
    assert len(fake_gpu.built) == 1
    assert 2 <= len(caplog.records) <= 4
    (entry,) = on_gpu.artifacts.entries()
    assert (entry.kind, entry.key["variant"], entry.key["gpu"]) == ("tensorrt", "fp32", GPU.name)
    load(on_gpu, variant=VARIANTS[2]).close()
    assert [config.timings for _, config in fake_gpu.built] == [b"", b"TIMINGS"]


def test_damaged_timings_start_empty(fake_gpu, on_gpu):
    timings = on_gpu.artifacts.root / "tensorrt" / timings_name(GPU, "11.0.0")
    timings.parent.mkdir(parents=True)
    timings.write_bytes(b"damaged")
    load(on_gpu).close()
    assert timings.read_bytes() == b"TIMINGS"


def test_unwritable_timings_are_not_fatal(fake_gpu, on_gpu, caplog):
    timings = on_gpu.artifacts.root / "tensorrt" / timings_name(GPU, "11.0.0")
    timings.mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        load(on_gpu).close()
    assert "cannot be kept" in caplog.text


def test_incompatible_engine_is_rebuilt_once(fake_gpu, on_gpu, rng, caplog):
    load(on_gpu).close()
    (entry,) = on_gpu.artifacts.entries()
    on_gpu.artifacts.discard(entry.folder / "model.engine")
    on_gpu.artifacts.get(
        "tensorrt", entry.key, "model.engine", lambda target: target.write_bytes(b"of another version")
    )
    with load(on_gpu) as session:
        session.run(crops(rng, 1))
    assert len(fake_gpu.built) == 2
    assert "incompatible engine, rebuilding" in caplog.text
    assert "not compatible" in caplog.text
    fake_gpu.refuses = lambda _: True
    with pytest.raises(BackendError, match=r"even after a rebuild; TensorRT says: .*not compatible"):
        load(on_gpu)
    assert len(fake_gpu.built) == 3


def test_options_are_attributes_of_the_builder_config(fake_gpu, on_gpu):
    options = replace(on_gpu, backend_options={"builder_optimization_level": 5, "profiling_verbosity": "DETAILED"})
    with load(options) as session:
        assert session.info.notes == ("builder_optimization_level=5", "profiling_verbosity=DETAILED")
    load(on_gpu).close()
    (_, config), (_, default) = fake_gpu.built
    assert (config.builder_optimization_level, default.builder_optimization_level) == (5, 3)
    assert config.profiling_verbosity.name == "DETAILED"
    assert len(on_gpu.artifacts.entries()) == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("builder_optimisation_level", 5, "did you mean 'builder_optimization_level'"),
        ("builder_optimization_level", 99, "it stays at 3"),
        ("builder_optimization_level", "high", "builder_optimization_level='high'"),
        ("profiling_verbosity", "LOUD", "known are LAYER_NAMES_ONLY, DETAILED"),
        ("flags", 1, "set by precision="),
        ("builder_optimization_level", [5], "must be a string, a number or a bool"),
    ],
)
def test_wrong_options_are_refused(fake_gpu, on_gpu, name, value, said):
    with pytest.raises(BackendError, match=said):
        load(replace(on_gpu, backend_options={name: value}))
    assert on_gpu.artifacts.entries() == []


def test_failed_build_names_the_reason(fake_gpu, on_gpu):
    fake_gpu.fails = {"build": True}
    with pytest.raises(BackendError, match=r"MoveNet.*cannot build.*no memory for the tactics"):
        load(on_gpu)
    assert on_gpu.artifacts.entries() == []


def test_unreadable_graph_names_the_reason(fake_gpu, on_gpu, monkeypatch):
    monkeypatch.setattr("hpi.backends.tensorrt.session.with_precision", lambda *_: onnx.ModelProto())
    with pytest.raises(BackendError, match=r"cannot read the graph: .*UNSUPPORTED_NODE"):
        load(on_gpu)


def test_any_exception_of_tensorrt_becomes_a_backend_error(fake_gpu, on_gpu):
    sys.modules["tensorrt"].Builder = None
    with pytest.raises(BackendError, match=r"tensorrt cannot load .*inference\.onnx"):
        load(on_gpu)


def test_failed_run_names_the_reason_and_the_session_survives(fake_gpu, on_gpu, reference, rng):
    feeds = crops(rng, 2)
    with load(on_gpu) as session:
        fake_gpu.fails = {"execute": True}
        with pytest.raises(BackendError, match="illegal memory access"):
            session.run(feeds)
        fake_gpu.fails = {}
        assert np.abs(session.run(feeds)[0] - reference[POSE].run(feeds)[0]).max() < ROUNDING


def test_lack_of_gpu_memory_is_named(fake_gpu, on_gpu, rng):
    fake_gpu.fails = {"memory": True}
    with load(on_gpu) as session, pytest.raises(BackendError, match="lack of GPU memory"):
        session.run(crops(rng, 1))


@pytest.mark.full
@pytest.mark.parametrize("step", quick_first(["begin_capture", "end_capture"], 1))
def test_without_cuda_graphs_it_warns_once_and_runs(fake_gpu, on_gpu, reference, rng, caplog, step):
    fake_gpu.fails = {step: True}
    with load(on_gpu) as session:
        for count in (1, 1, 2, 2):
            feeds = crops(rng, count)
            assert np.abs(session.run(feeds)[0] - reference[POSE].run(feeds)[0]).max() < ROUNDING
    assert caplog.text.count("without CUDA graphs") == 1
    assert not fake_gpu.launched


@pytest.mark.full
def test_sessions_are_thread_safe(fake_gpu, on_gpu, reference, rng):
    batches = [crops(rng, count) for count in (1, 3, 2, 4)]
    expected = [reference[POSE].run(feeds)[0] for feeds in batches]
    with load(on_gpu) as session, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda feeds: session.run(feeds)[0], batches * 2))
    for ours, theirs in zip(found, expected * 2, strict=True):
        assert np.abs(ours - theirs).max() < ROUNDING


def test_a_closed_session_says_so(fake_gpu, on_gpu, rng):
    session = load(on_gpu)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(crops(rng, 1))


def test_fixed_batch_of_one_runs_item_by_item(fake_gpu, on_gpu, tmp_path):
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, tensor, [1, 3]) for name in ("image", "out")]
    graph = helper.make_graph([helper.make_node("Neg", ["image"], ["out"])], "graph", values[:1], values[1:])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    feeds = {"image": np.arange(6, dtype=np.float32).reshape(2, 3)}
    with TensorRT().load(ModelFiles("negated", onnx=path), on_gpu) as session:
        assert np.array_equal(session.run(feeds)[0], -feeds["image"])
    assert fake_gpu.built[0][1].profiles == []


# On a real GPU.

needs_gpu = pytest.mark.skipif(
    not (gpu_count() and importlib.util.find_spec("tensorrt")), reason="needs an NVIDIA GPU, CuPy and TensorRT"
)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", [POSE, DETECTOR])
def test_gpu_passes_the_parity_gate_in_every_variant(options, reference, name, variant):
    spec = Zoo.default().find(name)
    expected = reference_results(spec, reference[name], "fp32")
    with load(replace(options, device="gpu:0"), name, variant) as session:
        verdict = validate(spec, session, expected)
    assert verdict.passed, verdict.summary


@pytest.mark.gpu
@needs_gpu
def test_gpu_replays_batches_from_cuda_graphs(options, reference, rng, caplog):
    import cupy

    with load(replace(options, device="gpu:0")) as session:
        for count in (1, 1, 3, 4, 33, 1):
            feeds = crops(rng, count)
            expected = reference[POSE].run(feeds)[0]
            assert np.abs(session.run(feeds)[0] - expected).max() < 1e-3
            (found,) = session.run({"image": cupy.asarray(feeds["image"])})
            assert np.abs(cupy.asnumpy(found) - expected).max() < 1e-3
    assert "without CUDA graphs" not in caplog.text


@pytest.mark.gpu
@needs_gpu
def test_gpu_engine_is_kept(options, monkeypatch):
    on_gpu = replace(options, device="gpu:0")
    load(on_gpu).close()
    monkeypatch.setattr("hpi.backends.tensorrt.session.build_engine", None)
    load(on_gpu).close()
