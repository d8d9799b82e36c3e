"""Heatmap models of mmpose that are trained with UDP, such as ViTPose, from planted heatmaps to pixels of the image."""

import numpy as np
import pytest
import yaml

from hpi import Predictor
from hpi.errors import ModelError

from planted import save_planted

SIZE, GRID = (192, 256), (48, 64)
VITPOSE = {
    "input": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
    "transform": {"type": "top_down", "size": list(SIZE), "udp": True},
    "head": {"type": "heatmap", "decoder": "dark_udp", "align": "corners"},
    "skeleton": "coco17",
}
BOXES = np.array([[39, 77, 160, 478], [432, 20, 640, 480]], np.float64)


@pytest.fixture
def cells(rng):
    """Places between the cells of a grid, far enough from its border for the whole blur."""
    return rng.uniform(9, np.array(GRID) - 10, (17, 2))


@pytest.fixture
def vitpose(tmp_path, cells):
    """A network that gives, for any input, what ViTPose is trained to give for these places."""
    y, x = np.mgrid[: GRID[1], : GRID[0]]
    squared = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    save_planted(tmp_path / "model.onnx", {"output": np.exp(-squared / 8).astype(np.float32)[None]})

    def described(**head):
        content = {**VITPOSE, "head": {**VITPOSE["head"], **head}}
        (tmp_path / "hpi.yml").write_text(yaml.safe_dump(content))
        return tmp_path

    return described


def test_keypoints_are_where_mmpose_has_them(vitpose, cells, image):
    """By its formula, cell / (cells - 1) * scale + center - scale / 2, which no width of the input is in."""
    with Predictor(vitpose(), backend="onnxruntime", device="cpu") as predictor:
        (result,) = predictor.predict(image, boxes=BOXES.tolist())
    center, sides = (BOXES[:, :2] + BOXES[:, 2:]) / 2, (BOXES[:, 2:] - BOXES[:, :2]) * 1.25
    width = np.maximum(sides[:, 0], sides[:, 1] * SIZE[0] / SIZE[1])
    scale = np.stack([width, width * SIZE[1] / SIZE[0]], axis=-1)
    expected = cells / (np.array(GRID) - 1.0) * scale[:, None] + (center - scale / 2)[:, None]
    a_cell = scale[:, None] / (np.array(GRID) - 1.0)
    assert (np.abs(result.keypoints - expected) / a_cell).max() < 0.01
    # Read as PP-TinyPose's are they would be off by most of a cell at the far corner.
    with Predictor(vitpose(align="cells"), backend="onnxruntime", device="cpu") as predictor:
        (wrong,) = predictor.predict(image, boxes=BOXES.tolist())
    assert (np.abs(wrong.keypoints - expected) / a_cell).max() > 0.3


def test_use_dark_keeps_the_model_s_own_kind_of_dark(vitpose, image):
    found = {}
    for use_dark in (None, True, False):
        with Predictor(vitpose(), backend="onnxruntime", device="cpu", use_dark=use_dark) as predictor:
            (model,) = predictor.pipelines[0].models
            found[use_dark] = model.spec.head.decoder
    assert found == {None: "dark_udp", True: "dark_udp", False: "quarter"}


def test_an_offset_is_refused_where_it_has_no_meaning(vitpose):
    with pytest.raises(ModelError, match=r"hpi\.yml.*offset is of align: cells"):
        Predictor(vitpose(offset=0.5), backend="onnxruntime", device="cpu")
