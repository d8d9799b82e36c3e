"""rtmlib's classes: its arguments and arrays, and what is right where it is wrong."""

import logging
import pickle
from functools import partial

import cv2
import numpy as np
import pytest

from hpi import ConfigError, InputError, Predictor
from hpi.benchmarks.graphs import small
from hpi.compat.rtmlib import (
    RTMO,
    YOLOX,
    Animal,
    Body,
    Custom,
    Hand,
    PoseTracker,
    RTMDet,
    RTMPose,
    ViTPose,
    draw_bbox,
    draw_skeleton,
)
from hpi.compat.rtmlib.opening import _registered
from hpi.compat.rtmlib.openpose import to_openpose
from hpi.compat.rtmlib.solutions import usual_models
from hpi.zoo.configs import packaged_configs

from planted import save_planted
from planted_people import (
    ABOVE,
    MEAN,
    PLACES,
    STD,
    H,
    W,
    one_hot,
    save_channels,
    save_dets,
    save_places,
    save_rtmo,
    save_seeing,
    save_simcc,
    scene,
    spot,
)
from support import quick_first

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A SimCC graph of 17 keypoints on a grid."""
    return save_simcc(tmp_path_factory.mktemp("coco") / "pose.onnx", np.arange(17) * 20 + 30, np.arange(17) * 25 + 40)


@pytest.fixture(scope="module")
def two_people(tmp_path_factory):
    """A detector of 320x320 that finds two people, a chair, and one of whom it is not sure."""
    boxes = [[40, 40, 100, 200, 0.9], [150, 60, 250, 220, 0.6], [10, 10, 90, 90, 0.5], [200, 20, 300, 120, 0.2]]
    return save_dets(tmp_path_factory.mktemp("dets") / "yolox.onnx", boxes, [0, 0, 56, 0])


@pytest.fixture
def picture(rng):
    return rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)


# Where rtmlib is wrong; tests/test_peers.py shows what it does with the same graphs.


def test_the_network_gets_red_green_and_blue(tmp_path):
    red = np.zeros((600, 600, 3), np.uint8)
    red[..., 2] = 255
    with RTMPose(save_channels(tmp_path / "pose.onnx")) as pose:
        _, scores = pose(red, [[250, 250, 350, 350]])
    assert scores[0] == pytest.approx(([255, 0, 0] - MEAN) / STD + ABOVE, abs=1e-3)


@pytest.mark.parametrize(("rule", "expected"), quick_first([(None, 0.6), ("mean", 0.6), ("min", 0.3)]))
def test_the_score_of_a_keypoint_is_rtmlibs_or_mmposes(tmp_path, picture, rule, expected):
    path = save_simcc(tmp_path / "pose.onnx", [10, 20, 30], [10, 20, 30], heights_x=0.9, heights_y=0.3)
    with RTMPose(path, **({} if rule is None else {"score": rule})) as pose:
        _, scores = pose(picture, [[100, 100, 200, 300]])
    assert scores == pytest.approx(np.full((1, 3), expected))


@pytest.mark.full
def test_vitpose_finds_what_the_crop_shows(tmp_path, rng):
    """The crop and the way back are both by UDP: also far from the middle."""
    box = np.array([300.0, 200.0, 900.0, 1000.0])
    with ViTPose(save_seeing(tmp_path / "pose.onnx")) as pose:
        for place in rng.uniform((330, 230), (870, 970), (5, 2)):
            keypoints, _ = pose(spot((1200, 1200), place, sigma=40), [box])
            assert np.linalg.norm(keypoints[0, 0] - place) < 0.1


@pytest.mark.full
def test_nobody_is_no_person(tmp_path, picture, coco, two_people):
    """Where rtmlib returns a person with all keypoints at 0, or takes the whole image for one."""
    with RTMO(save_rtmo(tmp_path / "rtmo.onnx", [[10, 10, 50, 90, 0.4]], np.zeros((1, 17, 3)))) as rtmo:
        keypoints, scores = rtmo(picture)
        assert (keypoints.shape, scores.shape) == ((0, 17, 2), (0, 17))
        assert rtmo(picture, score_thr=0.3)[0].shape == (1, 17, 2)
    with RTMPose(coco) as pose:
        assert pose(picture, [])[0].shape == (0, 17, 2)
    nobody = save_dets(tmp_path / "yolox.onnx", [[10, 10, 50, 90, 0.1]])
    with Body(det=nobody, pose=coco) as body:
        assert body(picture)[1].shape == (0, 17)


@pytest.mark.full
def test_all_people_go_through_the_network_together(coco, picture, rng):
    corners = rng.uniform(0, 300, (9, 2))
    boxes = np.hstack([corners, corners + rng.uniform(50, 150, (9, 2))])
    with RTMPose(coco) as pose:
        together = pose(picture, boxes)[0]
        alone = [pose(picture, [box])[0][0] for box in boxes]
        calls = []
        session = pose.model.session
        run = session.run
        session.run = lambda feeds: calls.append(feeds) or run(feeds)
        pose(picture, boxes)
    assert np.allclose(together, alone, atol=1e-3)
    assert len(calls) == 1


def middles(keypoints):
    """At which of the places people are."""
    centers = [(x1 + x2) / 2 for x1, _, x2, _ in PLACES]
    return [int(np.argmin(np.abs(np.array(centers) - x))) for x in keypoints[..., 0].mean(axis=1)]


@pytest.mark.full
def test_ids_stay_when_people_leave_and_come(tmp_path, coco):
    solution = partial(
        Custom, det_class="YOLOX", det=save_places(tmp_path / "yolox.onnx"), pose_class="RTMPose", pose=coco
    )
    frames = [(0, 1)] * 3 + [(1,)] * 3 + [(1, 2)] * 4 + [(0, 1, 2)] * 3
    with PoseTracker(solution) as tracker:
        seen = []
        for frame in frames:
            keypoints, scores = tracker(scene(frame))
            assert len(keypoints) == len(scores) == len(frame) == len(tracker.track_ids)
            seen.append(dict(zip(middles(keypoints), tracker.track_ids.tolist(), strict=True)))
        known = [one for one in tracker.track_ids if one != -1]
        assert known == sorted(known)
        tracker.reset()
        assert tracker(scene([0]))[0].shape == (1, 17, 2)
    first, second, third = seen[2][0], seen[2][1], seen[9][2]
    assert len({first, second, third} - {-1}) == 3
    assert [frame[1] for frame in seen[1:]] == [second] * (len(frames) - 1)
    assert [frame[2] for frame in seen[7:]] == [third] * (len(frames) - 7)
    assert seen[-1][0] == first


@pytest.mark.full
@pytest.mark.parametrize("tracking", [True, False])
def test_the_detector_runs_once_in_so_many_frames(tmp_path, coco, tracking):
    detections = []

    def solution(**options):
        body = Body(det=save_places(tmp_path / "yolox.onnx"), pose=coco, **options)
        model = body.det_model.model
        run = model.run
        model.run = lambda images, *rest: detections.append(len(images)) or run(images, *rest)
        return body

    with PoseTracker(solution, det_frequency=4, tracking=tracking) as tracker:
        for _ in range(8):
            assert len(tracker(scene([0, 1]))[0]) == 2
        if not tracking:
            assert (tracker.track_ids == -1).all()
    assert sum(detections) <= 4


# What is as in rtmlib.


@pytest.mark.full
def test_without_boxes_the_whole_image_is_one_person(coco, picture):
    with RTMPose(coco) as pose:
        whole, boxed = pose(picture)[0], pose(picture, [[0, 0, 640, 480]])[0]
    assert (whole == boxed).all()


@pytest.mark.full
def test_keypoints_come_back_as_rtmlib_takes_them_back(coco, picture):
    """Bins over the split ratio, times the size of the crop over that of the input."""
    with RTMPose(coco) as pose:
        keypoints, _ = pose(picture, [[100, 100, 200, 300]])
    size = np.array([200 * 1.25 * W / H, 200 * 1.25])
    bins = np.stack([np.arange(17) * 20 + 30, np.arange(17) * 25 + 40], axis=1)
    assert keypoints[0] == pytest.approx(bins / 2 / [W, H] * size + [150, 200] - size / 2, abs=1e-3)


@pytest.mark.full
def test_detectors_give_boxes_of_people_or_all_with_their_classes(two_people, picture):
    with YOLOX(two_people) as detector:
        boxes = detector(picture)
    assert boxes == pytest.approx(2 * np.array([[40, 40, 100, 200], [150, 60, 250, 220]]))
    with RTMDet(two_people, det_mode="multiclass", score_thr=0.55) as detector:
        boxes, classes = detector(picture)
    assert classes.tolist() == [0, 0]
    with YOLOX(two_people, det_mode="multiclass", score_thr=0.1) as detector:
        assert detector(picture)[1].tolist() == [0, 0, 56, 0]


@pytest.mark.full
def test_a_box_beside_the_image_is_not_cut(tmp_path, picture):
    with YOLOX(save_dets(tmp_path / "yolox.onnx", [[-20, -10, 100, 200, 0.9]])) as detector:
        assert detector(picture)[0] == pytest.approx([-40, -20, 200, 400])


@pytest.mark.full
def test_classes_that_count(two_people, coco, tmp_path, picture):
    common = {"det_class": "YOLOX", "det": two_people, "pose_class": "RTMPose", "pose": coco}
    for options, expected in (
        ({}, 2), ({"det_mode": "multiclass"}, 3), ({"det_categories": [56]}, 1), ({"det_categories": [0, 56]}, 3)
    ):  # fmt: skip
        with Custom(**common, **options) as custom:
            assert len(custom(picture)[0]) == expected
    animals = tmp_path / "vitpose.onnx"
    onnx.save(small.vitpose((W, H), seed=0), animals)
    with Animal(det=two_people, pose=animals, det_categories=[56]) as animal:
        keypoints, _ = animal(picture)
        assert keypoints.shape == (1, 17, 2)
        assert animal.pipeline.skeleton.name == "ap10k17"


@pytest.mark.full
def test_rtmo_drops_people_who_overlap_better_ones(tmp_path, picture):
    dets = [[100, 100, 300, 500, 0.9], [110, 100, 310, 500, 0.85], [400, 100, 500, 500, 0.8]]
    path = save_rtmo(tmp_path / "my_rtmo.onnx", dets, np.tile([10, 20, 0.5], (3, 17, 1)))
    with Body(pose=path) as body:
        found, scores = body(picture)
        assert body.pose_model(picture, nms_thr=0.99)[0].shape == (3, 17, 2)
    assert found[:, 0].tolist() == [[10, 20]] * 2
    assert (scores == 0.5).all()


@pytest.mark.full
def test_openposes_order_has_a_neck(coco, picture):
    with RTMPose(coco) as plain, RTMPose(coco, to_openpose=True) as pose:
        before, (after, scores) = plain(picture)[0][0], pose(picture)
    assert (after.shape, scores.shape) == ((1, 18, 2), (1, 18))
    assert after[0, 1] == pytest.approx((before[5] + before[6]) / 2, abs=1e-3)
    assert (after[0, [0, 2, 5, 8, 11, 14, 15, 16, 17]] == before[[0, 6, 5, 12, 11, 2, 1, 4, 3]]).all()


def test_the_neck_is_as_sure_as_the_less_sure_shoulder_and_the_rest_moves_on():
    keypoints, scores = np.arange(2 * 133, dtype=np.float32).reshape(1, 133, 2), np.ones((1, 133), np.float32)
    scores[0, 5] = 0.25
    moved, moved_scores = to_openpose(keypoints, scores)
    assert moved_scores[0, 1] == 0.25
    assert (moved[0, 18:] == keypoints[0, 17:]).all()


@pytest.mark.full
def test_a_hand_has_no_openpose_order(tmp_path, picture):
    pose = save_planted(
        tmp_path / "hand.onnx",
        {"simcc_x": one_hot(range(21), 512, 1), "simcc_y": one_hot(range(21), 512, 1)},
        ("N", 3, 256, 256),
    )
    hand_detector = save_dets(tmp_path / "rtmdet.onnx", [[40, 40, 100, 200, 0.9]])
    with Hand(det=hand_detector, pose=pose) as hand:
        assert hand(picture)[0].shape == (1, 21, 2)
    with pytest.raises(ConfigError, match="begin with COCO's 17 keypoints, not for one of 21"):
        Hand(det=hand_detector, pose=pose, to_openpose=True)


@pytest.mark.parametrize("registered", ["body", "body26", "wholebody", "animal"])
def test_modes_are_pipelines_of_the_registry(registered):
    for mode in ("performance", "balanced", "lightweight"):
        det, pose = usual_models(registered, mode, None, None)
        assert det.startswith("yolox-")
        assert usual_models(registered, mode, "mine.onnx", None) == ("mine.onnx", pose)


@pytest.mark.parametrize(
    ("address", "name"),
    quick_first(
        [
            ("rtmposev1/onnx_sdk/rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip", "rtmpose-m"),
            ("rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip", "yolox-m_humanart"),
            ("rtmo/onnx_sdk/rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211.zip", "rtmo-m"),
        ]
    ),
)
def test_an_address_of_rtmlib_is_a_model_of_the_registry(address, name):
    address = f"https://download.openmmlab.com/mmpose/v1/projects/{address}"
    assert _registered(address, packaged_configs()) == name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("typo/model.onnx", "there is no such file"),
        ("https://huggingface.co/me/mine/resolve/main/onnx/model.onnx", "no model of the registry has this address"),
    ],
)
def test_a_file_name_that_many_models_have_means_none_of_them(source, said):
    with pytest.raises(ConfigError, match=said):
        _registered(source, packaged_configs())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RTMPose("https://example.org/other.onnx"), "no model of the registry has this address"),
        (lambda: RTMPose("missing.onnx"), "there is no such file"),
        (lambda: Body(mode="fast"), "mode is 'fast': give performance"),
        (
            lambda: Custom(det_class="RFDETR", pose_class="RTMPose", pose="a"),
            "det_class is 'RFDETR': give YOLOX, RTMDet",
        ),
        (lambda: Custom(pose_class="RTMPose"), "pose: give the path"),
        (lambda: Custom(det_class="YOLOX", pose_class="RTMPose", pose="a"), "det: give the path"),
        (lambda: Custom(pose_class="RTMO", pose="a", score="min"), "score is for an RTMPose"),
        (lambda: YOLOX("a.onnx", det_mode="people"), "det_mode is 'people'"),
        (lambda: PoseTracker(Body, frame_rate=0), "frame_rate is 0"),
    ],
)
def test_wrong_arguments_are_explained(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_is_no_image_or_box_is_explained(coco, picture):
    with RTMPose(coco) as pose:
        with pytest.raises(InputError, match="image is NoneType"):
            pose(None)
        with pytest.raises(InputError, match="outside its 640x480 pixels"):
            pose(picture, [[700, 0, 800, 100]])


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "instead"),
    [("Wholebody3d", "Wholebody finds"), ("RTMPose3d", "RTMPose finds"), ("RFDETR", "hpi.Predictor takes boxes")],
)
def test_to_import_a_class_that_is_not_offered_says_what_to_use(name, instead):
    with pytest.raises(ImportError, match=f"does not offer {name}, .*{instead}"):
        exec(f"from hpi.compat.rtmlib import {name}")
    with pytest.raises(ImportError, match="cannot import name 'Bodies'"):
        exec("from hpi.compat.rtmlib import Bodies")


def test_errors_of_the_detector_are_raised(tmp_path, coco):
    solution = partial(Body, det=save_places(tmp_path / "yolox.onnx"), pose=coco)
    with PoseTracker(solution) as tracker, pytest.raises(InputError, match="image is NoneType"):
        tracker(None)


@pytest.mark.full
def test_what_has_no_effect_is_said(coco, two_people, caplog):
    with caplog.at_level(logging.WARNING):
        RTMPose(coco, backend="opencv", device="mps").close()
        YOLOX(two_people, nms_thr=0.3).close()
        PoseTracker(partial(Body, det=two_people, pose=coco), tracking_thr=0.5).close()
    for said in ("backend='opencv'", "device='mps'", "nms_thr=0.3", "tracking_thr=0.5"):
        assert f"{said} has no effect" in caplog.text


@pytest.mark.full
def test_a_model_is_opened_as_asked(coco, picture):
    """Size, normalisation and runtime, and further options of the predictor."""
    with RTMPose(coco, (W, H), mean=(0, 0, 0), std=(1, 1, 1), backend="onnxruntime", threads=1) as pose:
        (model,) = pose.predictor.describe()["models"]
        assert (model["backend"], model["threads"]) == ("onnxruntime", 1)
        assert pose.model.spec.normalization.scale == (1, 1, 1)
    with pytest.raises(Exception, match="3, 320, 320"):
        RTMPose(coco, (320, 320))


def test_a_model_can_be_described_without_a_file(tmp_path, picture):
    path = save_simcc(tmp_path / "pose.onnx", [96, 192], [128, 256])
    content = {"transform": {"type": "top_down", "size": [W, H], "padding": 1}, "head": {"type": "simcc"}}
    with Predictor(path, description=content, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(picture, boxes=[[100, 100, 292, 356]])
        assert pickle.loads(pickle.dumps(predictor)).name == "pose"
    assert result.keypoints[0] == pytest.approx(np.array([[148, 164], [196, 228]]))
    with pytest.raises(ConfigError, match="description: it says kind and skeleton too"):
        Predictor(path, description=content, kind="simcc")
    with pytest.raises(ConfigError, match=r"description: .*head"):
        Predictor(path, description={"transform": content["transform"]})


@pytest.mark.parametrize(
    ("count", "openpose"), [(17, False), (17, True), (18, True), (21, False), (26, False), (27, True), (134, True)]
)
def test_skeletons_are_drawn(count, openpose, rng):
    keypoints = rng.uniform(20, 180, (2, count, 2))
    scores = np.ones((2, count))
    scores[1] = 0.1
    image = np.zeros((200, 200, 3), np.uint8)
    drawn = draw_skeleton(image, keypoints, scores, openpose_skeleton=openpose, kpt_thr=0.5, radius=2)
    assert drawn is image
    assert all(drawn[int(y), int(x)].any() for x, y in keypoints[0])
    alone = draw_skeleton(np.zeros_like(image), keypoints[0], scores[0], openpose_skeleton=openpose)
    assert (alone == drawn).all()
    assert not draw_skeleton(np.zeros_like(image), keypoints[:0], scores[:0]).any()


def test_unknown_skeletons_and_boxes(rng):
    with pytest.raises(ConfigError, match="no skeleton of 5 keypoints"):
        draw_skeleton(np.zeros((50, 50, 3), np.uint8), np.zeros((1, 5, 2)), np.ones((1, 5)))
    image = draw_bbox(np.zeros((50, 50, 3), np.uint8), rng.uniform(10, 40, (1, 4)))
    assert cv2.countNonZero(image[..., 1]) > 0
