"""Rewritten graphs against the original ones, on ONNX Runtime."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxconverter_common", reason="onnxconverter-common is not installed")

import cv2
import onnx

from hpi.backends.graph import (
    SENSITIVE_SHARE,
    cut_nms,
    decoding_nodes,
    free_batch,
    inputs_of,
    is_for_one_item,
    read_graph,
    sensitive_nodes,
    suppressions_in,
    to_fp16,
)
from hpi.backends.graph.protobuf import sizes_of
from hpi.backends.paddle_to_onnx import ensure_onnx, settle
from hpi.errors import BackendError
from hpi.kernels.nms import NmsSpec, batched_nms
from hpi.models.readers import read_model

import dots
from support import float_files, quick_first, require

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture
def pose(home):
    return read_graph(float_files(POSE).onnx)


@pytest.fixture
def detector(home):
    return read_graph(float_files(DETECTOR).onnx)


def run(model, feeds):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def best_first(rows):
    return rows[np.argsort(-rows[:, 1], kind="stable")]


def views(image):
    """An image of people, its mirror image and its half, as the detector takes them."""
    images = [image, image[:, ::-1], image[:, :320]]
    batch = np.stack([cv2.resize(one, (416, 416)) for one in images])[..., ::-1].transpose(0, 3, 1, 2)
    sizes = np.array([one.shape[:2] for one in images], np.float32)
    return {"image": np.ascontiguousarray(batch.astype(np.float32) / 64 - 2), "scale_factor": 416 / sizes}


def assert_the_cut_returns_the_same_boxes(model, feeds):
    """Bit for bit, image by image; a batch matches its images but for the runtime's rounding."""
    head, spec = cut_nms(model)
    onnx.checker.check_model(head, full_check=True)
    together = run(head, feeds)
    for index in range(len(feeds["image"])):
        image = {name: feed[index : index + 1] for name, feed in feeds.items()}
        expected, expected_count = run(model, image)
        boxes, scores = run(head, image)
        rows, count = batched_nms(boxes, scores, spec)
        assert (rows.dtype, count.dtype) == (expected.dtype, expected_count.dtype)
        assert len(rows) > 0
        assert count.tolist() == expected_count.tolist() == [len(rows)]
        assert np.array_equal(rows, best_first(expected))
        for whole, part in zip(together, (boxes, scores), strict=True):
            assert np.allclose(whole[index], part[0], rtol=1e-3, atol=1e-3)


def test_nms_parameters_are_read_from_the_graph(detector):
    head, spec = cut_nms(detector)
    assert spec == NmsSpec(pytest.approx(0.025), pytest.approx(0.6), per_class=1000, per_image=100)
    assert [(one.name, one.shape) for one in inputs_of(head)] == [
        ("image", (None, 3, 416, 416)),
        ("scale_factor", (None, 2)),
    ]
    assert not {"NonMaxSuppression", "TopK"} & {node.op_type for node in head.graph.node}


@pytest.mark.full
def test_detector_cut_before_its_nms_returns_the_same_boxes(detector, image):
    assert_the_cut_returns_the_same_boxes(detector, views(image))


@pytest.mark.full
def test_cut_official_detector_returns_the_same_boxes(shared, options):
    """The official PicoDet, converted by paddle2onnx."""
    require("paddle2onnx")
    spec = read_model(shared / "models" / "PicoDet-S_pedestrian_320")
    graph = ensure_onnx(spec.files, options.artifacts)
    originals = [cv2.imread(str(path)) for path in sorted((shared / "data" / "photos").glob("*.jpg"))]
    scale, shift = (
        np.array(one, np.float32) for one in (spec.files.normalization.scale, spec.files.normalization.shift)
    )
    images = [
        cv2.resize(original, (320, 320), interpolation=cv2.INTER_CUBIC)[..., ::-1] * scale + shift
        for original in originals
    ]
    feeds = {
        "image": np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32),
        "scale_factor": np.array(
            [[320 / original.shape[0], 320 / original.shape[1]] for original in originals], np.float32
        ),
    }
    assert_the_cut_returns_the_same_boxes(read_graph(graph), feeds)


def test_a_graph_without_nms_stays_as_it_is(pose):
    assert cut_nms(pose) == (pose, None)


def test_batch_fixed_inside_the_graph_stays_fixed(detector):
    """As in exports with a batch of 1 written into their reshapes."""
    for tensor in detector.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT64 and tuple(tensor.dims) == (3,):
            value = onnx.numpy_helper.to_array(tensor)
            if value.tolist()[0] == -1 and value.tolist()[2] == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([1, *value[1:]]), tensor.name))
    head, _ = cut_nms(detector)
    assert {one.shape[0] for one in inputs_of(head)} == {1}
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in head.graph.output] == [1, 1]


def without_a_limit(detector):
    for node in detector.graph.node:
        if node.op_type == "ReduceMin":
            node.op_type = "ReduceMax"


def with_another_output(detector):
    detector.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def with_a_computed_threshold(detector):
    (node,) = suppressions_in(detector)
    detector.graph.node.insert(0, onnx.helper.make_node("Abs", [node.input[4]], ["computed"]))
    node.input[4] = "computed"


@pytest.mark.parametrize("edit", [without_a_limit, with_another_output, with_a_computed_threshold])
def test_nms_of_another_kind_stays_in_the_graph(detector, edit):
    edit(detector)
    before = detector.SerializeToString()
    graph, spec = cut_nms(detector)
    assert spec is None
    assert graph.SerializeToString() == before


def test_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08no graph")
    with pytest.raises(BackendError, match=r"model\.onnx"):
        read_graph(tmp_path / "model.onnx")


def test_a_graph_with_branches_is_refused(tmp_path):
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    out = helper.make_tensor_value_info("y", tensor, ["n"])
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "branch", [], [out])
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    values = [
        helper.make_tensor_value_info("x", tensor, ["n"]),
        helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []),
    ]
    model = helper.make_model(helper.make_graph([node], "graph", values, [out]), ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BackendError, match="branches"):
        read_graph(tmp_path / "model.onnx")


@pytest.mark.full
@pytest.mark.parametrize("kept", quick_first(["nothing", "decoding", "both"], 1))
def test_fp16_gives_about_the_same_heatmaps(pose, rng, kept):
    keep = {"nothing": set(), "decoding": decoding_nodes(pose), "both": decoding_nodes(pose) | sensitive_nodes(pose)}
    before = pose.SerializeToString()
    half = to_fp16(pose, keep[kept])
    onnx.checker.check_model(half)
    assert pose.SerializeToString() == before
    feeds = {"image": rng.standard_normal((2, 3, 256, 256), np.float32)}
    (expected,), (found,) = run(pose, feeds), run(half, feeds)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.05
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    weights = [types[node.input[1]] for node in half.graph.node if node.op_type == "Conv"]
    assert weights[0] == (onnx.TensorProto.FLOAT if kept == "both" else onnx.TensorProto.FLOAT16)
    assert weights[-1] == onnx.TensorProto.FLOAT16


def test_batch_normalization_is_folded_into_convolutions(detector):
    head, _ = cut_nms(detector)
    assert "BatchNormalization" in {node.op_type for node in head.graph.node}
    half = to_fp16(head, decoding_nodes(head))
    assert "BatchNormalization" not in {node.op_type for node in half.graph.node}
    needed = {name for node in half.graph.node for name in node.input}
    assert {tensor.name for tensor in half.graph.initializer} <= needed


def test_fp16_of_a_detector_without_its_nms(detector, image):
    head, _ = cut_nms(detector)
    half = to_fp16(head, decoding_nodes(head))
    feeds = views(image)
    (boxes, scores), (half_boxes, half_scores) = run(head, feeds), run(half, feeds)
    assert np.abs(scores - half_scores).max() < 0.05
    sure = scores[:, 0].ravel() > 0.5
    assert sure.any()
    assert np.abs(boxes - half_boxes).reshape(-1, 4)[sure].max() < 2


def test_output_that_other_nodes_read_can_be_converted():
    """PP-TinyPose's heatmaps are an output and the input of an argmax."""
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["heat"]),
        helper.make_node("ArgMax", ["heat"], ["peak"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("heat", tensor, ["n", 4]),
        helper.make_tensor_value_info("peak", onnx.TensorProto.INT64, ["n"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", tensor, ["n", 4])],
        outputs,
        [onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    heat, peak = run(to_fp16(model), {"x": np.array([[1, 4, 2, 3]], np.float32)})
    assert (heat.tolist(), peak.tolist()) == ([[0.5, 2, 1, 1.5]], [1])


def test_sensitive_and_decoding_nodes(pose, detector):
    for model in (pose, detector):
        convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
        first = [name for name in convolutions if name in sensitive_nodes(model)]
        assert first == convolutions[: round(len(convolutions) * SENSITIVE_SHARE)]
        assert not decoding_nodes(model) & set(convolutions)
        assert next(node.name for node in model.graph.node) not in decoding_nodes(model)
        assert model.graph.node[-1].name in decoding_nodes(model)


def test_constants_and_their_copies_become_initializers(tmp_path):
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Constant", [], ["two"], value=onnx.numpy_helper.from_array(np.array(2, np.float32))),
        helper.make_node("Identity", ["two"], ["copy"]),
        helper.make_node("Mul", ["x", "copy"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, tensor, ["n"]) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    model = read_graph(tmp_path / "m.onnx")
    assert [(node.op_type, *node.input) for node in model.graph.node] == [("Mul", "x", "two")]
    assert all(node.name for node in model.graph.node)
    assert run(model, {"x": np.array([3], np.float32)})[0].tolist() == [6]


HEADER = '<ir_version: 8, opset_import: ["": 13]>'


def test_a_batch_that_reshapes_fix_is_freed(tmp_path, rng):
    model = saved(dots.graph(), tmp_path)
    assert is_for_one_item(model)
    before = model.SerializeToString()
    freed = free_batch(model)
    assert model.SerializeToString() == before
    assert not is_for_one_item(freed)
    images = rng.random((3, 3, 64, 128), np.float32)
    together = run(freed, {"image": images})
    alone = [run(model, {"image": image[None]}) for image in images]
    for both, *parts in zip(together, *alone, strict=True):
        assert (both == np.concatenate(parts)).all()


def test_a_batch_that_something_else_fixes_is_not_freed():
    body = "y = ReduceMax <axes = [0]> (x)"
    model = onnx.parser.parse_model(f"{HEADER} g (float[N, 4] x) => (float[1, 4] y) {{ {body} }}")
    assert is_for_one_item(model)
    assert free_batch(model) is None


def test_a_graph_whose_batch_is_free_or_declared_is_not_for_one_item(pose):
    assert not is_for_one_item(pose)
    assert not is_for_one_item(dots.graph(peaks=False))
    assert not is_for_one_item(dots.graph(batch="1"))


@pytest.mark.parametrize(("axis", "batch"), [(1, 0), (0, 1)])
def test_a_batch_is_freed_only_where_no_result_changes(tmp_path, axis, batch):
    """Over the axis 0 a softmax mixes the items, which the shapes do not tell."""
    body = f"flat = Reshape (x, shape) y = Softmax <axis = {axis}> (flat)"
    text = f"g (float[N, 4] x) => (float[1, 4] y) <int64[2] shape = {{1, -1}}> {{ {body} }}"
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), path)
    settle(str(path))
    settled = onnx.load(path)
    assert [sizes_of(value) for value in settled.graph.input] == [[batch, 4]]


HANGS_ON_THE_FIRST = """g (float[N, 3, H, W] image) => (float[1, 3, K] y, int64[1, 1] i)
    <int64[3] flat = {1, 3, -1}, int64[1] last = {1}>
    {
        y = Reshape (image, flat)
        mean = ReduceMean <axes = [1, 2], keepdims = 0> (y)
        highest = ArgMax <axis = 0, keepdims = 1> (mean)
        shape = Shape (mean)
        every = Expand (highest, shape)
        i = Unsqueeze (every, last)
    }"""
NEEDS_MORE_THAN_64_COLUMNS = """g (float[N, 3, H, W] image) => (float[1, 3, K] y)
    <int64[3] flat = {1, 3, -1}, int64[1] column = {100}>
    { some = Gather <axis = 3> (image, column) y = Reshape (some, flat) }"""


@pytest.mark.parametrize("text", [HANGS_ON_THE_FIRST, NEEDS_MORE_THAN_64_COLUMNS])
def test_a_batch_whose_trial_fails_stays_1(tmp_path, text):
    """One has other whole numbers in a batch; the other cannot be tried with what the trial gives it."""
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), tmp_path / "model.onnx")
    settle(str(tmp_path / "model.onnx"))
    (image,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert sizes_of(image)[0] == 1


def test_inputs_of_whole_numbers_are_tried(tmp_path):
    text = """g (float[N, 3, H, W] image, int64[N, 1, 1, 1] factor) => (float[1, 3, K] y) <int64[3] flat = {1, 3, -1}>
        { real = Cast <to = 1> (factor) more = Mul (image, real) y = Reshape (more, flat) }"""
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), tmp_path / "model.onnx")
    settle(str(tmp_path / "model.onnx"))
    assert [sizes_of(value)[0] for value in onnx.load(tmp_path / "model.onnx").graph.input] == [0, 0]


def saved(model, folder):
    """As it is read from a file."""
    onnx.save(model, folder / "model.onnx")
    return read_graph(folder / "model.onnx")
