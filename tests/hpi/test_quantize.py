"""INT8: calibrating detectors, validating them by their boxes, and finding what was kept."""

import dataclasses
import json
import logging
import shutil
import sys

import cv2
import numpy as np
import pytest

from hpi import BackendError, ConfigError, InputError, ModelError, Predictor
from hpi.backends.artifacts import NOTE, ArtifactCache, content_hash
from hpi.backends.base import SessionOptions
from hpi.evaluation.coco import CocoDataset
from hpi.instances import Instances
from hpi.models.agreement import box_agreement
from hpi.models.int8 import GRAPH, IMAGES, ApLoss, Int8Note, MadeFrom, files_of
from hpi.quantization.accuracy import box_ap, people_in
from hpi.quantization.images import LEAST, MOST, read_images
from hpi.quantization.quantize import quantize
from hpi.selection.priors import Priors, device_class
from hpi.zoo import Zoo

from support import EXAMPLE, SHARED, measured_row, quick_first, require, run_hpi

require("openvino")

pytestmark = pytest.mark.long  # its slow cases run each night

DETECTOR, POSE = "PicoDet-S_person_416", "MoveNet-Thunder_256x256"
NEEDS_SHARED = pytest.mark.skipif(not (SHARED / "data" / "vtest.avi").is_file(), reason="needs the shared data")


@pytest.fixture(scope="module")
def own_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def home(own_home, monkeypatch):
    """``HPI_HOME`` of these tests, without a calibration or measurements of the last one."""
    monkeypatch.setenv("HPI_HOME", str(own_home))
    yield own_home
    shutil.rmtree(own_home / "quantized", ignore_errors=True)
    (own_home / "priors.json").unlink(missing_ok=True)


def write_images(folder, count):
    """Parts of an image of two people: 16 or more are clear boxes enough."""
    folder.mkdir(parents=True, exist_ok=True)
    image = cv2.imread(str(EXAMPLE))
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.jpg"), image[: len(image) - 2 * number, 2 * number :])
    return folder


def keep(folder, spec, points=0.5, **changes):
    """What ``hpi quantize`` keeps, with the graph in FP32: how it is found and validated hangs on no arithmetic."""
    write_images(folder / IMAGES, LEAST)
    shutil.copyfile(spec.files.onnx, folder / GRAPH)
    key = MadeFrom(
        model=spec.name, content=spec.files.content, images="0a" * 32, calibrated_on=48, validated_on=LEAST, recipe="1",
        rewrites="", nncf="3.4.0", openvino="2026.0",
    )  # fmt: skip
    note = Int8Note(
        key=key.model_copy(update=changes), sha256=content_hash(files_of(folder)), created="2026-01-31 12:00:00",
        ap_loss=ApLoss(points=points, how="measured on 32 annotated images"),
    )  # fmt: skip
    (folder / NOTE).write_text(note.model_dump_json())
    return folder


@pytest.fixture
def kept(home):
    zoo = Zoo.default()
    return keep(zoo.int8_folder(zoo.find(DETECTOR)), zoo.find(DETECTOR))


@pytest.fixture
def fastest_in_int8(home):
    """Measurements of this machine by which INT8 is the fastest; gone after the test."""
    rows = [
        measured_row(DETECTOR, backend, milliseconds, device_class("cpu"), precision=precision, threads=1)
        for backend, precision, milliseconds in (("onnxruntime", "fp32", 9), ("openvino", "int8", 5))
    ]
    Priors(Zoo.default().own_priors).store(rows)
    yield
    Zoo.default().own_priors.unlink()


def describe(name=DETECTOR, **options):
    with Predictor(name, threads=1, device="cpu", **options) as predictor:
        return predictor.describe()["models"]


@pytest.mark.full
def test_what_is_kept_is_found_and_shown(kept):
    (model,) = describe(precision="int8")
    assert (model["backend"], model["precision"], model["file"]) == ("openvino", "int8", str(kept / GRAPH))
    assert "calibrated for INT8 on 48 images 0a0a0a0a0a0a, recipe 1" in model["notes"]
    assert "loss 0.5 points of AP, measured on 32 annotated images" in model["notes"]


@pytest.mark.full
def test_of_a_pipeline_the_detector_runs_in_int8(kept):
    assert [model["precision"] for model in describe("human_keypoint_detection_lite", precision="int8")] == [
        "int8",
        "fp32",
    ]


@pytest.mark.full
def test_a_keypoint_model_that_is_to_run_in_int8_is_not_run_in_fp32(kept):
    """Where its own section says so."""
    own = {"hpi_config": {"backend_config": {"precision": "int8"}}}
    config = {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": DETECTOR},
            "KeypointDetection": {"model_name": POSE, **own},
        },
    }
    with pytest.raises(BackendError, match=f"{POSE}.*not calibrated for INT8"):
        describe("mine", config=config)


def test_beside_the_model_outranks_the_home(kept, tmp_path):
    shutil.copytree(Zoo.default().find(DETECTOR).folder, tmp_path / "mine")
    keep(tmp_path / "mine" / "int8", Zoo.default().find(DETECTOR))
    (model,) = describe(model_dir=tmp_path / "mine", precision="int8")
    assert model["file"] == str(tmp_path / "mine" / "int8" / GRAPH)


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "expected"),
    quick_first(
        [
            ({"precision": "auto"}, "fp32"),
            ({"precision": "auto", "max_ap_loss": 0.4}, "fp32"),
            ({"hpi_config": {"backend_config": {"precision": "auto", "max_ap_loss": 1}}}, "int8"),
            ({}, "fp32"),
            ({"max_ap_loss": 1}, "fp32"),
            ({"precision": "auto", "max_ap_loss": 1}, "int8"),
            ({"max_ap_loss": 0.4, "hpi_config": {"backend_config": {"precision": "auto", "max_ap_loss": 1}}}, "fp32"),
            ({"precision": "fp32", "hpi_config": {"backend_config": {"precision": "int8"}}}, "fp32"),
        ],
        3,
    ),
    ids=str,
)
@pytest.mark.usefixtures("fastest_in_int8")
def test_auto_takes_int8_only_within_the_allowed_loss(kept, options, expected):
    (model,) = describe(**options)
    assert model["precision"] == expected
    if options == {"precision": "auto", "max_ap_loss": 0.4}:
        assert "may exceed the allowed loss of 0.4 points of AP" in model["rejected"]["openvino int8"]


def test_without_a_calibration_the_error_says_how_to_make_one(home):
    with pytest.raises(BackendError, match="not calibrated for INT8; calibrate a detector with: hpi quantize"):
        describe(precision="int8")


def damage_graph(folder):
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:-1])


def lose_an_image(folder):
    next((folder / IMAGES).iterdir()).unlink()


def lose_the_graph(folder):
    (folder / GRAPH).unlink()


def break_the_note(folder):
    (folder / NOTE).write_text("{")


def nest_the_note(folder):
    (folder / NOTE).write_text("[" * 100_000)


def empty_the_note(folder):
    (folder / NOTE).write_text("{}")


def change_the_model(folder):
    note = json.loads((folder / NOTE).read_text())
    note["key"]["content"] = "0a" * 32
    (folder / NOTE).write_text(json.dumps(note))


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage_graph, "the INT8 calibration is damaged"),
        (lose_an_image, "the INT8 calibration is damaged"),
        (lose_the_graph, "model.onnx: cannot be read"),
        (break_the_note, "Expecting property name"),
        (nest_the_note, "recursion"),
        (empty_the_note, "field 'key' is missing"),
        (change_the_model, f"of {DETECTOR} with other weights"),
    ],
)
def test_what_is_kept_but_wrong_is_an_error(kept, change, message):
    change(kept)
    with pytest.raises(ModelError, match=f"{message}.*make it again with: hpi quantize"):
        describe(precision="int8")


@pytest.mark.full
def test_too_few_boxes_are_refused(kept):
    spec = Zoo.default().find(DETECTOR)
    shutil.rmtree(kept)
    keep(kept, spec)
    for path in sorted((kept / IMAGES).iterdir())[2:]:
        path.unlink()
    note = json.loads((kept / NOTE).read_text())
    (kept / NOTE).write_text(json.dumps({**note, "sha256": content_hash(files_of(kept))}))
    with pytest.raises(BackendError, match=r"too few to compare: .* at least 20"):
        describe(precision="int8")


# The images.


def test_images_are_spread_and_every_fourth_validates(tmp_path):
    shown = read_images(write_images(tmp_path, MOST + 5))
    assert (len(shown.calibrated_on), len(shown.validated_on)) == (48, 16)
    assert shown.digest == read_images(tmp_path).digest
    (tmp_path / "0.jpg").unlink()  # the first is among them
    assert shown.digest != read_images(tmp_path).digest


def test_bad_images_are_left_out_with_a_message(tmp_path, caplog):
    write_images(tmp_path, LEAST)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        shown = read_images(tmp_path)
    assert len(shown.calibrated_on) + len(shown.validated_on) == LEAST
    assert "broken.jpg" in caplog.text and "it is left out" in caplog.text


def nothing(folder):
    folder.mkdir()


def no_images(folder):
    folder.mkdir()
    (folder / "notes.txt").touch()


def only_bad_ones(folder):
    folder.mkdir()
    for number in range(LEAST):
        (folder / f"{number}.jpg").write_bytes(b"no image")


def one_too_few(folder):
    write_images(folder, LEAST - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "give the folder of the images"),
        (lambda folder: folder.touch(), "give the folder of the images"),
        (nothing, "0 images in it can be used, but INT8 takes at least 16"),
        (no_images, "0 images in it can be used"),
        (only_bad_ones, "0 images in it can be used"),
        (one_too_few, f"{LEAST - 1} images in it can be used"),
    ],
)
def test_too_few_images_are_an_error(tmp_path, make, message):
    make(tmp_path / "images")
    with pytest.raises(InputError, match=message):
        read_images(tmp_path / "images")


def options_of(home):
    return SessionOptions(ArtifactCache(home / "artifacts"))


def test_keypoint_models_are_refused_with_the_reason(home, tmp_path):
    with pytest.raises(ConfigError, match=r"PP-TinyPose loses 2\.6 to 5 points of AP .* --force"):
        quantize(Zoo.default().find(POSE), tmp_path, tmp_path / "int8", options_of(home))


@pytest.mark.parametrize("package", ["nncf", "onnx"])
def test_a_missing_package_names_the_extra(home, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'INT8 needs {package}: pip install "hpi-pose\[quantize\]"'):
        quantize(Zoo.default().find(DETECTOR), tmp_path, tmp_path / "int8", options_of(home))


# The boxes.


@pytest.fixture
def boxes():
    """Boxes far from each other, with clear scores that are all different."""
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng, count = np.random.default_rng(seed), 40
    corners = np.stack([np.arange(count) * 100, rng.uniform(0, 50, count)], axis=1)
    scores = rng.uniform(0.7, 0.9, count)
    return Instances(scores, boxes=np.concatenate([corners, corners + 60], axis=1), class_ids=np.zeros(count, int))


def test_same_boxes_agree(boxes):
    found = box_agreement([boxes], [boxes], threshold=0.5)
    assert dataclasses.astuple(found) == (40, 0, 0, 1, 1, 0)
    assert found.ap_loss == pytest.approx(100 / 42)


def test_boxes_are_lost_and_added(boxes):
    found = box_agreement([boxes[5:]], [boxes[:-3]], threshold=0.5)
    assert (found.boxes, found.lost, found.added) == (35, 3, 5)


@pytest.mark.parametrize(("score", "lost"), [(0.3, 0), (0.2, 40)])
def test_a_box_that_falls_just_below_the_threshold_is_not_lost(boxes, score, lost):
    low = boxes.replaced(scores=np.full(len(boxes), score))
    assert box_agreement([boxes], [low], threshold=0.5).lost == lost


def test_a_box_of_another_class_is_another_box(boxes):
    other = boxes.replaced(class_ids=np.ones(len(boxes), int))
    found = box_agreement([boxes], [other], threshold=0.5)
    assert (found.lost, found.added) == (40, 40)


# The whole way.


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of the shared video, and the shared images."""
    folder = tmp_path_factory.mktemp("frames")
    for image in sorted((SHARED / "data" / "photos").glob("*.jpg")):
        shutil.copy(image, folder)
    video = cv2.VideoCapture(str(SHARED / "data" / "vtest.avi"))
    for number in range(780):
        _, frame = video.read()
        if number % 13 == 0:
            cv2.imwrite(str(folder / f"frame_{number}.png"), frame)
    return folder


@pytest.mark.full
@NEEDS_SHARED
@pytest.mark.parametrize("name", ["PicoDet-S_pedestrian_320", DETECTOR])
def test_a_detector_keeps_its_ap(tmp_path, frames, home, name):
    require("nncf")
    require("pycocotools")
    folder = SHARED / "models" / name if (SHARED / "models" / name).is_dir() else Zoo.default().find(name).folder
    shutil.copytree(folder, tmp_path / "model")
    command = ("quantize", name, "--model_dir", tmp_path / "model", "--images", frames, "--beside_model")
    made = tmp_path / "model" / "int8"
    done = run_hpi(*command, cwd=tmp_path, HPI_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "calibrated for INT8 on 48 images, validated on 16 others" in done.stdout
    assert "estimated from the boxes that change" in done.stdout
    assert "onnxruntime:" not in done.stderr  # its warnings
    first = (made / GRAPH).read_bytes()

    coco = SHARED / "data" / "coco_val"
    dataset = CocoDataset(coco / "person_keypoints.json", coco / "images", "detector")
    ap = {}
    for precision in ("fp32", "int8"):
        with Predictor(name, model_dir=tmp_path / "model", precision=precision) as predictor:
            ap[precision] = box_ap(people_in(predictor.pipelines[0].models[0], dataset), dataset)
    assert ap["int8"] >= ap["fp32"] - 0.7

    measured = ("--annotations", coco / "person_keypoints.json", "--annotated_images", coco / "images")
    done = run_hpi(*command, *measured, cwd=tmp_path, HPI_HOME=str(home))
    assert done.returncode == 0, done.stderr
    note = Int8Note.model_validate_json((made / NOTE).read_text())
    assert note.ap_loss.points == pytest.approx(ap["fp32"] - ap["int8"], abs=0.01)
    assert note.ap_loss.how.startswith("measured on 32 annotated images, give or take")
    assert (made / GRAPH).read_bytes() == first  # the same images, the same graph


@pytest.mark.full
@NEEDS_SHARED
def test_the_gate_refuses_tinypose_with_figures(tmp_path, frames, home):
    require("nncf")
    folder = SHARED / "models" / "PP-TinyPose_128x96"
    command = ("quantize", "PP-TinyPose_128x96", "--model_dir", folder, "--images", people_of(frames, tmp_path))
    done = run_hpi(*command, "--force", cwd=tmp_path, HPI_HOME=str(home))
    assert done.returncode == 1
    assert "the parity gate refuses it in INT8, and nothing is kept" in done.stderr
    assert "keypoints against onnxruntime fp32: at most" in done.stderr and "(allowed 1 px" in done.stderr
    assert not list((home / "quantized").glob(f"*/{GRAPH}"))


def people_of(frames, tmp_path):
    """One person an image, as the keypoint model sees them behind a detector."""
    folder = tmp_path / "people"
    folder.mkdir()
    with Predictor(DETECTOR) as detector:
        for result in detector.predict(str(frames)):
            image = cv2.imread(str(result["input_path"]))
            for number, one in enumerate(result["boxes"]):
                x1, y1, x2, y2 = (round(value) for value in one["coordinate"])
                path = folder / f"{len(list(folder.iterdir()))}_{number}.png"
                cv2.imwrite(str(path), image[y1:y2, x1:x2])
    return folder
