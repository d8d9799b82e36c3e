"""Files of other programs open by their path alone, and give what their outputs say: planted ones, computed by hand."""

import json
import re

import model_files as files
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hpi import ConfigError, ModelError, Predictor
from hpi.benchmarks.graphs import save_graph
from hpi.cli.app import app

from planted import save_planted
from support import EXAMPLE, run_hpi

BOX = [39.0, 77.0, 160.0, 478.0]
KNOWN = {"device": "cpu", "backend": "onnxruntime"}


def run(*arguments):
    """A command, in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def crop(box, aspect):
    """Centre and sides of the crop of a box."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    width, height = (width, width / aspect) if width > height * aspect else (height * aspect, height)
    return np.array([x1 + x2, y1 + y2]) / 2, np.array([width, height]) * 1.25


def simcc_in_image(box=BOX, size=(192, 256), keypoints=17):
    """Where the vectors of ``planted_simcc`` put the keypoints of a box."""
    center, sides = crop(box, size[0] / size[1])
    index = np.arange(keypoints)
    return np.stack([10 + index, 20 + 2 * index], axis=1) / size * sides + center - sides / 2


@pytest.mark.parametrize("given", ["folder", "end2end.onnx", "pipeline.json"])
def test_an_rtmpose_of_mmdeploy(tmp_path, image, given):
    folder = files.rtmpose(tmp_path / "rtmpose-t")
    path = folder if given == "folder" else folder / given
    with Predictor(path, **KNOWN) as predictor:
        (result,) = predictor.predict(image, boxes=[BOX])
    assert (predictor.name, result.skeleton.name) == ("rtmpose-t", "coco17")
    np.testing.assert_allclose(result.keypoints[0], simcc_in_image(), atol=0.01)
    np.testing.assert_allclose(result.keypoint_scores, 0.9, atol=1e-6)


def test_an_rtmdet_of_mmdeploy(tmp_path, image):
    with Predictor(files.rtmdet(tmp_path / "rtmdet"), **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    ratio = 320 / max(image.shape[:2])
    np.testing.assert_allclose(result.boxes[0], np.array([80, 40, 160, 200]) / ratio, atol=0.5)
    assert [box["label"] for box in result["boxes"]] == ["person"]


def test_a_pipeline_of_two_folders_of_mmdeploy(tmp_path, image):
    pose, detector = files.rtmpose(tmp_path / "pose", 26), files.rtmdet(tmp_path / "detector")
    with Predictor.of_folders(pose, detector, **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    assert result.keypoints.shape == (1, 26, 2)
    np.testing.assert_allclose(result.keypoints[0], simcc_in_image(result.boxes[0], keypoints=26), atol=0.01)


@pytest.mark.parametrize("make", [files.vitpose_sdk, files.huggingface])
def test_a_vitpose_of_mmdeploy_and_of_hugging_face(tmp_path, image, make):
    with Predictor(make(tmp_path / "vitpose-b"), **KNOWN) as predictor:
        (result,) = predictor.predict(image, boxes=[BOX])
    center, sides = crop(BOX, 192 / 256)
    index = np.arange(17)
    cells = np.stack([10 + index, 20 + 2 * index], axis=1)
    np.testing.assert_allclose(result.keypoints[0], cells / (47, 63) * sides + center - sides / 2, atol=0.05)
    assert result.skeleton.name == "coco17"


def in_letterbox(points, image, size=640):
    """Pixels of an image, of points in its centred letterbox."""
    height, width = image.shape[:2]
    ratio = size / max(height, width)
    return (np.array(points, float) - (np.array([size, size]) - np.array([width, height]) * ratio) / 2) / ratio


PLANTED = np.stack([200 + 10 * np.arange(17), 150 + 20 * np.arange(17)], axis=1).astype(np.float32)


def yolo_rows(finished):
    """One person with the keypoints ``PLANTED``, whose box is (200, 150) to (400, 500)."""
    keypoints = np.concatenate([PLANTED, np.full((17, 1), 0.8, np.float32)], axis=1).ravel()
    if finished:
        rows = np.zeros((1, 300, 57), np.float32)
        rows[0, 0] = 200, 150, 400, 500, 0.9, 0, *keypoints
    else:
        rows = np.zeros((1, 56, 8400), np.float32)
        rows[0, :, 100] = 300, 325, 200, 350, 0.9, *keypoints
    return {"output0": rows}


@pytest.mark.parametrize("finished", [False, True])
def test_a_yolo_of_ultralytics(tmp_path, image, finished):
    path = tmp_path / "yolo-pose.onnx"
    files.save_planted(path, yolo_rows(finished), (1, 3, 640, 640), name="images", metadata=files.metadata())
    with Predictor(path, **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    assert (predictor.name, result.skeleton.name, len(result.keypoints)) == ("yolo-pose", "coco17", 1)
    np.testing.assert_allclose(result.keypoints[0], in_letterbox(PLANTED, image), atol=0.6)


def test_a_detector_of_ultralytics(tmp_path, image):
    rows = np.zeros((1, 6, 8400), np.float32)
    rows[0, :, 7] = 300, 325, 200, 350, 0.1, 0.9
    path = tmp_path / "yolo.onnx"
    said = files.metadata("detect", {0: "dog", 1: "person"})
    files.save_planted(path, {"output0": rows}, (1, 3, 640, 640), name="images", metadata=said)
    with Predictor(path, **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    assert [box["label"] for box in result["boxes"]] == ["person"]
    corners = in_letterbox([[200, 150], [400, 500]], image).ravel()
    np.testing.assert_allclose(result.boxes[0], corners, atol=0.6)


def test_a_plain_rtmo(tmp_path, image):
    dets = np.array([[[200, 150, 400, 500, 0.9]]], np.float32)
    keypoints = np.concatenate([PLANTED, np.full((17, 1), 0.8, np.float32)], axis=1)[None, None]
    path = files.save_planted(tmp_path / "rtmo.onnx", {"dets": dets, "keypoints": keypoints}, (1, 3, 640, 640))
    with Predictor(path, skeleton="coco17", **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    np.testing.assert_allclose(result.keypoints[0], in_letterbox(PLANTED, image), atol=0.6)


def test_a_plain_file_asks_for_its_skeleton_once(tmp_path, image):
    path = files.save_planted(tmp_path / "rtmpose-m.onnx", files.planted_simcc())
    with pytest.raises(ModelError, match="ap10k17 or coco17"):
        Predictor(path, **KNOWN)
    with Predictor(path, skeleton="coco17", **KNOWN) as predictor:
        (first,) = predictor.predict(image, boxes=[BOX])
    done = run("inspect", path, "--skeleton", "coco17", "--write")
    assert done.exit_code == 0, done.stderr
    with Predictor(path, **KNOWN) as predictor:
        (second,) = predictor.predict(image, boxes=[BOX])
    assert (predictor.name, second.skeleton.name) == ("rtmpose-m", "coco17")
    np.testing.assert_array_equal(first.keypoints, second.keypoints)


def test_hints_in_the_yaml_of_a_pipeline(tmp_path, image):
    files.save_planted(tmp_path / "pose" / "a.onnx", files.planted_simcc())
    dets = np.array([[[80, 40, 160, 200, 0.9]]], np.float32)
    files.save_planted(tmp_path / "detector" / "b.onnx", {"dets": dets}, (1, 3, 320, 320))
    modules = {
        "ObjectDetection": {"model_name": "b", "model_dir": "detector", "kind": "rtmdet"},
        "KeypointDetection": {"model_name": "a", "model_dir": "pose/a.onnx", "kind": "simcc", "skeleton": "coco17"},
    }
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"pipeline_name": "mine", "SubModules": modules}))
    with Predictor(config, **KNOWN) as predictor:
        (result,) = predictor.predict(image)
    assert (len(result.keypoints), result.skeleton.name) == (1, "coco17")
    folders = (tmp_path / "pose", tmp_path / "detector")
    with Predictor.of_folders(*folders, skeleton="coco17", det_kind="rtmdet", **KNOWN) as predictor:
        assert next(predictor.predict(image)).keypoints.tolist() == result.keypoints.tolist()


def test_hints_belong_to_one_model():
    with pytest.raises(ConfigError, match="kind, skeleton and description are for a single model"):
        Predictor("human_keypoint_detection_lite", kind="simcc")
    with pytest.raises(ConfigError, match="no detector is given"):
        Predictor.of_folders("pose", det_kind="yolox")


# hpi inspect


def described(folder):
    """A graph with a file that describes it, which needs no head of another program."""
    files.save_planted(folder / "model.onnx", files.planted_heatmaps())
    (folder / "hpi.yml").write_text("{transform: {type: top_down, size: [192, 256]}, head: {type: heatmap}}")
    return folder


def test_inspect_says_what_a_model_was_taken_for_and_why(tmp_path):
    done = run("inspect", described(tmp_path / "mine"))
    assert done.exit_code == 0, done.stderr
    for said in ("mine (keypoint_detection)", "ONNX graph with hpi.yml", "top_down, size 192 256", "heatmap",
                 "none: keypoints have numbers", "hpi.yml says all of it", "onnxruntime"):  # fmt: skip
        assert said in done.stdout


def test_inspect_as_json(tmp_path):
    done = run("inspect", described(tmp_path / "mine"), "--skeleton", "coco17", "--json")
    about = json.loads(done.stdout)
    assert (about["skeleton"], about["transform"]) == ("coco17", {"type": "top_down", "size": [192, 256]})
    assert (about["runtimes"]["onnxruntime"], about["written"]) == (None, None)


def test_inspect_writes_a_file_once(tmp_path):
    folder = described(tmp_path / "mine")
    done = run("inspect", folder, "--skeleton", "coco17", "--write")
    assert (done.exit_code, "give --force" in done.stderr) == (2, True)
    assert "skeleton" not in (folder / "hpi.yml").read_text()
    done = run("inspect", folder, "--skeleton", "coco17", "--write", "--force")
    assert done.exit_code == 0, done.stderr
    assert yaml.safe_load((folder / "hpi.yml").read_text())["skeleton"] == "coco17"
    assert sorted(file.name for file in folder.iterdir()) == ["hpi.yml", "model.onnx"]


def test_inspect_of_nothing(tmp_path):
    done = run("inspect", tmp_path / "missing")
    assert (done.exit_code, "no folder or file" in done.stderr) == (2, True)


SIMCC = {"simcc_x": ("N", 26, 384), "simcc_y": ("N", 26, 512)}
DESCRIBED = "{transform: {type: top_down, size: [192, 256]}, head: {type: simcc}}"
ODD_FILES = {
    "ok.onnx": lambda path: files.save_graph(path, SIMCC),
    "sdk": files.rtmpose,
    "detector": files.rtmdet,
    "own": lambda path: files.save_graph(path / "model.onnx", SIMCC) and (path / "hpi.yml").write_text(DESCRIBED),
    "empty": lambda path: path.mkdir(),
    "zipped.onnx": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(400)),
    "zero.onnx": lambda path: path.write_bytes(b""),
    "best.pt": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(400)),
    "pose.tflite": lambda path: path.write_bytes(b"\x1c\0\0\0TFL3"),
    "sdk.zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(400)),
    "gray.onnx": lambda path: files.save_graph(path, {"heatmaps": (1, 17, 64, 48)}, (1, 1, 256, 192)),
    "three.onnx": lambda path: files.save_graph(path, {**SIMCC, "simcc_z": (1, 26, 384)}),
    "two.yaml": lambda path: path.write_text("keypoints: [a, b]"),
    "broken.yaml": lambda path: path.write_text("keypoints: [a, b"),
}
ODD_CASES = [
    ("", {}, "no folder or file"),
    ("missing.onnx", {}, "no folder or file"),
    ("rtmpose-mm", {}, "did you mean rtmpose-m"),
    ("yolo11n-pose.pt", {}, "yolo export model=yolo11n-pose.pt format=onnx"),
    ("https://example.org/rtmpose.onnx", {}, "an address; download it"),
    ("empty", {}, "Other formats need"),
    ("zipped.onnx", {}, "archive .zip.; unpack it"),
    ("zero.onnx", {}, "empty; fetch it again"),
    ("best.pt", {}, "weights of PyTorch .*export"),
    ("pose.tflite", {}, "of TensorFlow Lite, .*give the ONNX file"),
    ("sdk.zip", {}, "archive; unpack it, and give the folder"),
    ("two.yaml", {}, "give an .onnx file|unknown field"),
    ("gray.onnx", {}, r"none of its inputs takes images \[N, 3, height, width\]"),
    ("three.onnx", {}, "no known family: .*simcc gives simcc_x"),
    ("ok.onnx", {"kind": "rtmpose"}, "unknown kind 'rtmpose'; did you mean 'simcc'"),
    ("ok.onnx", {"kind": "YOLOv8"}, "did you mean 'yolo'"),
    ("ok.onnx", {"kind": "movenet"}, "known are simcc"),
    ("ok.onnx", {"kind": ""}, "known are simcc"),
    ("ok.onnx", {"kind": "vitpose"}, "it is no vitpose: .*vitpose gives heatmaps"),
    ("ok.onnx", {"skeleton": "COCO"}, "did you mean 'coco17'"),
    ("ok.onnx", {"skeleton": "missing.yaml"}, "^(error: )?missing.yaml: cannot be read: No such file"),
    ("ok.onnx", {"skeleton": "broken.yaml"}, "broken.yaml: not valid YAML"),
    ("ok.onnx", {"skeleton": "two.yaml"}, "two.yaml has 2 keypoints, but the model finds 26; known of 26 are halpe26"),
    ("detector", {"skeleton": "coco17"}, "a detector has no skeleton; leave coco17 out"),
    ("sdk/missing.onnx", {}, "no folder or file"),
    ("own", {"kind": "rtmo"}, "is no rtmo: its outputs are read as simcc; leave kind out"),
]


@pytest.mark.parametrize(("path", "hints", "said"), ODD_CASES)
def test_wrong_files_and_hints_are_explained(tmp_path, monkeypatch, path, hints, said):
    monkeypatch.chdir(tmp_path)
    for name, make in ODD_FILES.items():
        if name in {path.partition("/")[0], *hints.values()}:
            make(tmp_path / name)
    with pytest.raises((ConfigError, ModelError), match=said):
        Predictor(path, **hints, **KNOWN)
    done = run("inspect", path, *(text for name, value in hints.items() for text in (f"--{name}", value)))
    assert done.exit_code in {1, 2} and "Traceback" not in done.stderr
    assert re.search(said, " ".join(done.stderr.split()))


@pytest.mark.parametrize(
    ("hints", "said"),
    [
        ({"kind": 5}, "kind is 5: give a name"),
        ({"skeleton": 17}, "skeleton is 17: give a name, .* or the path"),
        ({"description": "hpi.yml"}, "description: .*valid dictionary"),
        ({"description": {}}, "'transform' is missing"),
    ],
)
def test_hints_of_other_types_are_explained(tmp_path, hints, said):
    with pytest.raises(ConfigError, match=said):
        Predictor(files.save_graph(tmp_path / "ok.onnx", SIMCC), **hints, **KNOWN)


@pytest.mark.full
@pytest.mark.parametrize("family", ["simcc", "rtmo", "yolo-pose", "rtmdet"])
def test_tune_measures_every_family_and_explain_shows_it(tmp_path, family):
    path, home = tmp_path / f"{family}.onnx", {"HPI_HOME": str(tmp_path / "home"), "HPI_CALIBRATE": "0"}
    if family == "yolo-pose":
        rows = np.zeros((1, 56, 84), np.float32)
        rows[0, :5, 7], rows[0, 5:, 7] = (30, 30, 20, 20, 0.9), np.linspace(1, 60, 51)
        save_planted(path, {"output0": rows}, (1, 3, 64, 64), metadata=files.metadata("pose", imgsz="[64, 64]"))
    else:
        save_graph(family, path)
    hints = {"rtmdet": ["--kind", "rtmdet"], "yolo-pose": []}.get(family, ["--skeleton", "coco17"])
    before = run_hpi("explain", "--model", path, *hints, cwd=tmp_path, **home)
    assert before.returncode == 0 and "no measurements of this model" in before.stdout
    tuned = run_hpi("tune", "--model", path, *hints, "--budget", "1", cwd=tmp_path, **home)
    assert tuned.returncode == 0, tuned.stderr
    assert f"{family}: " in tuned.stdout and "(before: " in tuned.stdout
    after = run_hpi("explain", "--model", path, *hints, cwd=tmp_path, **home)
    assert after.returncode == 0 and "measured on this machine" in after.stdout


@pytest.mark.full
def test_inspect_of_a_known_model():
    done = run("inspect", "MoveNet-Thunder_256x256")
    assert "PaddleX or PaddleDetection folder" in done.stdout
    done = run("inspect", "MoveNet-Thunder_256x256", "--write")
    assert (done.exit_code, "opens by its name" in done.stderr) == (2, True)


@pytest.mark.full
def test_the_command_line_takes_a_path_and_a_skeleton(tmp_path):
    done = run("predict", EXAMPLE, "--model", described(tmp_path / "mine"), "--skeleton", "coco17", "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["kpts"][0]["keypoints"]) == 17


def test_the_command_line_takes_a_path_and_a_kind(tmp_path):
    done = run("predict", EXAMPLE, "--model", described(tmp_path / "mine"), "--kind", "rtmo", "--json")
    assert (done.exit_code, "it is no rtmo" in done.stderr) == (1, True)
