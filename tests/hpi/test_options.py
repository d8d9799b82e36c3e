"""The priority of levels, and the allowed values."""

import numpy as np
import pytest
import yaml

from hpi import BackendError, ConfigError, Predictor
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.cpu import usable_cores
from hpi.compat.paddlex.config import options_of, pipeline_text, read_pipeline
from hpi.options import MAX_BATCH_SIZE, MAX_THREADS, Options, Resolved, resolve
from hpi.zoo import Zoo

from support import assert_same_keypoints, missing_backend, quick_first

pytestmark = pytest.mark.long  # its slow cases run each night

LEVELS = ("argument", "module", "pipeline")
# For each option a value for each level, and the default.
TABLE = {
    "device": (("gpu:0", "gpu:1", "cpu"), "auto"),
    "backend": (("onnxruntime", "paddle", "openvino"), "auto"),
    "precision": (("fp32", "fp16", "bf16"), "fp32"),
    "objective": (("memory", "throughput", "latency"), "auto"),
    "max_p99_ms": ((5, 7, 9), None),
    "max_deviation_px": ((0.1, 0.2, 0.3), None),
    "max_ap_loss": ((0.5, 1, 2), None),
    "batches": ((1, 2), (4,), (8,)),
    "threads": ((1, 2, 3), None),
    "workers": ((1, 2, 3), None),
    "backend_options": (({"a": {}}, {"b": {}}, {"c": {}}), {}),
    "flip": ((False, True, True), False),
    "use_udp": ((False, True, True), None),
    "use_dark": ((False, True, True), None),
    "crop": (("paddlex", "paddledetection", "paddledetection"), None),
    "batch_size": ((4, 2, 8), 1),
    "threshold": ((0, 0.5, 0.9), None),
    "classes": ((["a"], ["b"], ["c"]), None),
}
TABLE["batches"] = (TABLE["batches"], None)


def test_the_table_has_every_option():
    assert set(TABLE) == set(Options.__dataclass_fields__)


@pytest.mark.parametrize("option", TABLE)
@pytest.mark.parametrize("saying", [(), (2,), (1,), (0,), (1, 2), (0, 2), (0, 1), (0, 1, 2)], ids=str)
def test_the_first_level_that_sets_an_option_wins(option, saying):
    values, default = TABLE[option]
    levels = [Options(**({option: values[level]} if level in saying else {})) for level in range(len(LEVELS))]
    assert getattr(resolve(*levels), option) == (values[saying[0]] if saying else default)


def test_without_levels_everything_has_its_default():
    assert resolve() == Resolved()


# The same through the Predictor: where each level is written, and what then runs.


def in_yaml(module, pipeline):
    content = yaml.safe_load(pipeline_text("human_keypoint_detection_lite"))
    content["SubModules"]["KeypointDetection"].update(module)
    return {**content, **pipeline}


def hpi_config(backend=None, threads=None):
    return {"hpi_config": {"backend": backend, "backend_config": {"cpu_num_threads": threads}}}


PREDICTORS = {
    "nothing said": ({}, {}, {}, {"threads": None}),
    "pipeline": ({}, {}, hpi_config("onnxruntime", 1), {"backend": "onnxruntime", "threads": 1}),
    "module": ({}, hpi_config("openvino", 2), hpi_config("onnxruntime", 1), {"backend": "openvino", "threads": 2}),
    "module in part": ({}, hpi_config("openvino"), hpi_config("onnxruntime", 1), {"backend": "openvino", "threads": 1}),
    "argument": (
        {"backend": "onnxruntime", "threads": 1},
        hpi_config("openvino", 2),
        hpi_config("paddle", 2),
        {"backend": "onnxruntime", "threads": 1},
    ),
    "engine": ({}, {}, {"engine": "onnxruntime"}, {"backend": "onnxruntime"}),
    "module's engine": ({}, {"engine": "onnxruntime"}, {"engine": "openvino"}, {"backend": "onnxruntime"}),
    "hpi_config argument": (
        hpi_config("onnxruntime"),
        {},
        hpi_config("openvino", 1),
        {"backend": "onnxruntime", "threads": None},
    ),
    "hpi_config below a module": (hpi_config("onnxruntime"), hpi_config("openvino"), {}, {"backend": "openvino"}),
    "flip of the module": ({}, {"flip": True}, {}, {"flip": True}),
    "flip of the argument": ({"flip": False}, {"flip": True}, {}, {"flip": False}),
}


@pytest.mark.full
@pytest.mark.parametrize("case", quick_first(PREDICTORS, 4))
def test_precedence_reaches_the_models(case, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    arguments, module, pipeline, expected = PREDICTORS[case]
    with Predictor("x", config=in_yaml(module, pipeline), **arguments) as predictor:
        (model,) = [one for one in predictor.describe()["models"] if one["task"] == "keypoint_detection"]
        if "backend" in expected:
            assert model["backend"] == expected["backend"]
        if expected.get("threads"):
            most = usable_cores() if model["backend"] == "openvino" else MAX_THREADS  # it takes no more than that
            assert model["threads"] == min(expected["threads"], most)
        assert predictor.pipelines[0].models[-1].options.flip == expected.get("flip", False)


def test_explicit_precision_outranks_the_configuration():
    configured = {"backend_config": {"precision": "fp16"}}
    with Predictor("MoveNet-Thunder_256x256", precision="fp32", hpi_config=configured) as predictor:
        assert predictor.describe()["models"][0]["precision"] == "fp32"


def test_explicit_auto_outranks_a_configured_backend():
    config = in_yaml({}, hpi_config("no_such_runtime"))
    with pytest.raises(ConfigError, match="no_such_runtime"):
        Predictor("x", config=config)
    with Predictor("x", config=config, backend="auto") as predictor:
        assert predictor.backend


@pytest.mark.full
def test_threshold_and_batch_size(image):
    config = in_yaml({}, {})
    config["SubModules"]["ObjectDetection"].update(threshold=1, batch_size=3)
    with Predictor("x", config=config) as predictor:
        assert (predictor.threshold, predictor.batch_size) == (1, 3)
        assert [len(result["boxes"]) for result in predictor.predict(image)] == [0]
    with Predictor("x", config=config, threshold=0.5, batch_size=2) as predictor:
        assert (predictor.threshold, predictor.batch_size) == (0.5, 2)
        assert [len(result["boxes"]) for result in predictor.predict(image)] == [2]
        assert [len(result["boxes"]) for result in predictor.predict(image, threshold=1)] == [0]


def test_batch_size_of_people_is_not_that_of_images():
    content = in_yaml({"batch_size": 8}, {})
    assert options_of(read_pipeline(content).modules.KeypointDetection).batch_size is None


def test_omp_num_threads_is_the_default_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime") as predictor:
        assert predictor.describe()["models"][0]["threads"] == 3
    with Predictor("MoveNet-Thunder_256x256", backend="onnxruntime", threads=2) as predictor:
        assert predictor.describe()["models"][0]["threads"] == 2


WRONG = [
    ("threads", 0),
    ("threads", MAX_THREADS + 1),
    ("threads", True),
    ("threads", 1.5),
    ("threads", "2"),
    ("batch_size", 0),
    ("batch_size", MAX_BATCH_SIZE + 1),
    ("batches", [1, 0]),
    ("threshold", 1.5),
    ("threshold", True),
    ("threshold", float("nan")),
    ("max_p99_ms", 0),
    ("max_deviation_px", "1"),
    ("flip", 1),
    ("use_udp", "no"),
    ("device", 0),
    ("backend", ["openvino"]),
    ("precision", 32),
    ("objective", True),
]


@pytest.mark.parametrize(("option", "value"), WRONG, ids=str)
def test_the_error_for_an_invalid_value_names_the_option(option, value):
    with pytest.raises(ConfigError, match=option):
        Options(**{option: value})


def test_whole_numbers_of_any_type_are_accepted():
    options = Options(threads=np.int64(2), batch_size=np.uint8(4), threshold=np.float32(0.5))
    assert (options.threads, options.batch_size, options.threshold) == (2, 4, 0.5)
    assert type(options.threads) is int


# Options of single runtimes


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "options", "note"),
    [
        ("onnxruntime", {"graph_optimization_level": "ORT_ENABLE_BASIC"}, "graph_optimization_level=ORT_ENABLE_BASIC"),
        ("openvino", {"NUM_STREAMS": 1}, "NUM_STREAMS=1"),
    ],
)
def test_a_runtime_s_own_options_reach_it(backend, options, note, image):
    if reason := missing_backend(backend):
        pytest.skip(reason)
    name = "MoveNet-Thunder_256x256"
    given = {backend: options, "paddle": {"switch_ir_optim": False}}
    with Predictor(name, backend=backend, backend_options=given) as mine, Predictor(name, backend=backend) as plain:
        (model,) = mine.describe()["models"]
        (found,), (expected,) = (one.predict(image) for one in (mine, plain))
    assert note in model["notes"]
    assert_same_keypoints(found.instances.points, expected.instances.points)


@pytest.mark.full
def test_with_options_a_runtime_is_not_its_own_reference(tmp_path, monkeypatch):
    """The parity gate compares it with the reference as it is without options."""
    options = {"onnxruntime": {"graph_optimization_level": "ORT_ENABLE_BASIC"}}
    name = "MoveNet-Thunder_256x256"
    known = {"model_dir": Zoo.default().find(name).folder, "backend": "onnxruntime"}
    monkeypatch.setenv("HPI_HOME", str(tmp_path))
    with Predictor(name, **known, backend_options=options, max_deviation_px=1) as predictor:
        assert predictor.backend == "onnxruntime"
    (entry,) = [one for one in ArtifactCache(tmp_path / "artifacts").entries() if one.kind == "parity"]
    assert "ORT_ENABLE_BASIC" in entry.key["options"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"openvinno": {}}, "unknown backend 'openvinno'"),
        ({"openvino": 5}, "backend_options has 'openvino': 5"),
        (["openvino"], "give the options of each runtime by its name"),
        ({"onnxruntime": {5: 1}}, "backend_options has 'onnxruntime'"),
    ],
)
def test_wrong_options_of_runtimes_are_refused(options, what):
    with pytest.raises(ConfigError, match=what):
        Predictor("MoveNet-Thunder_256x256", backend_options=options)


def test_an_option_that_a_runtime_does_not_know_is_an_error():
    with pytest.raises(BackendError, match="no_such_option"):
        Predictor(
            "MoveNet-Thunder_256x256", backend="onnxruntime", backend_options={"onnxruntime": {"no_such_option": 1}}
        )
