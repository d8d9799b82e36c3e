"""Adding a head, a skeleton, a source or a sink takes one file and one line; here the file is a function or a class.

A runtime is added in tests/backends/test_entry_points.py, a model of a known family in tests/hpi/test_predictor.py.
"""

import shutil
from typing import ClassVar, Literal

import numpy as np
import pytest
import yaml

from hpi import Instances, Predictor
from hpi.heads import HEADS
from hpi.heads.base import Head
from hpi.sinks import SINKS
from hpi.sinks.target import write
from hpi.sources import READERS
from hpi.sources.items import Picture
from hpi.zoo import Zoo

from support import EXAMPLE, assert_same_keypoints

pytestmark = pytest.mark.long  # its slow cases run each night

POSE = "MoveNet-Thunder_256x256"


class CenterOfMassHead(Head):
    """Keypoints at the centres of mass of heatmaps: what someone with another network might write."""

    type: Literal["center_of_mass"] = "center_of_mass"
    power: int = 1
    task: ClassVar = "keypoint_detection"

    def decode(self, outputs, count, size, kernels=None):
        (heatmaps,) = outputs
        weights = np.maximum(heatmaps, 0) ** self.power
        height, width = weights.shape[2:]
        total = np.maximum(weights.sum(axis=(2, 3)), 1e-9)
        x = (weights.sum(axis=2) * np.arange(width)).sum(axis=-1) / total
        y = (weights.sum(axis=3) * np.arange(height)).sum(axis=-1) / total
        keypoints = (np.stack([x, y], axis=-1) + 0.5) * (np.array(size) / (width, height))
        scores = heatmaps.max(axis=(2, 3))
        return Instances(scores.mean(axis=1), keypoints=keypoints, keypoint_scores=scores), np.arange(count)

    def keypoints_in(self, outputs):
        return outputs[0].shape[1]


@pytest.fixture
def own_folder(tmp_path):
    """A copy of a model, and what rewrites its yml."""
    folder = tmp_path / "mine"
    shutil.copytree(Zoo.default().find(POSE).folder, folder)

    def rewrite(**own):
        content = yaml.safe_load((folder / "inference.yml").read_text())
        content.pop("Global", None)
        content["hpi"] = own
        (folder / "inference.yml").write_text(yaml.safe_dump(content))
        return folder

    return rewrite


@pytest.mark.full
def test_adding_a_head(monkeypatch, own_folder, image):
    monkeypatch.setitem(HEADS, "center_of_mass", CenterOfMassHead)
    folder = own_folder(skeleton="coco17", head={"type": "center_of_mass", "power": 8})
    boxes = [[39, 77, 160, 478], [432, 20, 640, 480]]
    known = {"device": "cpu", "backend": "onnxruntime"}
    with Predictor("mine", model_dir=folder, **known) as mine, Predictor(POSE, **known) as theirs:
        (found,), (expected,) = (one.predict(image, boxes=boxes) for one in (mine, theirs))
    assert np.array_equal(found.keypoint_scores, expected.keypoint_scores)
    clear = expected.keypoint_scores > 0.5
    cell = 4 * 480 / 256  # pixels of the image: a stride of 4, and a person of at most 480 pixels
    distance = np.linalg.norm(found.keypoints - expected.keypoints, axis=-1)[clear]
    assert clear.sum() > 20
    assert distance.max() < 2 * cell


@pytest.mark.full
def test_adding_a_skeleton(own_folder, image):
    folder = own_folder(skeleton="mine.yaml")
    names = [f"point_{index}" for index in range(17)]
    skeleton = {"keypoints": names, "bones": {"all": [[0, 16]]}, "colors": {"all": [255, 0, 255]}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(skeleton))
    with Predictor("mine", model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert result.keypoint_names == names
    assert result.skeleton.name == "mine"


@pytest.mark.full
def test_adding_a_source(monkeypatch, tmp_path, image):
    """A kind of file with several frames: arrays that NumPy has saved."""

    def read_numpy(path):
        for index, frame in enumerate(np.load(path)):
            yield Picture(frame, frame=index)

    monkeypatch.setitem(READERS, ".npy", read_numpy)
    np.save(tmp_path / "frames.npy", np.stack([image, image[:, ::-1]]))
    with Predictor("human_keypoint_detection_lite", device="cpu") as predictor:
        by_name = list(predictor.predict(tmp_path / "frames.npy"))
        in_folder = list(predictor.predict(tmp_path))
        (expected,) = predictor.predict(image)
    assert [result.frame.index for result in by_name] == [0, 1]
    assert [result.name for result in by_name] == ["frames_000000.jpg", "frames_000001.jpg"]
    assert [len(result.instances) for result in in_folder] == [2, 2]
    assert_same_keypoints(by_name[0].instances.points, expected.instances.points)


def test_adding_a_sink(monkeypatch, tmp_path):
    def save_scores(result, folder):
        lines = [f"{score:.3f}" for score in result.scores]
        return write(folder / f"{result.name}.txt", "\n".join(lines).encode(), result.path)

    monkeypatch.setitem(SINKS, "scores", save_scores)
    with Predictor("human_keypoint_detection_lite", device="cpu") as predictor:
        (result,) = predictor.predict(EXAMPLE)
    assert [file.name for file in result.save(tmp_path, "scores")] == ["basketball.png.txt"]
    assert len((tmp_path / "basketball.png.txt").read_text().splitlines()) == 2
    assert {file.name for file in result.save(tmp_path)} == {
        "basketball_res.json",
        "basketball_res.png",
        "basketball.png.txt",
    }
