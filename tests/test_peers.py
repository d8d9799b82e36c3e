"""Beside PaddleX, rtmlib and PaddleDetection in environments of their own.

``HPI_PADDLEX``, ``HPI_RTMLIB`` and ``HPI_PADDLEDETECTION_PYTHON`` name their Python, ``HPI_PADDLEDETECTION`` a checkout
of PaddleDetection, which is in no package index.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hpi import Predictor
from hpi.benchmarks.graphs import save_graph
from hpi.benchmarks.peer import Peer
from hpi.compat import rtmlib

from planted_people import ABOVE, MEAN, STD, save_channels, save_places, save_rtmo, save_seeing, save_simcc, scene, spot
from support import EXAMPLE, HANGS_S, ROOT, assert_same_people, run_hpi

pytestmark = [pytest.mark.full, pytest.mark.peers]

DETECTOR, POSE = "PicoDet-S_pedestrian_320", "PP-TinyPose_128x96"

# Its answer is on the last line; what it says before is its own.
PADDLEX = """
import json, sys, tempfile, yaml
from paddlex import create_pipeline
sys.path.insert(0, sys.argv[1])
from paddlex_models import put_under_accepted_name
config = yaml.safe_load(open(sys.argv[2]))
with tempfile.TemporaryDirectory() as folder:
    put_under_accepted_name(config["SubModules"]["ObjectDetection"], folder)
    pipeline = create_pipeline(config=config, device="cpu")
    print(json.dumps([result.json["res"]["boxes"] for result in pipeline.predict(sys.argv[3:])]))
"""


def python_of(variable):
    """The interpreter of a peer's environment."""
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no Python with this peer")
    return os.environ[variable]


@pytest.mark.parametrize("flip", [False, True])
def test_paddlex_finds_the_same_people(shared, tmp_path, rng, flip):
    """On parts of images, fresh each time."""
    python = python_of("HPI_PADDLEX")
    modules = {
        "ObjectDetection": {"module_name": "object_detection", "model_name": DETECTOR, "threshold": 0.5},
        "KeypointDetection": {"module_name": "keypoint_detection", "model_name": POSE, "flip": flip},
    }
    for module in modules.values():
        module |= {"model_dir": str(shared / "models" / module["model_name"]), "batch_size": 1}
    config = {"pipeline_name": "human_keypoint_detection", "SubModules": modules}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(config))
    paths = []
    for path in sorted((shared / "data" / "photos").glob("*.jpg")):
        image = cv2.imread(str(path))
        top, left = (int(rng.integers(0, side // 4)) for side in image.shape[:2])
        paths.append(str(tmp_path / f"{path.stem}.png"))
        cv2.imwrite(paths[-1], image[top:, left:])
    command = [python, "-c", PADDLEX, str(ROOT / "benchmarks" / "peers"), str(tmp_path / "pipeline.yaml"), *paths]
    environment = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 0, done.stderr
    expected = [{"boxes": boxes} for boxes in json.loads(done.stdout.splitlines()[-1])]
    assert sum(len(result["boxes"]) for result in expected) > 5
    with Predictor("", config=config) as predictor:
        assert_same_people(list(predictor.predict(paths)), expected)


def test_rtmlib_takes_its_turn_in_the_benchmark(tmp_path):
    python = python_of("HPI_RTMLIB")
    arguments = (
        "--backend",
        "onnxruntime",
        "--rtmlib",
        python,
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--output",
        "out",
    )
    done = run_hpi("benchmark", "pipeline", EXAMPLE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]["rows"]
    (rtmlib,) = [row for row in rows if row["who"].startswith("rtmlib")]
    assert rtmlib["people"] == 2
    assert np.isfinite(rtmlib["p50_ms"])


SIZES = {"simcc": (192, 256), "vitpose": (192, 256), "rtmo": (640, 640), "rtmdet": (320, 320), "yolox": (416, 416)}
"""As rtmlib takes them, of the graphs of :mod:`hpi.benchmarks.graphs`."""


@pytest.fixture
def peer():
    """Opens rtmlib's class on a graph, of the size of its input."""
    python, opened = python_of("HPI_RTMLIB"), []

    def open_peer(graph, kind, size, **config):
        opened.append(Peer(Path(python), "rtmlib", {"onnx": str(graph), "class": kind, "size": size, **config}))
        return opened[-1]

    yield open_peer
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def images(shared):
    """Paths of real images, with the boxes ``[N, 4]`` of the people in each.

    Their sides are such that float32 has the crops as exactly as float64, in which rtmlib computes: a last bit of a
    matrix can move a row of pixels by a 32nd of a pixel.
    """
    folder = shared / "data" / "coco_val"
    content = json.loads(next(folder.rglob("person_keypoints.json")).read_text())
    names = {one["id"]: one["file_name"] for one in content["images"]}
    boxes = {}
    for person in content["annotations"]:
        x, y, width, height = person["bbox"]
        if min(width, height) > 20:
            left, top, wide, tall = round(x), round(y), 48 * math.ceil(width / 48), 48 * math.ceil(height / 48)
            boxes.setdefault(person["image_id"], []).append([left, top, left + wide, top + tall])
    return {str(next(folder.rglob(names[image]))): of_image for image, of_image in list(boxes.items())[:8]}


def crops_are_the_same(peer):
    """Whether a peer's OpenCV rounds crops as ours does."""
    return peer.versions["opencv"].partition(".")[0] == cv2.__version__.partition(".")[0]


@pytest.mark.parametrize(("name", "kind", "config"), [("simcc", "RTMPose", {}), ("vitpose", "ViTPose", {"udp": True})])
def test_rtmlib_finds_the_same_keypoints_in_rgb(peer, images, tmp_path, rng, name, kind, config):
    """And with crops by UDP, where it reads heatmaps by UDP."""
    graph = save_graph(name, tmp_path / "pose.onnx", int(rng.integers(1000)))
    theirs = peer(graph, kind, SIZES[name], **config)
    if not crops_are_the_same(theirs):
        pytest.skip("its OpenCV rounds crops in another way: install opencv-python<5 and opencv-contrib-python<5")
    with getattr(rtmlib, kind)(graph, SIZES[name], backend="onnxruntime") as ours:
        for path, boxes in images.items():
            expected = [np.array(one) for one in theirs.ask(path=path, boxes=boxes, swapped=True)["found"]]
            keypoints, scores = ours(cv2.imread(path), boxes)
            assert np.abs(keypoints - expected[0]).max() < 0.01
            assert np.abs(scores - expected[1]).max() < 1e-4


def test_rtmlib_finds_the_same_people_with_rtmo(peer, images, tmp_path, rng):
    graph = save_graph("rtmo", tmp_path / "rtmo.onnx", int(rng.integers(1000)))
    theirs = peer(graph, "RTMO", SIZES["rtmo"])
    with rtmlib.RTMO(graph, SIZES["rtmo"], backend="onnxruntime") as ours:
        for path in images:
            expected = [np.array(one) for one in theirs.ask(path=path)["found"]]
            if not expected[1].any():  # its person that is nobody
                expected = [one[:0] for one in expected]
            found = ours(cv2.imread(path))
            for have, want in zip(found, expected, strict=True):
                assert have.shape == want.shape
                assert np.abs(have - want).max(initial=0) < 0.01


@pytest.mark.parametrize(("name", "kind"), [("rtmdet", "RTMDet"), ("yolox", "YOLOX"), ("yolox-raw", "YOLOX")])
def test_rtmlib_finds_the_same_boxes(peer, images, tmp_path, rng, name, kind):
    """Of all classes; of raw cells it has some that lie in the padding."""
    graph = save_graph(name, tmp_path / "detector.onnx", int(rng.integers(1000)))
    size = SIZES[name.removesuffix("-raw")]
    theirs = peer(graph, kind, size)
    with getattr(rtmlib, kind)(graph, size, det_mode="multiclass", backend="onnxruntime") as ours:
        for path in images:
            image = cv2.imread(path)
            expected = np.reshape(theirs.ask(path=path)["found"][0], (-1, 4))
            expected = expected[(expected[:, :2] < image.shape[1::-1]).all(axis=1) & (expected[:, 2:] > 0).all(axis=1)]
            boxes, _ = ours(image)
            assert len(boxes) == len(expected)
            order = [np.lexsort(one.round().T) for one in (boxes, expected)]
            assert np.abs(boxes[order[0]] - expected[order[1]]).max(initial=0) < 0.01


def test_rtmlib_takes_blue_for_red(peer, tmp_path):
    """What it gives for planted values where it is wrong; tests/hpi/test_rtmlib.py has what is right."""
    red = np.zeros((600, 600, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red)
    theirs = peer(save_channels(tmp_path / "pose.onnx"), "RTMPose", SIZES["simcc"])
    _, scores = theirs.ask(path=str(tmp_path / "red.png"), boxes=[[250, 250, 350, 350]])["found"]
    assert scores[0] == pytest.approx(([0, 0, 255] - MEAN) / STD + ABOVE, abs=1e-3)


def test_rtmlib_gives_the_mean_of_both_maxima(peer, images, tmp_path):
    graph = save_simcc(tmp_path / "pose.onnx", [10], [10], heights_x=0.9, heights_y=0.3)
    (path, boxes), *_ = images.items()
    _, scores = peer(graph, "RTMPose", SIZES["simcc"]).ask(path=path, boxes=boxes)["found"]
    assert scores[0] == pytest.approx([0.6])


def test_rtmlib_misses_the_spot_far_from_the_middle(peer, tmp_path):
    cv2.imwrite(str(tmp_path / "spot.png"), spot((1200, 1200), (870, 970), sigma=40))
    theirs = peer(save_seeing(tmp_path / "pose.onnx"), "ViTPose", SIZES["vitpose"])
    keypoints, _ = theirs.ask(path=str(tmp_path / "spot.png"), boxes=[[300, 200, 900, 1000]])["found"]
    assert np.linalg.norm(np.subtract(keypoints[0][0], [870, 970])) > 2


def test_rtmlib_makes_a_person_of_nobody(peer, images, tmp_path):
    graph = save_rtmo(tmp_path / "rtmo.onnx", [[10, 10, 50, 90, 0.4]], np.zeros((1, 17, 3)))
    keypoints, scores = peer(graph, "RTMO", SIZES["rtmo"]).ask(path=next(iter(images)))["found"]
    assert np.shape(keypoints) == (1, 17, 2)
    assert not np.any(keypoints)
    assert not np.any(scores)


RTMLIB_TRACKER = """
import json, sys
from functools import partial
import numpy as np
from rtmlib import Custom, PoseTracker
detector, pose, frames = sys.argv[1:]
tracker = PoseTracker(partial(Custom, det_class="YOLOX", det=detector, pose_class="RTMPose", pose=pose))
ids = []
for frame in np.load(frames):
    tracker(frame)
    ids.append(tracker.track_ids_last_frame)
print(json.dumps(ids))
"""


def test_rtmlib_gives_new_ids_once_somebody_has_left(tmp_path):
    """Two people, of whom the first leaves: the second has another id in each frame."""
    python = python_of("HPI_RTMLIB")
    detector = save_places(tmp_path / "yolox.onnx")
    pose = save_simcc(tmp_path / "pose.onnx", np.arange(17) * 20 + 30, np.arange(17) * 25 + 40)
    np.save(tmp_path / "frames.npy", np.stack([scene(who) for who in [(0, 1)] * 2 + [(1,)] * 4]))
    command = [python, "-c", RTMLIB_TRACKER, str(detector), str(pose), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout.splitlines()[-1])
    assert len({tuple(of_frame) for of_frame in ids[2:]}) > 1


def test_rtmlib_takes_its_turn_on_rtmpose_m(tmp_path):
    arguments = ("--people", "2", "--seconds", "0.01", "--rounds", "1", "--output", "out")
    done = run_hpi("benchmark", "rtmlib", EXAMPLE, "--rtmlib", python_of("HPI_RTMLIB"), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]["rows"]
    assert [row["who"] for row in rows] == ["hpi", "hpi, one by one", "rtmlib, onnxruntime", "rtmlib, openvino"]
    assert all(np.isfinite(row["p50_ms"]) for row in rows)


def test_paddlex_takes_its_turn_beside_both_versions(shared, tmp_path):
    pipeline = ",".join(str(shared / "models" / name) for name in (DETECTOR, POSE))
    arguments = (
        *("--before", sys.executable, "--folder", EXAMPLE.parent, "--pipeline", pipeline, "--part", "image"),
        *("--paddlex", python_of("HPI_PADDLEX"), "--seconds", "0.01", "--rounds", "1", "--output", "out"),
    )
    done = run_hpi("benchmark", "versions", EXAMPLE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["who"] for row in found["rows"]] == ["now", "before", "paddlex", "now", "before"]
    assert {row["people"] for row in found["rows"]} == {2}
    assert found["versions"]["paddlex"]["paddlex"]


@pytest.mark.parametrize("name", ["lite_hrnet_18_256x192_coco", "higherhrnet_hrnet_w32_512"])
def test_paddledetection_takes_its_turn_in_the_benchmark(shared, exported, tmp_path, name):
    """It finds the same people at the same places, but for near ties of a bottom-up model with random weights."""
    python_of("HPI_PADDLEDETECTION")
    python_of("HPI_PADDLEDETECTION_PYTHON")
    arguments = (
        *("--model", f"{name}={exported(name)}"),
        *("--detector", f"{DETECTOR}={shared / 'models' / DETECTOR}"),
        *("--backend", "onnxruntime", "--seconds", "0.01", "--rounds", "1", "--output", "out"),
    )
    done = run_hpi("benchmark", "zoo", shared / "data" / "photos" / "000000014439.jpg", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["who"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    plain, ours = rows["PaddleDetection, plain"], rows["hpi"]
    assert ours["people"] == pytest.approx(plain["people"], rel=0 if "lite" in name else 0.05)
    assert plain["people"] > 1
    assert ours["px_off"] < 0.5
    assert all(np.isfinite(row["p50_ms"]) for row in rows.values())
