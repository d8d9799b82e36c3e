"""Which of a detector's classes are people, and which boxes are accepted."""

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hpi import ConfigError, InputError, Predictor
from hpi.pipelines.topdown import people_classes
from hpi.zoo import Zoo

from support import quick_first

pytestmark = pytest.mark.long  # its slow cases run each night

DETECTOR, POSE = "PicoDet-S_person_416", "MoveNet-Thunder_256x256"
BETWEEN = 0.75
"""A score between those of the two people of the example image."""


@pytest.fixture(scope="module")
def two_classes(home, tmp_path_factory):
    """The bundled detector with two classes: what scores above :data:`BETWEEN` is of class 0, the rest of class 1."""
    spec = Zoo.default().find(DETECTOR)
    folder = tmp_path_factory.mktemp("two_classes")
    model = onnx.load(spec.files.onnx)
    graph, rows = model.graph, model.graph.output[0]
    constants = {"start": [1], "end": [2], "end_of_class": [1], "end_of_row": [6], "axis": [1]}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), f"two_{name}") for name, value in constants.items()
    )
    graph.initializer.append(numpy_helper.from_array(np.array(BETWEEN, np.float32), "two_between"))
    graph.node.extend(
        [
            helper.make_node("Slice", [rows.name, "two_start", "two_end", "two_axis"], ["two_scores"]),
            helper.make_node("Less", ["two_scores", "two_between"], ["two_low"]),
            helper.make_node("Cast", ["two_low"], ["two_classes"], to=TensorProto.FLOAT),
            helper.make_node("Slice", [rows.name, "two_start", "two_end_of_row", "two_axis"], ["two_rest"]),
            helper.make_node("Concat", ["two_classes", "two_rest"], ["two_rows"], axis=1),
        ]
    )
    graph.output[0].name = "two_rows"
    onnx.save(model, folder / "inference.onnx")
    return folder, yaml.safe_load(spec.yml.read_text())


def pipeline_with(two_classes, labels, classes, tmp_path):
    folder, yml = two_classes
    yml = {**yml, "label_list": labels}
    yml.pop("Global", None)
    (folder / "inference.yml").write_text(yaml.safe_dump(yml))
    named = {} if classes is None else {"classes": classes}
    return {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": "two-classes", "model_dir": str(folder), **named},
            "KeypointDetection": {"model_name": POSE},
        },
    }


@pytest.mark.parametrize(
    ("labels", "classes", "scores"),
    quick_first(
        [
            (["person", "dog"], None, [True]),
            (["dog", "person"], None, [False]),
            (["dog", "Pedestrian"], None, [False]),
            (["worker", "dog"], ["worker"], [True]),
            (["worker", "child"], ["child", "worker"], [True, False]),
            (["person", "pedestrian"], None, [True, False]),
            (["person", "pedestrian"], ["pedestrian"], [False]),
        ],
        2,
    ),
)
def test_only_people_get_keypoints(two_classes, labels, classes, scores, image, tmp_path):
    with Predictor("x", config=pipeline_with(two_classes, labels, classes, tmp_path)) as predictor:
        (result,) = predictor.predict(image, threshold=0.5)
    assert [person["det_score"] > BETWEEN for person in result["boxes"]] == scores
    assert all(person["keypoints"].shape == (17, 3) for person in result["boxes"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    quick_first(
        [
            (["dog", "cat"], None, "no label pedestrian or person.*classes.*it has dog, cat"),
            (["person", "dog"], ["persn"], "no label persn; did you mean 'person'"),
            (["person", "dog"], ["person", "horse"], "no label horse"),
            (["person", "dog"], [], "classes"),
        ],
        2,
    ),
)
def test_classes_that_the_detector_does_not_have(two_classes, labels, classes, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        Predictor("x", config=pipeline_with(two_classes, labels, classes, tmp_path))


def test_a_detector_of_one_class_needs_no_names():
    assert people_classes(["anything"], None) is None
    assert people_classes([], None) == {0}
    assert people_classes(["anything"], ["anything"]) == {0}


@pytest.mark.parametrize("labels", [[], ["car", "dog"]])
def test_the_first_class_stands_for_people_where_no_label_does(labels):
    assert people_classes(labels, None, else_first=True) == {0}


def test_many_labels_are_not_all_listed():
    with pytest.raises(ConfigError) as error:
        people_classes([f"thing {index}" for index in range(1000)], None)
    assert len(str(error.value)) < 600


# Boxes in fractions of the image


@pytest.fixture(scope="module")
def pose(home):
    with Predictor(POSE) as predictor:
        yield predictor


FRACTIONS = [
    [[0.1, 0.2, 0.5, 0.9]],
    [[0, 0, 1, 1]],
    [[-0.02, 0.1, 1.01, 0.99]],
    [[0.1, 0.2, 0.5, 0.9], [0.5, 0.1, 1, 1]],
    np.array([[0.06, 0.16, 0.25, 0.99]], np.float64),
]


@pytest.mark.parametrize("boxes", FRACTIONS, ids=str)
def test_boxes_in_fractions_of_the_image_are_refused(pose, image, boxes):
    with pytest.raises(InputError, match="relative to the image's size; give pixels: x times 640, y times 480"):
        next(pose.predict(image, boxes=boxes))


@given(x=st.floats(0, 1), y=st.floats(0, 1), width=st.floats(0.01, 1), height=st.floats(0.01, 1))
def test_any_box_in_fractions_is_refused(pose, image, x, y, width, height):
    box = [x, y, min(1, x + width), min(1, y + height)]
    with pytest.raises(InputError, match="box"):
        next(pose.predict(image, boxes=[box]))


def test_small_boxes_in_pixels_are_taken(pose, image):
    for boxes in ([[0, 0, 2, 2]], [[0, 0, 1, 1], [39, 77, 160, 478]]):
        (result,) = pose.predict(image, boxes=boxes)
        assert len(result["kpts"]) == len(boxes)
    (result,) = pose.predict(np.zeros((1, 1, 3), np.uint8), boxes=[[0, 0, 1, 1]])
    assert len(result["kpts"]) == 1
