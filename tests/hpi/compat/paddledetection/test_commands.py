"""``hpi paddledetection``, in processes, with real models; and results equal to those of PaddleDetection's scripts."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import dots
from support import EXAMPLE, quick_first, run_hpi

UNITE, INFER = "det_keypoint_unite_image_results.json", "keypoint_infer_image_results.json"
CLEAR = 0.2
"""Score above which the positions of keypoints are compared."""


@pytest.fixture
def models(shared):
    folder = shared / "models"
    return {
        "--det_model_dir": folder / "PicoDet-S_pedestrian_320",
        "--keypoint_model_dir": folder / "tinypose_256x192_paddle2",
    }


def words(options):
    return [word for name, value in options.items() for word in (name, value)]


def golden(shared, script):
    found = [json.loads(path.read_text()) for path in sorted((shared / "zoo" / "golden" / script).glob("*.json"))]
    assert found
    return {one["image"]: one for one in found}


@pytest.fixture
def images(shared, tmp_path):
    """The images of the goldens, in a folder with other files."""
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "notes.txt").write_text("none")
    shutil.copy(EXAMPLE, folder / "inner")
    for name in golden(shared, "keypoint_infer_tinypose256"):
        (file,) = [*(shared / "data").rglob(name)]
        shutil.copy(file, folder)
    return folder


def assert_same(found, expected):
    """Within 0.1 px for 99 of 100 clear keypoints and 0.5 px for all, and 0.005 in score."""
    found, expected = np.array(found), np.array(expected)
    assert found.shape == expected.shape
    distance = np.linalg.norm((found - expected)[expected[..., 2] > CLEAR][:, :2], axis=-1)
    assert (distance > 0.1).sum() <= len(distance) // 100
    assert distance.max(initial=0) <= 0.5
    assert np.abs(found - expected)[..., 2].max(initial=0) <= 0.005


@pytest.mark.parametrize(
    ("use_dark", "keypoints"),
    [("True", "keypoints"), pytest.param("False", "keypoints_no_dark", marks=pytest.mark.full)],
)
def test_det_keypoint_unite_gives_what_the_script_gives(shared, models, images, tmp_path, use_dark, keypoints):
    done = run_hpi(
        "paddledetection", "det-keypoint-unite", *words(models), "--image_dir", "images", "--save_res", "True",
        f"--use_dark={use_dark}", "--device", "CPU", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = golden(shared, "unite_picodet320_tinypose256")
    rows = json.loads((tmp_path / UNITE).read_text())
    names = [Path(path).name for path, _, _ in rows]
    assert names == sorted(name for name, one in expected.items() if one["people"])
    assert all(Path(path).is_absolute() for path, _, _ in rows)
    for name, (_, boxes, (points, scores)) in zip(names, rows, strict=True):
        people = expected[name]["people"]
        assert len(boxes) == len(points) == len(scores) == len(people)
        assert all(type(value) is int for box in boxes for value in box)
        for person in people:
            row = boxes.index(person["bbox"])
            assert_same(points[row], person[keypoints])
            assert np.abs(np.array(scores[row]) - person["score"]).max() <= 0.005
    saved = {path.name for path in (tmp_path / "output").iterdir()}
    assert saved == {f"{Path(name).stem}_vis.jpg" for name in expected}


@pytest.mark.full
@pytest.mark.parametrize(("use_dark", "keypoints"), [("True", "keypoints"), ("False", "keypoints_no_dark")])
def test_keypoint_infer_gives_what_the_script_gives(shared, models, images, tmp_path, use_dark, keypoints):
    done = run_hpi(
        "paddledetection", "keypoint-infer", "--model_dir", models["--keypoint_model_dir"], "--image_dir", "images",
        "--batch_size=3", "--save_res", "true", "--save_images", "False", "--use_dark", use_dark, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = golden(shared, "keypoint_infer_tinypose256")
    rows = json.loads((tmp_path / INFER).read_text())
    assert {Path(path).name for path, _, _ in rows} == expected.keys()
    for path, boxes, (points, scores) in rows:
        one = expected[Path(path).name]
        assert boxes == []
        assert_same(np.array(points).reshape(-1, 3), np.array(one[keypoints]).reshape(-1, 3))
        assert np.abs(np.array(scores).ravel() - one["score"]).max() <= 0.005
    assert not (tmp_path / "output").exists()


@pytest.mark.full
def test_both_spellings_of_a_model_give_the_same(shared, models, images, tmp_path):
    """PaddleX's folder of PP-TinyPose_256x192 is PaddleDetection's with another yml."""
    models["--keypoint_model_dir"] = shared / "models" / "PP-TinyPose_256x192"
    image = images / "000000014439.jpg"
    command = ("paddledetection", "det-keypoint-unite", *words(models), "--image_file", image, "--save_res=1")
    assert run_hpi(*command, cwd=tmp_path).returncode == 0
    ((path, boxes, (points, _)),) = json.loads((tmp_path / UNITE).read_text())
    assert path == str(image)
    for person in golden(shared, "unite_picodet320_tinypose256")[image.name]["people"]:
        assert_same(points[boxes.index(person["bbox"])], person["keypoints"])


@pytest.mark.full
def test_nobody_is_a_picture_without_people_and_no_entry(models, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "a.png")
    command = ("paddledetection", "det-keypoint-unite", *words(models), "--image_file", "a.png", "--det_threshold", "1")
    done = run_hpi(*command, "--save_res", "True", "--output_dir", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["a.png: 0 people", "saved pictures/a_vis.jpg", f"saved {UNITE}"]
    assert json.loads((tmp_path / UNITE).read_text()) == []


@pytest.mark.full
def test_a_result_file_that_would_lack_an_image_is_not_written(models, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no image")
    shutil.copy(EXAMPLE, tmp_path / "in" / "b.png")
    command = ("paddledetection", "det-keypoint-unite", *words(models), "--image_dir", "in", "--save_res", "True")
    done = run_hpi(*command, cwd=tmp_path)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "a.jpg: not an image" in first
    assert last == f"error: {UNITE}: not written, since 1 of the images would be missing in it"
    assert not (tmp_path / UNITE).exists()
    assert (tmp_path / "output" / "b_vis.jpg").exists()


@pytest.mark.full
def test_the_threshold_of_keypoints_decides_what_is_drawn(models, tmp_path):
    pictures = []
    for threshold in ("0", "1"):
        done = run_hpi(
            "paddledetection", "keypoint-infer", "--model_dir", models["--keypoint_model_dir"], "--image_file", EXAMPLE,
            "--threshold", threshold, "--output_dir", threshold, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        pictures.append(cv2.imread(str(tmp_path / threshold / "basketball_vis.jpg")).astype(int))
    plain = cv2.imread(str(EXAMPLE)).astype(int)
    drawn = [np.abs(picture - plain).mean() for picture in pictures]
    assert drawn[1] < drawn[0]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["keypoint-infer", "--model_dir", "none", "--image_file", EXAMPLE], 1, "error: none: no such model folder"),
        (["keypoint-infer", "--model_dir", "none"], 2, "error: give --image_file, --image_dir, --video_file"),
        (
            ["keypoint-infer", "--model_dir", "none", "--image_file", "none.jpg"],
            1,
            "error: --image_file none.jpg: no such file",
        ),
        (
            ["keypoint-infer", "--model_dir", "none", "--image_dir", "none"],
            1,
            "error: --image_dir none: no such folder",
        ),
        (
            ["keypoint-infer", "--model_dir", "none", "--image_dir", "."],
            1,
            "error: --image_dir .: no images in this folder (.bmp, .jpeg, .jpg, .png)",
        ),
        (
            ["keypoint-infer", "--model_dir", "none", "--image_file", EXAMPLE, "--run_mode", "trt_int8"],
            2,
            "error: --run_mode trt_int8: INT8 is not supported; give paddle, trt_fp32, trt_fp16",
        ),
        (
            ["keypoint-infer", "--model_dir", "none", "--image_file", EXAMPLE, "--run_mode=trt_fp16"],
            2,
            "error: --run_mode trt_fp16: TensorRT needs --device GPU",
        ),
        (["keypoint-infer", "--modeldir", "none"], 2, "error: --modeldir is not a flag of this script; did you mean"),
    ],
)
@pytest.mark.full
def test_an_error_is_one_line_with_an_exit_code(tmp_path, command, code, said):
    done = run_hpi("paddledetection", *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.full
@pytest.mark.parametrize("command", quick_first([["keypoint-infer", "--help"], ["det-keypoint-unite", "-h"]]))
def test_help_lists_the_flags_by_what_they_do(tmp_path, command):
    done = run_hpi("paddledetection", *command, cwd=tmp_path)
    assert done.returncode == 0
    for heading in ("Input:", "Results:", "Runtime:", "Accepted without effect:", "Not supported:"):
        assert f"\n{heading}\n" in done.stdout
    assert done.stdout.count("--enable_mkldnn:") == 1


@pytest.mark.full
def test_a_bottom_up_model_finds_everyone_without_a_detector(shared, models, tmp_path):
    shutil.unpack_archive(shared / "zoo" / "random" / "higherhrnet_hrnet_w32_512.tar.xz", tmp_path)
    folder = tmp_path / "higherhrnet_hrnet_w32_512"
    command = ("keypoint-infer", "--model_dir", folder, "--image_file", EXAMPLE, "--save_res", "True")
    done = run_hpi("paddledetection", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ((_, boxes, (points, scores)),) = json.loads((tmp_path / INFER).read_text())
    assert boxes == []
    assert len(points) == len(scores) > 1
    models["--keypoint_model_dir"] = folder
    done = run_hpi("paddledetection", "det-keypoint-unite", *words(models), "--image_file", EXAMPLE, cwd=tmp_path)
    assert done.returncode == 2
    assert "a bottom-up model runs with: hpi paddledetection keypoint-infer --model_dir" in done.stderr


@pytest.fixture
def decoding(tmp_path):
    """A keypoint model whose graph decodes its keypoints itself; it finds the same 17 in each crop of 64x64."""
    text = """g (float[N, 3, 64, 64] image) => (float[N, 17, 3] y) <float[1] no = {0.0}, int64[3] as_y = {-1, 1, 1}>
        { mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (image) none = Mul (mean, no) flat = Reshape (none, as_y)
          y = Add (flat, all_y) }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}')
    rows = np.stack([np.arange(17), 2 * np.arange(17), np.full(17, 0.75)], axis=1)[None].astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rows, "all_y"))
    steps = [{"type": "TopDownEvalAffine", "trainsize": [64, 64]}, {"type": "Permute"}]
    return dots.save(tmp_path / "decoding", model, Preprocess=steps, hpi={"head": {"type": "keypoints"}})


@pytest.mark.parametrize("use_dark", [("--use_dark", "False"), pytest.param((), marks=pytest.mark.full)])
def test_a_graph_that_decodes_keypoints_runs(models, decoding, tmp_path, use_dark):
    for command in (
        ("keypoint-infer", "--model_dir", decoding),
        ("det-keypoint-unite", "--keypoint_model_dir", decoding, "--det_model_dir", models["--det_model_dir"]),
    ):
        done = run_hpi("paddledetection", *command, "--image_file", EXAMPLE, *use_dark, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("--use_dark has no effect" in done.stderr) == bool(use_dark)
