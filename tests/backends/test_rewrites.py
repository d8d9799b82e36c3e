"""Graphs rewritten for a runtime, against the graphs as they were exported."""

import dataclasses
import functools
import json
import logging

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import cv2
import onnx
from hypothesis import given
from hypothesis import strategies as st

from hpi.backends import BACKENDS
from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import ModelFiles, SessionOptions, Variant
from hpi.backends.graph import read_graph, rewrites
from hpi.backends.graph.hard_swish import fuse_hard_swish
from hpi.backends.graph.matrix_vector import multiply_by_columns
from hpi.backends.graph.outputs import drop_outputs
from hpi.backends.graph.rewrites import HARD_SWISH, MATRIX_VECTOR, UNREAD_OUTPUTS, Rewrite, rewritten
from hpi.backends.paddle_to_onnx import ensure_onnx
from hpi.models.readers import read_model
from hpi.selection.choice import choose
from hpi.selection.loading import open_with_verdict
from hpi.selection.priors import Priors
from hpi.selection.ranking import Candidate, Request
from hpi.zoo import Zoo

from support import ROUNDING, assert_same_detections, float_files, quick_first, require, run_python

pytestmark = pytest.mark.long  # its slow cases run each night

DETECTOR = "PicoDet-S_person_416"
SIX = "0.16666667"
CONSTANTS = f"float three = {{3}}, float[1] zero = {{0}}, float[1] six = {{6}}, float sixth = {{{SIX}}}"
SWISHES = {
    "paddle2onnx": f"s = HardSigmoid <alpha = {SIX}, beta = 0.5> (IN) OUT = Mul(IN, s)",
    "paddle2onnx, other order": f"s = HardSigmoid <alpha = {SIX}> (IN) OUT = Mul(s, IN)",
    "divided at the end": "a = Add(IN, three) c = Clip(a, zero, six) p = Mul(IN, c) OUT = Div(p, six)",
    "divided before": "a = Add(three, IN) c = Clip(a, zero, six) d = Div(c, six) OUT = Mul(d, IN)",
    "multiplied at the end": "a = Add(IN, three) c = Clip(a, zero, six) p = Mul(c, IN) OUT = Mul(sixth, p)",
    "multiplied before": "a = Add(IN, three) c = Clip(a, zero, six) d = Mul(c, sixth) OUT = Mul(IN, d)",
}
OTHERS = {
    "another slope": "s = HardSigmoid <alpha = 0.2> (x) y = Mul(x, s)",
    "another offset": f"s = HardSigmoid <alpha = {SIX}, beta = 0.4> (x) y = Mul(x, s)",
    "a gate of something else": f"z = Abs(x) s = HardSigmoid <alpha = {SIX}> (z) y = Mul(x, s)",
    "not divided": "a = Add(x, three) c = Clip(a, zero, six) y = Mul(x, c)",
    "open above": "a = Add(x, three) c = Clip(a, zero) p = Mul(x, c) y = Div(p, six)",
    "a limit that is computed": "a = Add(x, three) n = Abs(six) c = Clip(a, zero, n) p = Mul(x, c) y = Div(p, six)",
    "a constant divided": "a = Add(x, three) c = Clip(a, zero, six) p = Mul(x, c) y = Div(six, p)",
    "nothing of it": "y = Relu(x)",
}


def parse(body, opset=13, inputs="float[N, 5] x", outputs="float[N, 5] y", constants=CONSTANTS):
    """A graph as :func:`read_graph` returns it: every node has a name."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) <{constants}> {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for index, node in enumerate(model.graph.node):
        node.name = f"node.{index}"
    return model


def run(model, feeds):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def operators(model):
    return [node.op_type for node in model.graph.node]


def assert_same_results(model, other, feeds):
    """Within eight roundings of float32, relative to the largest value on the way."""
    for expected, found in zip(run(model, feeds), run(other, feeds), strict=True):
        largest = max(np.abs(feed).max() for feed in feeds.values()) ** 2 + 1
        assert expected.dtype == found.dtype
        assert np.abs(expected - found).max() <= 8 * largest * np.finfo(np.float32).eps


def test_hard_swish_is_found_in_every_spelling(rng):
    feeds = {"x": (rng.standard_normal((7, 5)) * 4).astype(np.float32)}
    for what, body in SWISHES.items():
        model = parse(body.replace("IN", "x").replace("OUT", "y"))
        before = model.SerializeToString()
        fused, count = fuse_hard_swish(model)
        assert (operators(fused), count) == (["HardSwish"], 1), what
        assert not fused.graph.initializer
        assert model.SerializeToString() == before
        onnx.checker.check_model(fused, full_check=True)
        assert_same_results(model, fused, feeds)


def test_what_is_not_hard_swish_stays_as_it_is():
    for what, body in OTHERS.items():
        model = parse(body)
        assert fuse_hard_swish(model) == (model, 0), what


@pytest.mark.parametrize(("operator", "with_what"), [("Mul", "x"), ("Div", "six")])
def test_what_follows_a_hard_swish_stays(operator, with_what, rng):
    body = SWISHES["divided at the end"].replace("IN", "x").replace("OUT", "z")
    model = parse(f"{body} y = {operator}(z, {with_what})")
    fused, count = fuse_hard_swish(model)
    assert (operators(fused), count) == (["HardSwish", operator], 1)
    assert_same_results(model, fused, {"x": rng.standard_normal((3, 5)).astype(np.float32)})


def test_what_others_read_of_a_hard_swish_is_kept(rng):
    body = SWISHES["paddle2onnx"].replace("IN", "x").replace("OUT", "y") + " z = Relu(s)"
    model = parse(body, outputs="float[N, 5] y, float[N, 5] z")
    fused, count = fuse_hard_swish(model)
    assert (operators(fused), count) == (["HardSigmoid", "HardSwish", "Relu"], 1)
    assert_same_results(model, fused, {"x": rng.standard_normal((3, 5)).astype(np.float32)})


def test_relu6_of_old_opsets_is_raised(rng):
    """There the limits of Clip are attributes."""
    body = "a = Add(x, three) c = Clip <min = 0.0, max = 6.0> (a) p = Mul(x, c) y = Div(p, six)"
    model = parse(body, opset=10)
    fused, count = fuse_hard_swish(model)
    assert (count, fused.opset_import[0].version) == (1, 14)
    assert operators(fused) == ["HardSwish"]
    assert_same_results(model, fused, {"x": rng.standard_normal((3, 5)).astype(np.float32)})


def test_a_graph_that_cannot_be_raised_stays_as_it_is():
    model = parse(SWISHES["paddle2onnx"].replace("IN", "x").replace("OUT", "z") + " y = NoSuchOperator(z)")
    assert fuse_hard_swish(model) == (model, 0)


@pytest.mark.full
@given(
    spellings=st.lists(st.sampled_from(list(SWISHES)), min_size=1, max_size=4),
    opset=st.integers(11, 17),
    seed=st.integers(0, 2**32 - 1),
)
def test_chains_of_hard_swish_keep_their_results(spellings, opset, seed):
    body = ""
    for index, spelling in enumerate(spellings):
        part = SWISHES[spelling].replace("IN", f"x{index}").replace("OUT", f"x{index + 1}")
        for name in "sacpd":
            part = part.replace(f" {name} ", f" {name}{index} ").replace(f"({name},", f"({name}{index},")
            part = part.replace(f" {name})", f" {name}{index})")
            part = f"{name}{index}{part[1:]}" if part.startswith(f"{name} ") else part
        body += f" {part}"
    last = f"x{len(spellings)}"
    model = parse(body, opset, inputs="float[N, 5] x0", outputs=f"float[N, 5] {last}")
    fused, count = fuse_hard_swish(model)
    assert (operators(fused), count) == (["HardSwish"] * len(spellings), len(spellings))
    noise = np.random.default_rng(seed).standard_normal((2, 5)).astype(np.float32) * 5
    assert_same_results(model, fused, {"x0": noise})


@pytest.mark.full
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), inner=st.integers(1, 9), opset=st.integers(11, 17))
def test_vectors_are_multiplied_as_columns(shape, inner, opset):
    dimensions = ", ".join(map(str, shape))
    vector = f"float[{inner}] v = {{{', '.join(str(index / 2) for index in range(inner))}}}"
    model = parse("y = MatMul(x, v)", opset, f"float[{dimensions}, {inner}] x", f"float[{dimensions}] y", vector)
    by_columns, count = multiply_by_columns(model)
    assert (operators(by_columns), count) == (["MatMul", "Squeeze"], 1)
    onnx.checker.check_model(by_columns, full_check=True)
    noise = np.random.default_rng(inner).standard_normal((*shape, inner)).astype(np.float32)
    assert_same_results(model, by_columns, {"x": noise})


def test_products_without_a_constant_vector_stay_as_they_are():
    for body, inputs, constants in (
        ("y = MatMul(x, v)", "float[N, 2] x, float[2] v", "float zero = {0}"),
        ("y = MatMul(x, m)", "float[N, 2] x", "float[2, 1] m = {1, 2}"),
        ("y = MatMul(v, x)", "float[2, N] x", "float[2] v = {1, 2}"),
    ):
        model = parse(body, inputs=inputs, outputs="float[N] y", constants=constants)
        assert multiply_by_columns(model) == (model, 0)


@pytest.mark.parametrize(
    ("read", "left"),
    [(1, ["a"]), (2, ["a", "b"]), (("b",), ["b"]), (None, None), (3, None), (("a", "b", "c"), None), (("d",), None)],
)
def test_outputs_that_nobody_reads_are_left_out(read, left, rng):
    model = parse(
        "a = Relu(x) b = Abs(x) c = ArgMax <axis = 1> (b)", outputs="float[N, 5] a, float[N, 5] b, int64[N, 1] c"
    )
    fewer, count = drop_outputs(model, ModelFiles("mine", outputs=read))
    if left is None:
        assert (fewer, count) == (model, 0)
        return
    assert [value.name for value in fewer.graph.output] == left
    assert (count, len(fewer.graph.node)) == (3 - len(left), len(left))
    feeds = {"x": rng.standard_normal((3, 5)).astype(np.float32)}
    everything = dict(zip("abc", run(model, feeds), strict=True))
    for name, found in zip(left, run(fewer, feeds), strict=True):
        assert np.array_equal(found, everything[name])


def test_a_detector_keeps_its_boxes(home, image):
    model = read_graph(float_files(DETECTOR).onnx)
    fused, swishes = fuse_hard_swish(model)
    both, products = multiply_by_columns(fused)
    assert (swishes, products) == (78, 4)
    assert len(both.graph.node) == len(model.graph.node) - 78 + 4
    onnx.checker.check_model(both, full_check=True)
    batch = cv2.resize(image, (416, 416))[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 64 - 2
    feeds = {"image": np.ascontiguousarray(batch), "scale_factor": np.ones((1, 2), np.float32)}
    expected = run(model, feeds)
    assert expected[1] > 0
    assert_same_detections(run(both, feeds), expected)


# What runtimes load


@pytest.fixture
def fresh(tmp_path):
    return SessionOptions(ArtifactCache(tmp_path / "artifacts"), threads=2)


@pytest.fixture
def detector(home):
    return Zoo.default().find(DETECTOR)


RUNTIMES = {"openvino": {HARD_SWISH: 78}, "onnxruntime": {MATRIX_VECTOR: 4}}


@pytest.mark.full
@pytest.mark.parametrize("name", RUNTIMES)
def test_each_runtime_gets_its_rewrites(name, detector, options):
    require(name)
    with BACKENDS[name].load(detector.files, options) as session:
        assert session.info.rewrites == RUNTIMES[name]
        ((rewrite, places),) = RUNTIMES[name].items()
        assert session.info.notes == (f"rewritten: {rewrite} x {places}",)
        assert session.info.model_path == detector.files.onnx != session.info.loaded_path
    with BACKENDS[name].load(detector.files, dataclasses.replace(options, as_exported=True)) as session:
        assert (session.info.rewrites, session.info.notes) == ({}, ())


@pytest.mark.full
@pytest.mark.parametrize("name", RUNTIMES)
def test_heatmap_models_do_without_their_second_output(name, shared, options):
    require(name)
    require("paddle2onnx")
    spec = read_model(shared / "models" / "PP-TinyPose_128x96")
    feeds = {"image": np.zeros((2, 3, 128, 96), np.float32)}
    files = dataclasses.replace(spec.files, normalization=None)
    with (
        BACKENDS[name].load(files, options) as session,
        BACKENDS[name].load(files, dataclasses.replace(options, as_exported=True)) as whole,
    ):
        assert session.info.rewrites == {UNREAD_OUTPUTS: 1}
        (heatmaps,), (expected, _) = session.run(feeds), whole.run(feeds)
        assert np.abs(heatmaps - expected).max() < ROUNDING


@pytest.mark.full
@pytest.mark.parametrize("name", quick_first(RUNTIMES))
def test_a_start_with_a_warm_cache_reads_no_graph(name, detector, fresh, tmp_path):
    """Importing onnx takes longer than opening a small model."""
    require(name)
    script = (
        "import sys, pathlib; from hpi.backends import BACKENDS; from hpi.backends.artifacts import ArtifactCache;"
        "from hpi.backends.base import SessionOptions; from hpi.models.readers import read_model;"
        "folder, cache, name = sys.argv[1:]; files = read_model(pathlib.Path(folder)).files;"
        "options = SessionOptions(ArtifactCache(pathlib.Path(cache)), threads=2);"
        "print(dict(BACKENDS[name].load(files, options).info.rewrites), 'onnx' in sys.modules)"
    )
    for imported in (True, False):
        done = run_python("-c", script, detector.folder, fresh.artifacts.root, name, cwd=tmp_path)
        assert done.stdout.split("\n")[0] == f"{RUNTIMES[name]} {imported}", done.stderr


def test_a_changed_rewrite_is_made_and_kept_anew(detector, fresh, monkeypatch):
    files = detector.files
    first = rewritten(files, files.onnx, [HARD_SWISH], fresh.artifacts)
    assert rewritten(files, files.onnx, [HARD_SWISH], fresh.artifacts) == first
    changed = dataclasses.replace(rewrites.REWRITES[HARD_SWISH], version=99)
    monkeypatch.setitem(rewrites.REWRITES, HARD_SWISH, changed)
    second = rewritten(files, files.onnx, [HARD_SWISH], fresh.artifacts)
    assert (second.path != first.path, second.rewrites) == (True, first.rewrites)
    keys = [entry.key["rewrites"] for entry in fresh.artifacts.entries() if entry.kind == "graph"]
    assert keys == ['{"HardSwish": 1}', '{"HardSwish": 99}']


def test_another_onnx_may_rewrite_what_one_could_not(detector, fresh, monkeypatch):
    """Such as one whose installation was broken."""
    files, fuse = detector.files, rewrites.REWRITES[HARD_SWISH]
    monkeypatch.setitem(rewrites.REWRITES, HARD_SWISH, Rewrite(lambda *_: 1 / 0, fuse.version))
    for _ in range(2):
        assert rewritten(files, files.onnx, [HARD_SWISH], fresh.artifacts).path == files.onnx
    monkeypatch.setitem(rewrites.REWRITES, HARD_SWISH, fuse)
    monkeypatch.setattr(rewrites, "version", lambda _: "99")
    assert rewritten(files, files.onnx, [HARD_SWISH], fresh.artifacts).rewrites == {HARD_SWISH: 78}


def test_graphs_that_cannot_be_rewritten_are_loaded_as_they_are(fresh, tmp_path, caplog, monkeypatch):
    path = tmp_path / "model.onnx"
    body = "y = If (c) <then_branch = t () => (float[5] a) { a = Abs(x) }, else_branch = e () => (float[5] b)"
    with_branches = parse(f"{body} {{ b = Relu(x) }}>", inputs="float[5] x, bool c", outputs="float[5] y")
    malformed = parse("y = Mul(x, six)")
    del malformed.graph.node[0].input[1:]
    for content in (with_branches.SerializeToString(), malformed.SerializeToString(), b"no graph"):
        path.write_bytes(content)
        with caplog.at_level(logging.INFO):
            assert rewritten(ModelFiles("mine", onnx=path), path, list(rewrites.REWRITES), fresh.artifacts).path == path
        assert "is run as it is" in caplog.text
        caplog.clear()
    path.write_bytes(parse(SWISHES["paddle2onnx"].replace("IN", "x").replace("OUT", "y")).SerializeToString())
    assert rewritten(ModelFiles("mine", onnx=path), path, [HARD_SWISH], fresh.artifacts).rewrites == {HARD_SWISH: 1}
    monkeypatch.setattr(rewrites, "is_installed", lambda package: package != "onnx")
    assert rewritten(ModelFiles("mine", onnx=path), path, [HARD_SWISH], fresh.artifacts).path == path


# The choice


def break_hard_swish(monkeypatch, apply):
    monkeypatch.setitem(rewrites.REWRITES, HARD_SWISH, Rewrite(apply, 1))


def named(backend, options, spec, tmp_path):
    choice = choose(spec, Request(options, backend=backend), Priors(tmp_path / "priors.json"))
    choice.session.close()
    return choice.session.info


@pytest.mark.full
def test_a_rewritten_graph_is_validated_even_where_its_runtime_is_named(detector, fresh, tmp_path):
    require("openvino")
    assert named("openvino", fresh, detector, tmp_path).rewrites == {HARD_SWISH: 78}
    (verdict,) = [entry for entry in fresh.artifacts.entries() if entry.kind == "parity"]
    assert json.loads(verdict.key["rewrites"]) == {HARD_SWISH: 1}
    assert json.loads((verdict.folder / "verdict.json").read_text())["passed"]


@pytest.mark.full
def test_a_wrong_rewrite_is_left_out(detector, fresh, tmp_path, monkeypatch, caplog):
    require("openvino")

    def wrong(model, _):
        fused, count = fuse_hard_swish(model)
        for node in fused.graph.node:
            node.op_type = "Relu" if node.op_type == "HardSwish" else node.op_type
        return fused, count

    break_hard_swish(monkeypatch, wrong)
    assert named("openvino", fresh, detector, tmp_path).rewrites == {}
    assert "openvino fp32 runs without the rewrites HardSwish: " in caplog.text


@pytest.mark.full
def test_a_rewritten_graph_that_cannot_be_loaded_is_left_out(detector, fresh, monkeypatch, caplog):
    require("openvino")

    def odd(model, _):
        fused, count = fuse_hard_swish(model)
        fused.graph.node[0].op_type = "NoSuchOperator"
        return fused, count

    break_hard_swish(monkeypatch, odd)
    with BACKENDS["openvino"].load(detector.files, fresh) as session:
        assert session.info.rewrites == {}
    assert "cannot load the rewritten graph, so it runs as exported" in caplog.text


@pytest.mark.full
@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("model", quick_first([DETECTOR, "PicoDet-S_pedestrian_320", "PP-TinyPose_128x96"]))
def test_rewritten_models_give_the_references_results(name, model, shared, fresh):
    require(name)
    require("paddle2onnx")
    spec = Zoo.default().find(model) if model == DETECTOR else read_model(shared / "models" / model)
    session, verdict = open_with_verdict(spec, Candidate(name, Variant()), fresh)
    session.close()
    assert session.info.rewrites
    assert verdict.passed, verdict.summary


@pytest.mark.full
def test_graphs_of_every_shared_model_keep_their_results(shared, options, rng):
    """All rewrites together, on noise."""
    require("paddle2onnx")
    sizes = {"PP-TinyPose_256x192": (256, 192), "PicoDet-S_pedestrian_320": (320, 320)}
    for name, size in sizes.items():
        spec = read_model(shared / "models" / name)
        model = read_graph(ensure_onnx(spec.files, options.artifacts))
        steps = (functools.partial(drop_outputs, files=spec.files), fuse_hard_swish, multiply_by_columns)
        changed = functools.reduce(lambda graph, step: step(graph)[0], steps, model)
        feeds = {"image": rng.standard_normal((1, 3, *size), np.float32)}
        if len(model.graph.input) > 1:
            feeds["scale_factor"] = np.ones((1, 2), np.float32)
        for found, expected in zip(run(changed, feeds), run(model, feeds), strict=False):
            assert found.shape == expected.shape
            assert np.abs(found - expected).max(initial=0) < ROUNDING * max(1, np.abs(expected).max(initial=0))
