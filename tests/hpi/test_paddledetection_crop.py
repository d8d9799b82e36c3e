"""People cut out as PaddleDetection does it: its own results, in a pipeline and for whole images."""

import json
import shutil
from itertools import product

import numpy as np
import onnx
import pytest
import yaml

from hpi import ConfigError, Predictor, options
from hpi.devices import OnHost
from hpi.kernels.boxes import expand_boxes, has_area
from hpi.models.readers import read_model
from hpi.transforms import CROPS, ExpandedCrop, TopDownAffine
from hpi.zoo import Zoo

from support import BACKEND_PACKAGES, quick_first

DETECTOR, POSE = "PicoDet-S_pedestrian_320", "PP-TinyPose_256x192"
CLEAR = 0.2
"""Score above which PaddleDetection draws a keypoint, and positions are compared."""


def assert_paddledetection_s_keypoints(found: np.ndarray, expected: np.ndarray) -> None:
    """Keypoints ``[M, K, 3]`` within 0.1 px, one in a hundred within 0.5 px; scores within 0.005."""
    assert found.shape == expected.shape
    distance = np.linalg.norm((found - expected)[..., :2], axis=-1)[expected[..., 2] > CLEAR]
    assert len(distance) > 50
    assert np.mean(distance > 0.1) <= 0.01
    assert distance.max() <= 0.5
    assert np.abs((found - expected)[..., 2]).max() <= 0.005


def goldens(shared, folder):
    """Each image with what PaddleDetection returns for it."""
    for file in sorted((shared / "zoo" / "golden" / folder).glob("*.json")):
        golden = json.loads(file.read_text())
        places = (shared / "data" / "coco_val" / "images", shared / "data" / "photos")
        yield next(place / golden["image"] for place in places if (place / golden["image"]).is_file()), golden


def pose_folder(shared, dark, tmp_path):
    """The keypoint model, with the refinement that is asked for."""
    source = shared / "models" / POSE
    if dark:
        return source
    folder = tmp_path / POSE
    shutil.copytree(source, folder)
    content = yaml.safe_load((folder / "inference.yml").read_text())
    content["hpi"] = {"head": {"type": "heatmap", "decoder": "quarter"}}
    (folder / "inference.yml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.full
@pytest.mark.parametrize(
    ("backend", "dark"), quick_first(product(BACKEND_PACKAGES, [True, False])), indirect=["backend"]
)
def test_a_pipeline_finds_paddledetection_s_people(shared, paddle_model_backend, dark, tmp_path):
    config = {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": DETECTOR, "model_dir": str(shared / "models" / DETECTOR)},
            "KeypointDetection": {
                "model_name": POSE, "model_dir": str(pose_folder(shared, dark, tmp_path)), "crop": "paddledetection",
            },
        },
    }  # fmt: skip
    images, expected = zip(*goldens(shared, "unite_picodet320_tinypose256"), strict=True)
    with Predictor("mine", config=config, backend=paddle_model_backend) as predictor:
        results = list(predictor.predict(list(map(str, images)), batch_size=4, threshold=0.5))
    pairs = []
    for result, golden in zip(results, expected, strict=True):
        assert len(result.boxes) == len(golden["people"])
        for box, points in zip(result.boxes, result.instances.points, strict=True):
            off = [np.abs(box - np.array(row[2:])).max() for row in golden["boxes"]]
            person = golden["people"][int(np.argmin(off))]
            assert min(off) < 0.5  # PaddleDetection's boxes may end half a pixel outside of the image
            pairs.append((points, person["keypoints" if dark else "keypoints_no_dark"]))
    assert_paddledetection_s_keypoints(*(np.stack(side) for side in zip(*pairs, strict=True)))


@pytest.mark.full
@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_whole_images_give_paddledetection_s_keypoints(shared, paddle_model_backend):
    images, expected = zip(*goldens(shared, "keypoint_infer_tinypose256"), strict=True)
    given = {"model_dir": shared / "models" / POSE, "backend": paddle_model_backend, "crop": "paddledetection"}
    with Predictor(POSE, **given) as predictor:
        found = [result.instances.points[0] for result in predictor.predict(list(map(str, images)), batch_size=8)]
    wanted = [np.reshape(golden["keypoints"], (-1, 3)) for golden in expected]
    assert_paddledetection_s_keypoints(np.stack(found), np.stack(wanted))


def test_parts_of_an_image_are_paddledetection_s(shared):
    cases = json.loads((shared / "zoo" / "golden" / "topdown_postprocess" / "expand_crop.json").read_text())
    people = [case for case in cases if int(case["rect"][0]) == 0]
    assert len(people) > 150
    for case in people:
        height, width = case["image_hw"]
        boxes = np.array([case["rect"][2:]], np.float32)
        (part,) = expand_boxes(boxes, width, height, 1.3)
        assert part.tolist() == case["crop"]
        assert has_area(part[None])[0] == (0 not in case["shape"])


@pytest.mark.parametrize("box", [[-90, 10, -30, 60], [700, 10, 760, 60], [10, 10, 60, 10.5], [639.2, 10, 639.9, 10.9]])
def test_a_box_without_a_part_is_not_seen(box, image):
    crop, boxes = ExpandedCrop((192, 256)), np.array([[100, 100, 200, 300], box], np.float32)
    assert crop.sees(boxes, image).tolist() == [True, False]
    assert TopDownAffine((192, 256)).sees(boxes, image).all()
    # For boxes of a caller there is a person each.
    prepared = crop.prepare(OnHost({}), [image], [crop.regions(boxes, image)])
    assert len(prepared) == 2
    assert np.isfinite(prepared.inverse.offset).all()


def test_nothing_is_seen_outside_of_the_part(image):
    """PaddleX's crop goes on where the image does."""
    boxes = np.array([[200, 220, 420, 260]], np.float32)  # wide: the crop has room above and below
    bright = np.maximum(image, 1)
    black = {}
    for crop in (ExpandedCrop((192, 256)), TopDownAffine((192, 256))):
        batch = crop.prepare(OnHost({}), [bright], [crop.regions(boxes, bright)]).batch
        black[crop.crop] = float((batch == 0).all(axis=-1).mean())
    assert black["paddlex"] == 0
    assert black["paddledetection"] > 0.5


def test_flat_people_of_a_detector_are_left_out(lite, image):
    """As by the reference, which has nothing to give its model."""
    estimator = lite.pipelines[0].models[1]
    with Predictor("MoveNet-Thunder_256x256", device="cpu", crop="paddledetection") as predictor:
        (model,) = predictor.pipelines[0].models
        (people,) = lite.pipelines[0].models[0].run([image], threshold=0.5)
        flat = people.replaced(boxes=np.concatenate([people.boxes[:1], [[5, 5, 90, 5.4]]]).astype(np.float32))
        assert [len(of_image) for of_image in model.seen([image], [flat])] == [1]
        assert [len(of_image) for of_image in estimator.seen([image], [flat])] == [2]
        (result,) = predictor.predict(image, boxes=flat.boxes)
        assert len(result.keypoints) == 2


BEYOND = """
<ir_version: 8, opset_import: ["": 13]>
beyond (float[1, 3, 64, 64] image, float[1, 2] scale_factor) => (float[1, 6] rows, int64[1] counts)
<float[1, 6] person = {0.0, 0.875, -40.0, 20.0, 200.0, 600.0}, int64[1] one = {1}>
{ rows = Identity(person) counts = Identity(one) }
"""


@pytest.mark.full
def test_the_crop_is_that_of_the_detector_s_box_and_the_result_ends_at_the_border(image, tmp_path):
    """PaddleDetection clips no boxes before it cuts people out, and some detectors do not either."""
    onnx.save(onnx.parser.parse_model(BEYOND), tmp_path / "model.onnx")
    steps = [{"type": "Resize", "target_size": [64, 64]}, {"type": "Permute"}]
    (tmp_path / "infer_cfg.yml").write_text(yaml.safe_dump({"Preprocess": steps, "label_list": ["person"]}))
    modules = {
        "ObjectDetection": {"model_name": "beyond", "model_dir": str(tmp_path)},
        "KeypointDetection": {"model_name": "MoveNet-Thunder_256x256"},
    }
    clipped = [0, 20, 200, 480]
    for crop, cut in (("paddledetection", [-40, 20, 200, 600]), ("paddlex", clipped)):
        config = {"pipeline_name": "mine", "SubModules": modules}
        with Predictor("mine", config=config, device="cpu", crop=crop) as predictor:
            (found,) = predictor.predict(image)
        with Predictor("MoveNet-Thunder_256x256", device="cpu", crop=crop) as predictor:
            (expected,) = predictor.predict(image, boxes=[cut])
        assert found.boxes.tolist() == [clipped]
        assert np.array_equal(found.keypoints, expected.keypoints)


def test_a_model_s_yml_names_its_crop_and_padding(home, tmp_path):
    source = Zoo.default().find("MoveNet-Thunder_256x256")
    shutil.copytree(source.folder, tmp_path / "pose")
    yml = tmp_path / "pose" / source.yml.name
    for section, transform in (
        ({"crop": "paddledetection"}, ExpandedCrop((256, 256), padding=1.3)),
        ({"crop": "paddledetection", "padding": 1.1}, ExpandedCrop((256, 256), padding=1.1)),
        ({"crop": "paddlex"}, TopDownAffine((256, 256), padding=1.25)),
    ):
        yml.write_text(yaml.safe_dump(yaml.safe_load(source.yml.read_text()) | {"TopDown": section}))
        assert read_model(tmp_path / "pose").transform == transform


@pytest.mark.full
def test_an_argument_outranks_the_pipeline_and_the_pipeline_the_model(home):
    modules = {
        "ObjectDetection": {"model_name": "PicoDet-S_person_416"},
        "KeypointDetection": {"model_name": "MoveNet-Thunder_256x256", "crop": "paddledetection"},
    }
    config = {"pipeline_name": "mine", "SubModules": modules}
    with Predictor("mine", config=config, device="cpu") as predictor:
        detector, estimator = predictor.pipelines[0].models
        assert estimator.transform == ExpandedCrop((256, 256))
        assert not detector.clips
    with Predictor("mine", config=config, device="cpu", crop="paddlex") as predictor:
        detector, estimator = predictor.pipelines[0].models
        assert estimator.transform.crop == "paddlex"
        assert detector.clips


def test_options_know_the_crops_that_there_are():
    assert set(options.CROPS) == set(CROPS)


def test_a_crop_of_another_name_is_refused():
    with pytest.raises(ConfigError, match="crop is 'mmpose': give paddlex or paddledetection"):
        Predictor("human_keypoint_detection_lite", crop="mmpose")
    with pytest.raises(ConfigError, match="crop"):
        Predictor("PicoDet-S_person_416", crop="paddledetection", device="cpu")
    modules = {"ObjectDetection": {"model_name": "a"}, "KeypointDetection": {"model_name": "b", "crop": "mmpose"}}
    with pytest.raises(ConfigError, match=r"KeypointDetection\.crop"):
        Predictor("mine", config={"pipeline_name": "mine", "SubModules": modules})
