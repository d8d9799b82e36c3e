"""Options that a caller gives to a runtime by its own names."""

import dataclasses

import numpy as np
import pytest

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import SessionOptions, Variant
from hpi.errors import BackendError

from support import ROUNDING, float_files, require

pytestmark = pytest.mark.long  # its slow cases run each night

POSE = "MoveNet-Thunder_256x256"

ACCEPTED = {
    "onnxruntime": {
        "session.intra_op.allow_spinning": "0",
        "session.set_denormal_as_zero": True,
        "graph_optimization_level": "ORT_ENABLE_BASIC",
        "inter_op_num_threads": 2,
        "enable_mem_pattern": False,
    },
    "openvino": {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "THROUGHPUT", "ENABLE_CPU_PINNING": False},
    "paddle": {"switch_ir_optim": True, "set_mkldnn_cache_capacity": 4, "delete_pass": "constant_folding_pass"},
}
REFUSED = [
    ("onnxruntime", {"session.intra_op.alow_spinning": "0"}, "did you mean 'session.intra_op.allow_spinning'"),
    ("onnxruntime", {"session.graph_optimization_level": "0"}, "write it as 'graph_optimization_level'"),
    ("onnxruntime", {"enable_mem_patern": False}, "did you mean 'enable_mem_pattern'"),
    ("onnxruntime", {"graph_optimization_level": "ORT_ENABLE_MOST"}, "known are ORT_DISABLE_ALL"),
    ("onnxruntime", {"graph_optimization_level": 99}, "known are ORT_DISABLE_ALL"),
    ("onnxruntime", {"inter_op_num_threads": "two"}, "refuses the option inter_op_num_threads='two'"),
    ("onnxruntime", {"add_session_config_entry": "x"}, "has no option 'add_session_config_entry'"),
    ("onnxruntime", {"intra_op_num_threads": 1}, "is set by threads="),
    ("onnxruntime", {"logid": ["a"]}, "must be a string, a number or a bool"),
    ("openvino", {"NUM_STREAMSS": 1}, "Unsupported property NUM_STREAMSS"),
    ("openvino", {"NUM_STREAMS": "many"}, "many"),
    ("openvino", {"FULL_DEVICE_NAME": "x"}, "Unsupported property FULL_DEVICE_NAME"),
    ("openvino", {"INFERENCE_PRECISION_HINT": "bf16"}, "is set by precision="),
    ("openvino", {"INFERENCE_NUM_THREADS": 1}, "is set by threads="),
    ("paddle", {"switch_ir_optimm": False}, "did you mean 'switch_ir_optim'"),
    ("paddle", {"summary": True}, "has no option 'summary'"),
    ("paddle", {"enable_profile": False}, "takes no argument"),
    ("paddle", {"delete_pass": 3}, "refuses the option delete_pass=3"),
    ("paddle", {"enable_use_gpu": 100}, "is set by device="),
    ("paddle", {"set_cpu_math_library_num_threads": 1}, "is set by threads="),
]


def asked(options, of_runtime):
    return dataclasses.replace(options, backend_options=of_runtime)


@pytest.mark.full
def test_accepted_options_are_noted_and_keep_the_results(backend, options, rng):
    batch = {"image": rng.standard_normal((2, 3, 256, 256), np.float32)}
    runtime, files = BACKENDS[backend], float_files(POSE)
    with runtime.load(files, options) as plain, runtime.load(files, asked(options, ACCEPTED[backend])) as session:
        for name, value in ACCEPTED[backend].items():
            assert any(note.startswith(f"{name}={value}") for note in session.info.notes)
            assert not any(name in note for note in plain.info.notes)
        assert np.abs(session.run(batch)[0] - plain.run(batch)[0]).max() < ROUNDING


@pytest.mark.parametrize(("name", "of_runtime", "said"), REFUSED, ids=lambda case: str(case)[:40])
def test_refused_options_name_what_is_wrong(name, of_runtime, said, options):
    require(name)
    with pytest.raises(BackendError, match=said) as error:
        BACKENDS[name].load(float_files(POSE), asked(options, of_runtime))
    assert next(iter(of_runtime)) in str(error.value)
    assert "\n" not in str(error.value)


def test_reserved_options_rule_a_runtime_out(options):
    reason = BACKENDS["onnxruntime"].unavailable(float_files(POSE), asked(options, {"intra_op_num_threads": 1}))
    assert reason == "its option 'intra_op_num_threads' is set by threads="


def test_a_runtime_that_takes_no_options_refuses_them(options, monkeypatch):
    monkeypatch.setattr(type(BACKENDS["onnxruntime"]), "takes_options", False)
    with pytest.raises(BackendError, match="takes no options of its own, got logid"):
        BACKENDS["onnxruntime"].load(float_files(POSE), asked(options, {"logid": "a"}))


@pytest.mark.full
def test_compiled_models_are_kept_by_their_options(tmp_path):
    require("openvino")
    options = SessionOptions(ArtifactCache(tmp_path), threads=2)
    for of_runtime, count in (({}, 1), ({"NUM_STREAMS": 2}, 2), ({"NUM_STREAMS": 2}, 2), ({}, 2)):
        BACKENDS["openvino"].load(float_files(POSE), asked(options, of_runtime)).close()
        assert [entry.kind for entry in options.artifacts.entries()].count("openvino") == count


@pytest.mark.full
def test_options_hold_for_every_batch_size(options):
    require("openvino")
    static = dataclasses.replace(asked(options, {"NUM_STREAMS": 2}), variant=Variant(profile="static"))
    with BACKENDS["openvino"].load(float_files(POSE), static) as session:
        session.run({"image": np.zeros((4, 3, 256, 256), np.float32)})
        engaged = {compiled.model.get_property("NUM_STREAMS") for compiled in session._compiled.values()}
        assert engaged == {2}
        assert len(session._compiled) == 2


def test_paddle_without_onednn_says_so(options):
    require("paddle")
    with BACKENDS["paddle"].load(float_files(POSE), asked(options, {"disable_mkldnn": True})) as session:
        assert session.info.notes == ("without oneDNN", "disable_mkldnn=True")


def test_options_enter_the_key_in_any_order(options):
    assert options.key == {}
    one, other = (asked(options, dict(pairs)).key for pairs in ((("a", 1), ("b", 2)), (("b", 2), ("a", 1))))
    assert one == other == {"options": '{"a": 1, "b": 2}'}
