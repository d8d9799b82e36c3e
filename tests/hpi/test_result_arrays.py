"""Results as arrays, pictures and the forms of other libraries."""

import io
import json
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from hpi import ConfigError, DetectionResult, Frame, Instances, KeypointResult, Predictor
from hpi.draw import track_color
from hpi.skeletons import COCO, load_skeleton

DETECTOR = "PicoDet-S_person_416"
NOBODY = np.zeros((120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def lite(home):
    with Predictor("human_keypoint_detection_lite", device="cpu") as predictor:
        yield predictor


@pytest.fixture
def result(lite, image):
    (found,) = lite.predict(image)
    return found


def test_arrays_are_those_of_the_dictionary(result):
    people = result["boxes"]
    assert result.keypoints.shape == (2, 17, 2)
    assert np.array_equal(result.instances.points, [person["keypoints"] for person in people])
    assert np.array_equal(result.boxes, [person["coordinate"] for person in people])
    assert result.scores.tolist() == [person["det_score"] for person in people]
    assert result.keypoint_scores.dtype == result.boxes.dtype == result.keypoints.dtype == np.float32


def test_nobody_is_empty_arrays(lite):
    (result,) = lite.predict(NOBODY)
    shapes = [array.shape for array in (result.keypoints, result.keypoint_scores, result.scores, result.boxes)]
    assert shapes == [(0, 17, 2), (0, 17), (0,), (0, 4)]
    assert result.to_coco() == []
    assert np.array_equal(result.plot(), NOBODY)


def test_a_detector_s_result_has_no_keypoints(image):
    with Predictor(DETECTOR, device="cpu") as detector:
        (result,) = detector.predict(image)
    assert (result.keypoints.shape, result.boxes.shape) == ((2, 0, 2), (2, 4))
    assert result.class_names == ["person", "person"]
    assert [entry.keys() for entry in result.to_coco()] == [{"image_id", "category_id", "score", "bbox"}] * 2


def test_a_whole_image_has_no_boxes_and_the_keypoints_score(image):
    with Predictor("MoveNet-Thunder_256x256", device="cpu") as model:
        (result,) = model.predict(image)
    assert result.boxes.shape == (0, 4)
    assert result.scores == pytest.approx(result.keypoint_scores.mean(axis=1))


def test_a_result_is_short_to_look_at(result):
    assert repr(result) == "KeypointResult(image in memory: 2 people, 17 keypoints each)"
    assert result.class_names == ["person", "person"]
    empty = DetectionResult(Frame(NOBODY, "a.jpg"), Instances.empty(), ())
    assert repr(empty) == "DetectionResult(a.jpg: 0 instances)"


def test_a_notebook_shows_the_picture(result):
    picture = Image.open(io.BytesIO(result._repr_png_()))
    assert np.array_equal(np.asarray(picture)[..., ::-1], result.plot())


def test_coco_s_form_is_plain_and_complete(result):
    entries = result.to_coco(image_id=5)
    assert json.loads(json.dumps(entries)) == entries
    x1, y1, x2, y2 = result.boxes[0].tolist()
    assert entries[0]["bbox"] == [x1, y1, x2 - x1, y2 - y1]
    assert entries[0]["keypoints"] == result.instances.points[0].ravel().tolist()
    assert {entry["image_id"] for entry in entries} == {5}


def test_supervision_gets_keypoints_and_boxes(result):
    pytest.importorskip("supervision")
    keypoints, detections = result.to_supervision()
    assert np.array_equal(keypoints.xy, result.keypoints)
    assert np.array_equal(detections.xyxy, result.boxes)
    assert np.array_equal(detections.confidence, result.scores)


def test_supervision_takes_nobody_too(lite):
    pytest.importorskip("supervision")
    (result,) = lite.predict(NOBODY)
    keypoints, detections = result.to_supervision()
    assert (len(keypoints), len(detections)) == (0, 0)


def test_a_table_has_a_row_for_each_person(result):
    pytest.importorskip("pandas")
    table = result.to_frame()
    assert len(table) == 2
    assert table["nose_x"].tolist() == result.keypoints[:, 0, 0].tolist()
    assert {"score", "x1", "left_ankle_score"} <= set(table.columns)


def test_a_missing_library_is_named_with_its_install(result, monkeypatch):
    for name, convert in (("pandas", result.to_frame), ("supervision", result.to_supervision)):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(ConfigError, match=f"pip install {name}"):
            convert()


def test_saving_takes_the_sinks_that_are_named(result, tmp_path):
    assert [path.suffix for path in result.save(tmp_path, "json")] == [".json"]
    with pytest.raises(ConfigError, match="unknown sink movie; known are json, picture"):
        result.save(tmp_path, "movie")


def test_results_can_be_pickled(result):
    copy = pickle.loads(pickle.dumps(result))
    assert copy.keys() == result.keys()
    assert np.array_equal(copy.keypoints, result.keypoints)
    assert np.array_equal(copy.plot(), result.plot())


def test_what_is_changed_in_the_dictionary_is_drawn_and_saved(result, tmp_path):
    whole = result.plot()
    del result["boxes"][1:]
    assert not np.array_equal(result.plot(), whole)
    assert len(json.loads(result.save_to_json(tmp_path).read_text())["boxes"]) == 1


def test_names_from_their_old_home_still_work_with_a_warning(lite):
    with pytest.warns(DeprecationWarning, match="import KeypointResult from hpi"):
        from hpi.results import KeypointResult as Old
    assert Old is KeypointResult
    with pytest.warns(DeprecationWarning, match=r"Predictor.estimator is deprecated .* use pipelines\[0\]\.models"):
        assert lite.estimator is lite.pipelines[0].models[1]
    (result,) = lite.predict(NOBODY)
    with pytest.warns(DeprecationWarning, match="use keypoint_names"):
        assert result.joint_names == result.keypoint_names
    with warnings.catch_warnings(), pytest.raises(AttributeError):
        import hpi.results

        _ = hpi.results.nothing


def test_a_result_without_boxes_of_a_detector_is_paddlexs_module_form():
    people = Instances([0.5], keypoints=np.zeros((1, 17, 2)), keypoint_scores=np.full((1, 17), 0.5))
    result = KeypointResult(Frame(NOBODY, "a.jpg", page=2), people, load_skeleton(COCO), detected=False)
    assert set(result) == {"input_path", "page_index", "input_img", "kpts"}
    assert result["page_index"] == 2


# Of a stream


@pytest.fixture
def tracked():
    """Two people of a stream: one with an id, one without who was not seen."""
    skeleton = load_skeleton(COCO)
    keypoints = np.random.default_rng(3).uniform(30, 90, (2, 17, 2)) + np.array([[[0, 0]], [[100, 0]]])
    found = Instances(
        [0.9, 0.8],
        boxes=[[20, 20, 100, 100], [120, 20, 200, 100]],
        keypoints=keypoints,
        keypoint_scores=np.ones((2, 17)),
        track_ids=[7, -1],
        interpolated=[False, True],
    )
    frame = Frame(np.zeros((120, 220, 3), np.uint8), "a.mp4", index=3, time_s=0.12, stream="a")
    return KeypointResult(frame, found, skeleton, detected=True)


def test_ids_and_times_are_in_every_form(tracked):
    assert tracked.track_ids.tolist() == [7, -1]
    assert tracked["time_s"] == 0.12
    first, second = tracked.json["res"]["boxes"]
    assert list(tracked.json["res"]) == ["input_path", "boxes", "frame_index", "time_s"]
    assert (first["track_id"], second["track_id"]) == (7, None)
    assert "interpolated" not in first
    assert second["interpolated"] is True
    assert [entry.get("track_id") for entry in tracked.to_coco()] == [7, None]
    assert tracked.to_frame()["track_id"].tolist() == [7, -1]


def test_one_image_has_neither(result):
    assert result.track_ids.tolist() == [-1, -1]
    assert list(result.json["res"]) == ["input_path", "boxes"]
    assert list(result["boxes"][0]) == ["coordinate", "det_score", "keypoints", "kpt_score"]
    assert "track_id" not in {*result.to_coco()[0], *result.to_frame()}


def test_a_detection_has_an_id_too(tracked):
    found = Instances([0.9], boxes=[[20, 20, 100, 100]], track_ids=[7])
    result = DetectionResult(tracked.frame, found, ("person",))
    assert result["boxes"][0]["track_id"] == 7
    untracked = DetectionResult(tracked.frame, found.replaced(track_ids=None), ("person",))
    assert colours(result.plot()[40:]).isdisjoint(colours(untracked.plot()[40:]) - {(0, 0, 0)})


def colours(picture):
    return set(map(tuple, picture.reshape(-1, 3).tolist()))


def test_a_person_is_drawn_in_the_colour_of_its_id(tracked):
    """The same in every frame, another for another id; the id stands above."""
    left = tracked.plot()[:, :110]
    (blue, green, red) = (round(0.85 * value) for value in track_color(7))
    assert (blue, green, red) in colours(left)
    tracked["boxes"][0]["track_id"] = 8
    assert (blue, green, red) not in colours(tracked.plot()[:, :110])
    tracked["boxes"][0]["track_id"] = None
    assert (left[:30] != tracked.plot()[:30, :110]).any()


def test_who_was_not_seen_is_drawn_in_dashes(tracked):
    dashes = (tracked.plot()[:, 110:] > 0).any(axis=2).sum()
    del tracked["boxes"][1]["interpolated"]
    assert dashes < 0.8 * (tracked.plot()[:, 110:] > 0).any(axis=2).sum()


def test_smoothed_keypoints_are_drawn_instead(tracked):
    picture = tracked.plot()
    tracked.smoothed = tracked.instances.replaced(keypoints=tracked.keypoints + 5)
    smoothed = tracked.plot()
    assert (smoothed != picture).any()
    for person in tracked["boxes"]:
        person["keypoints"] = person["keypoints"] + np.float32([5, 5, 0])
    tracked.smoothed = None
    assert np.array_equal(tracked.plot(), smoothed)
