"""Detectors as PaddleDetection exports them: several classes, and an input whose size depends on the image."""

import shutil

import cv2
import numpy as np
import onnx
import pytest
import yaml
from measuring import PREPROCESS, write_measuring, write_yml

from hpi import ModelError, Predictor
from hpi.devices import OnHost
from hpi.models.readers import read_model
from hpi.transforms import KeepRatio

from support import ROOT, missing_backend, require, run_python

HOST = OnHost({})

LABELS = ["person", "bicycle", "dog"]


@pytest.fixture(scope="module")
def measuring(tmp_path_factory):
    return write_measuring(tmp_path_factory.mktemp("measuring"))


@pytest.fixture(scope="session")
def several_classes(shared, tmp_path_factory):
    """RTMDet-nano as PaddleDetection would export it."""
    require("paddle")
    folder = tmp_path_factory.mktemp("several") / "several"
    graph = shared / "models" / "RTMDet-nano_raw" / "rtmdet-nano.onnx"
    done = run_python(ROOT / "tests" / "several_classes.py", graph, folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    write_yml(folder, LABELS)
    return folder


def noise(rng, width, height):
    """An image that normalises to 0 nowhere."""
    return rng.integers(200, 256, (height, width, 3), np.uint8)


SIZES = [(640, 427), (427, 640), (37, 41), (480, 320), (900, 100), (320, 320)]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_padding_is_zero_and_sizes_are_told(rng, measuring, backend):
    """Also in a batch, in which images of one input size go together."""
    if reason := missing_backend(backend):
        pytest.skip(reason)
    images = [noise(rng, *size) for size in SIZES * 2]
    with Predictor("measuring", model_dir=measuring, backend=backend, device="cpu") as predictor:
        results = list(predictor.predict(images, batch_size=len(images)))
    for result, (width, height) in zip(results, SIZES * 2, strict=True):
        assert result.instances.class_ids.tolist() == [1, 0]
        ratio = plain_ratio(width, height, 320, 480)
        scaled = np.array([round(width * ratio), round(height * ratio)])
        expected = np.minimum(scaled / ratio, (width, height))
        assert result.boxes == pytest.approx(np.tile([0, 0, *expected], (2, 1)), abs=1e-3)


def plain_ratio(width, height, short, long):
    """PaddleDetection's rule, step by step."""
    ratio = short / min(width, height)
    return long / max(width, height) if round(ratio * max(width, height)) > long else ratio


@pytest.mark.parametrize("interpolation", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
@pytest.mark.parametrize(("short", "long", "multiple"), [(320, 480, 32), (800, 1333, 128), (300, 300, 1)])
def test_an_image_becomes_what_paddledetection_makes_of_it(rng, short, long, multiple, interpolation):
    transform = KeepRatio(short, long, multiple, interpolation)
    for width, height in [*SIZES, (1333, 800), (2, 999)]:
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        ratio = plain_ratio(width, height, short, long)
        resized = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=interpolation)
        inner_height, inner_width = resized.shape[:2]
        padded = [-(-side // multiple) * multiple for side in resized.shape[:2]]
        prepared = transform.prepare(HOST, [image])
        assert transform.size_for(image) == prepared.size == (padded[1], padded[0])
        assert prepared.batch.shape[1:3] == tuple(padded)
        assert np.array_equal(prepared.batch[0, :inner_height, :inner_width], resized)
        assert prepared.scaled.tolist() == [[inner_height, inner_width]]
        assert prepared.scale.tolist() == [[ratio, ratio]]


@pytest.mark.parametrize(("width", "height"), [(1, 5000), (5000, 1), (1, 1), (20000, 3)])
def test_an_extreme_image_has_an_input(rng, width, height):
    prepared = KeepRatio(320, 480, 32).prepare(HOST, [noise(rng, width, height)])
    assert prepared.scaled.min() >= 1
    assert max(prepared.size) <= 480
    assert prepared.batch[0, 0, 0].min() > 0


def rewritten(folder, measuring, change):
    shutil.copytree(measuring, folder)
    content = yaml.safe_load((folder / "infer_cfg.yml").read_text())
    change(content["Preprocess"])
    (folder / "infer_cfg.yml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("change", "transform"),
    [
        (lambda steps: None, KeepRatio(320, 480, 32, 2)),
        (lambda steps: steps.pop(), KeepRatio(320, 480, 1, 2)),
        (lambda steps: steps[3].update(stride=-1), KeepRatio(320, 480, 1, 2)),
        (lambda steps: steps[0].update(target_size=[1333, 800], interp=1), KeepRatio(800, 1333, 32, 1)),
        (lambda steps: steps.pop(1), KeepRatio(320, 480, 32, 2)),
    ],
)
def test_keep_ratio_without_a_pad_keeps_the_size_free(measuring, tmp_path, change, transform):
    spec = read_model(rewritten(tmp_path / "own", measuring, change))
    assert spec.transform == transform
    assert spec.normalization is not None
    assert spec.files.normalization is None  # no runtime is to normalise the padding


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda steps: steps[0].update(keep_ratio=False, target_size=[300, 480]), "PadStride pads to multiples of 32"),
        (lambda steps: steps[3].update(stride="big"), "stride"),
        (lambda steps: steps[3].update(size=3), "size"),
        (lambda steps: steps.insert(0, steps.pop()), "Preprocess"),
        (lambda steps: steps.insert(2, steps.pop()), "Preprocess"),
    ],
)
def test_other_paddings_are_refused(measuring, tmp_path, change, what):
    folder = rewritten(tmp_path / "own", measuring, change)
    with pytest.raises(ModelError, match=what) as error:
        read_model(folder)
    assert "infer_cfg.yml" in str(error.value)


def test_a_graph_that_normalises_the_padding_is_refused(measuring, tmp_path):
    require("openvino")
    folder = rewritten(tmp_path / "own", measuring, lambda steps: None)
    text = """g (uint8[1, H, W, 3] image) => (float[1, 6] rows, int32[1] counts)
        <float[1, 6] row = {0.0, 0.9, 0.0, 0.0, 9.0, 9.0}, int32[1] one = {1}>
        { rows = Identity (row) counts = Identity (one) }"""
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}'), folder / "model.onnx")
    with pytest.raises(ModelError, match=r"normalises it, the padding too.*float32 input"):
        Predictor("own", model_dir=folder, backend="openvino", device="cpu")


def test_a_graph_of_a_fixed_size_is_refused(measuring, tmp_path):
    folder = rewritten(tmp_path / "own", measuring, lambda steps: None)
    model = onnx.load(folder / "model.onnx")
    for dimension in model.graph.input[1].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = 320
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ModelError, match="export the model with both left free"):
        Predictor("own", model_dir=folder, device="cpu", backend="onnxruntime").close()


def reference_rows(session, spec, image):
    """What PaddleDetection feeds a network with, and what that returns."""
    ratio = plain_ratio(image.shape[1], image.shape[0], 320, 480)
    resized = cv2.resize(image[..., ::-1], None, fx=ratio, fy=ratio, interpolation=2)
    levels = (resized.astype(np.float32) / 255 - PREPROCESS[1]["mean"]) / PREPROCESS[1]["std"]
    height, width = (-(-side // 32) * 32 for side in resized.shape[:2])
    padded = np.zeros((1, 3, height, width), np.float32)
    padded[0, :, : resized.shape[0], : resized.shape[1]] = levels.transpose(2, 0, 1)
    feeds = {"image": padded, "im_shape": [resized.shape[:2]], "scale_factor": [[ratio, ratio]]}
    return session.run({name: np.asarray(value, np.float32) for name, value in feeds.items()})[0]


@pytest.mark.full
def test_each_runtime_finds_what_paddle_finds(several_classes, shared, paddle_model_backend, options):
    """With padding, several classes, and images of several sizes in a batch."""
    from hpi.backends import BACKENDS

    spec = read_model(several_classes)
    images = [cv2.imread(str(path)) for path in sorted((shared / "data/coco_val/images").glob("*.jpg"))[:10]]
    with BACKENDS["paddle"].load(spec.files, options) as session:
        expected = [reference_rows(session, spec, image) for image in images]
    with Predictor("several", model_dir=several_classes, backend=paddle_model_backend, device="cpu") as predictor:
        assert not predictor.describe()["models"][0]["rejected"]
        results = list(predictor.predict(images, batch_size=10, threshold=0.3))
    count = 0
    for result, every in zip(results, expected, strict=True):
        rows = every[every[:, 1] > 0.3]
        assert len(result.boxes) == len(rows)
        found = np.column_stack([result.instances.class_ids, result.scores, result.boxes])
        inside = np.clip(rows[:, 2:], 0, np.tile(result.image.shape[1::-1], 2))
        for row in np.column_stack([rows[:, :2], inside]):
            assert np.abs(found - row).max(axis=1).min() < 1e-2
        count += len(rows)
    assert {0, 1, 2} == {int(row[0]) for rows in expected for row in rows[rows[:, 1] > 0.3]}
    assert count > 50


@pytest.mark.full
@pytest.mark.parametrize("labels", [LABELS, ["human", "bicycle", "dog"]])
def test_only_people_get_keypoints(several_classes, shared, tmp_path, labels):
    """The first class, by its label, or by PaddleDetection's rule where no label is known for people."""
    folder = tmp_path / "several"
    shutil.copytree(several_classes, folder)
    write_yml(folder, labels)
    image = str(shared / "data" / "photos" / "000000014439.jpg")
    with Predictor("several", model_dir=folder, device="cpu") as detector:
        (found,) = detector.predict(image)
    people = found.instances[found.instances.class_ids == 0]
    assert 0 < len(people) < len(found.instances)
    config = {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": "several", "model_dir": str(folder)},
            "KeypointDetection": {"model_name": "MoveNet-Thunder_256x256", "crop": "paddledetection"},
        },
    }
    with Predictor("mine", config=config, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert result.boxes == pytest.approx(people.boxes, abs=1e-3)
    assert len(result.keypoints) == len(people)
    config["SubModules"]["ObjectDetection"]["classes"] = [2, labels[1]]
    with Predictor("mine", config=config, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert len(result.boxes) == len(found.instances) - len(people)
