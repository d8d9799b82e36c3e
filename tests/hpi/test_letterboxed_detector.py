"""RTMDet-nano: a detector whose input is letterboxed, by itself and in a pipeline."""

import pytest
import yaml

from hpi import Predictor
from hpi.compat.paddlex.config import pipeline_text
from hpi.evaluation.predictions import Journal, predict
from hpi.models.readers import read_model
from hpi.transforms import Letterbox

from support import assert_same_keypoints, assert_same_people, missing_backend, quick_first

NAME = "RTMDet-nano_person_320"
REFERENCE_AP = 54.72
"""Box AP on the 32 images of data/coco_val: its exporter's figure."""
TOLERANCE = 0.3


@pytest.fixture
def folder(shared):
    return shared / "models" / NAME


def test_its_yml_is_a_letterbox(folder):
    assert read_model(folder).transform == Letterbox((320, 320), 1, (114, 114, 114))


@pytest.mark.full
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_box_ap_is_that_of_its_exporter(folder, shared, backend):
    pytest.importorskip("pycocotools")
    if reason := missing_backend(backend):
        pytest.skip(reason)
    from hpi.evaluation.coco import CocoDataset

    data = shared / "data" / "coco_val"
    dataset = CocoDataset(data / "person_keypoints.json", data / "images", "detector")
    with Predictor(NAME, model_dir=folder, backend=backend) as predictor:
        assert dataset.check(predictor) is not None
        failed = []
        found = predict(predictor, dataset.images, Journal(None), 8, on_error=failed.append)
        figures = dataset.figures(found, predictor)
    assert not failed
    assert figures["box AP"] == pytest.approx(REFERENCE_AP, abs=TOLERANCE)


def with_detector(folder):
    """The bundled pipeline's YAML with another detector."""
    content = yaml.safe_load(pipeline_text("human_keypoint_detection_lite"))
    content["SubModules"]["ObjectDetection"] |= {"model_name": NAME, "model_dir": str(folder)}
    return content


@pytest.mark.full
@pytest.mark.parametrize("backend", quick_first(["onnxruntime", "openvino"]))
def test_it_is_the_detector_of_a_pipeline(folder, image, backend):
    if reason := missing_backend(backend):
        pytest.skip(reason)
    with (
        Predictor("x", config=with_detector(folder), backend=backend) as mine,
        Predictor("MoveNet-Thunder_256x256", backend=backend) as alone,
    ):
        together = list(mine.predict([image, image[:, ::-1].copy()], batch_size=2))
        (found,) = mine.predict(image)
        (expected,) = alone.predict(image, boxes=found.boxes)
    assert len(found.instances) == 2
    assert [len(result.instances) for result in together] == [2, 2]
    assert_same_people([together[0]], [found])
    assert_same_keypoints(found.instances.points, expected.instances.points)
