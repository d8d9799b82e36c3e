"""The graphs that the benchmarks and the tests make."""

import numpy as np
import onnx
import onnxruntime
import pytest
import typer

from hpi.benchmarks.graphs import GRAPHS
from hpi.benchmarks.graphs.cost import multiply_adds, parameters

PUBLISHED = {
    "rtmpose-t": (3.34e6, 0.36e9),
    "rtmpose-s": (5.47e6, 0.68e9),
    "rtmpose-m": (13.59e6, 1.93e9),
    "rtmpose-l": (27.66e6, 4.16e9),
}
"""Parameters and multiply-adds, as mmpose publishes them."""
SMALL = sorted(GRAPHS.keys() - PUBLISHED)
BOXES = ("rtmo", "rtmdet", "yolox")


def run(model, batch):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": batch})


def batch_for(model, rng, count):
    shape = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
    smooth = rng.normal(0, 1, (count, 3, 4, 4)).repeat(shape[2] // 4, 2).repeat(shape[3] // 4, 3)
    return smooth.astype(np.float32)


@pytest.fixture(scope="module")
def rtmpose_m():
    return GRAPHS["rtmpose-m"](0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_rtmpose_has_the_size_and_the_cost_of_the_real_one(name):
    model, (size, cost) = GRAPHS[name](0), PUBLISHED[name]
    assert parameters(model) == pytest.approx(size, rel=0.02)
    assert multiply_adds(model) == pytest.approx(cost, rel=0.05)


@pytest.mark.full
def test_rtmpose_m_gives_finite_maps_of_both_axes(rtmpose_m, rng):
    x, y = run(rtmpose_m, batch_for(rtmpose_m, rng, 2))
    assert (x.shape, y.shape) == ((2, 17, 384), (2, 17, 512))
    assert np.isfinite(x).all()
    assert 0.3 < y.std() < 10


@pytest.mark.parametrize("name", SMALL)
def test_a_graph_is_the_same_every_time(name):
    one, same, other = (GRAPHS[name](seed).SerializeToString() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", SMALL)
def test_each_item_of_a_batch_has_its_own_outputs(name, rng):
    model = GRAPHS[name](0)
    batch = batch_for(model, rng, 2) * (128 if name in {"rtmo", "yolox", "yolox-raw"} else 1)
    together, alone = run(model, batch), run(model, batch[1:])
    for of_both, of_one in zip(together, alone, strict=True):
        assert np.allclose(of_both[1:], of_one, rtol=1e-4, atol=1e-3)
        if of_both.dtype.kind == "f":  # six labels of two classes may be the same by chance
            assert not np.allclose(of_both[0], of_both[1])


@pytest.mark.parametrize("name", BOXES)
def test_suppressed_boxes_come_best_first(name, rng):
    model = GRAPHS[name](0)
    dets, _ = run(model, batch_for(model, rng, 3) * (1 if name == "rtmdet" else 128))
    assert (np.diff(dets[..., 4]) <= 0).all()
    assert (dets[:, 0, 4] > 0).all()
    assert (dets[..., 2:4] > dets[..., :2]).all()


def test_a_graph_is_written_with_its_cost(tmp_path, capsys):
    from hpi.benchmarks.graphs.__main__ import main

    main("simcc", tmp_path / "pose.onnx")
    assert "M parameters" in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(tmp_path / "pose.onnx"))
    (tmp_path / "file").touch()
    with pytest.raises(typer.BadParameter, match="cannot be written"):
        main("simcc", tmp_path / "file" / "pose.onnx")
