"""FairMOT: detectors that also give embeddings, as PaddleDetection 666f597 exports them, and their tracker.

``zoo/golden`` holds what ``mot_jde_infer.py`` finds in the first frames of a video on plain Paddle. Weights are random.
"""

import json
import shutil
from itertools import islice

import cv2
import numpy as np
import pytest
import yaml

from hpi import Predictor
from hpi.devices import OnHost
from hpi.errors import BackendError, ConfigError, ModelError
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.models.readers import read_model
from hpi.tracking.base import UNTRACKED, Tracking
from hpi.tracking.make import make_tracker
from hpi.transforms import CenteredLetterbox
from hpi.zoo import Zoo

from support import BOX_ROUNDING, ROUNDING, missing_backend, quick_first

HRNET, DLA34 = "fairmot_hrnetv2_w18_dlafpn_30e_576x320", "fairmot_dla34_30e_576x320"
SIZE = (576, 320)
CASES = [
    *((HRNET, backend) for backend in ("onnxruntime", "openvino", "paddle")),
    *((DLA34, backend) for backend in ("onnxruntime", "paddle")),
]


@pytest.fixture(scope="module")
def frames(shared):
    capture = cv2.VideoCapture(str(shared / "data" / "vtest.avi"))
    return [capture.read()[1] for _ in range(4)]


@pytest.fixture
def golden(shared):
    folder = shared / "zoo" / "golden" / "fairmot_random_weights"
    return lambda name: (
        np.load(folder / f"{name}_frame0.npz"),
        json.loads((folder / f"{name}_tracks.json").read_text()),
    )


def found_by(detector, frame):
    """Everybody above the threshold, also beside the image, where PaddleDetection keeps people too."""
    prepared = detector.prepare([frame])
    outputs = detector.outputs_of(detector.feeds(prepared))
    people, _ = detector.spec.head.decode(outputs, 1, prepared.size)
    return people[people.scores > detector.spec.draw_threshold]


@pytest.fixture
def small_yml(tmp_path):
    """The folder of a model without the model: its yml, to be changed."""

    def write(**changes):
        content = {
            "Preprocess": [
                {"type": "LetterBoxResize", "target_size": [320, 576]},
                {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1], "is_scale": True},
                {"type": "Permute"},
            ],
            "label_list": ["pedestrian"],
            "tracker": {"conf_thres": 0.4, "metric_type": "cosine", "tracked_thresh": 0.3, "vertical_ratio": 1.6},
        }
        (tmp_path / "infer_cfg.yml").write_text(yaml.safe_dump({**content, **changes}))
        (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
        return tmp_path

    return write


def test_what_its_yml_says(small_yml):
    spec = read_model(small_yml())
    assert spec.transform == CenteredLetterbox(SIZE)
    assert spec.embeddings == EmbeddedBoxesHead(same_below=0.3, max_aspect=1.6)
    assert (spec.draw_threshold, spec.labels, spec.task) == (0.4, ("pedestrian",), "object_detection")


def test_a_yml_without_a_tracker(small_yml):
    spec = read_model(small_yml(tracker=None, draw_threshold=0.6))
    assert spec.embeddings == EmbeddedBoxesHead()
    assert spec.draw_threshold == 0.6


@pytest.mark.parametrize(
    ("section", "message"),
    [({"metric_type": "manhattan"}, "metric_type"), ({"conf_thres": 2}, "conf_thres"), ({"min_box_area": -1}, "min_b")],
)
def test_a_wrong_tracker_in_the_yml(small_yml, section, message):
    with pytest.raises(ModelError, match=message):
        read_model(small_yml(tracker=section))


def test_a_tracker_of_another_detector_is_not_read(small_yml):
    steps = [{"type": "Resize", "target_size": [320, 320]}, {"type": "Permute"}]
    assert read_model(small_yml(Preprocess=steps, tracker={"conf_thres": "high"})).embeddings is None


@pytest.mark.parametrize("name", [HRNET, DLA34])
def test_the_input_is_that_of_paddledetection(golden, frames, name):
    expected, _ = golden(name)
    prepared = CenteredLetterbox(SIZE).prepare(OnHost({}), frames[:1])
    found = prepared.batch[..., ::-1].transpose(0, 3, 1, 2)[..., ::8, ::8] / np.float32(255)
    assert np.abs(found - expected["image_every_8th"]).max() < 1e-6
    assert prepared.scaled.tolist() == expected["im_shape"].tolist()
    assert prepared.scale == pytest.approx(expected["scale_factor"])


@pytest.mark.full
@pytest.mark.parametrize(("name", "backend"), quick_first(CASES))
def test_detections_and_ids(exported, golden, frames, name, backend):
    if reason := missing_backend(backend):
        pytest.skip(reason)
    expected, of_frames = golden(name)
    above = expected["pred_dets"][:, 1] > 0.4
    with Predictor(name, model_dir=exported(name), backend=backend, device="cpu") as predictor:
        detector = predictor.pipelines[0].models[0]
        head = detector.spec.embeddings
        found = [found_by(detector, frame) for frame in frames]
    assert np.abs(found[0].boxes - expected["pred_dets"][above, 2:]).max() < BOX_ROUNDING
    assert np.abs(found[0].scores - expected["pred_dets"][above, 1]).max() < ROUNDING
    assert np.abs(found[0].embeddings - expected["pred_embs"][above]).max() < ROUNDING

    tracker = make_tracker(Tracking("embedding"), threshold=0.4, embeddings=head)
    for number, (people, of_frame) in enumerate(zip(found, of_frames, strict=True)):
        assert len(people) == of_frame["n_above"]
        people = tracker.update(people, number / 10)  # noqa: PLW2901
        followed = people[people.track_ids != UNTRACKED]
        assert sorted(followed.track_ids) == sorted(of_frame["ids"])
        # There the boxes are those of the filter; in the first frame they are what was found.
        for person in followed:
            left, top, width, height = of_frame["tlwh"][of_frame["ids"].index(person.track_ids[0])]
            off = np.abs(person.boxes[0] - [left, top, left + width, top + height]).max()
            assert off < (BOX_ROUNDING if number == 0 else height / 5)


@pytest.mark.full
def test_openvino_cannot_load_deformable_convolutions(exported):
    if reason := missing_backend("openvino"):
        pytest.skip(reason)
    options = {"model_dir": exported(DLA34), "device": "cpu"}
    with pytest.raises(BackendError, match="No conversion rule found for operations: DeformConv-19"):
        Predictor(DLA34, backend="openvino", **options)
    with Predictor(DLA34, **options) as predictor:
        assert predictor.backend != "openvino"


@pytest.mark.full
def test_embeddings_are_compared_with_the_reference_s(exported):
    with Predictor(HRNET, model_dir=exported(HRNET), backend="onnxruntime") as predictor:
        detector = predictor.pipelines[0].models[0]
        images, _ = detector.example_inputs(1)
        found = detector.run(images)
    same = detector.deviation(found, found)
    assert same.score < 1e-6
    assert same.count > 0
    turned = [people.replaced(embeddings=-people.embeddings) for people in found]
    assert detector.deviation(found, turned).score == pytest.approx(2)


@pytest.mark.full
def test_several_images_run_one_by_one(exported, frames):
    images = [*frames[:2], np.ascontiguousarray(frames[2][:300])]
    with Predictor(HRNET, model_dir=exported(HRNET), backend="onnxruntime") as predictor:
        detector = predictor.pipelines[0].models[0]
        together, alone = detector.run(images), [detector.run([image])[0] for image in images]
    assert detector.session.batch_size == 1
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.embeddings, other.embeddings)


@pytest.mark.full
def test_in_front_of_a_keypoint_model(exported, frames, tmp_path):
    """Random boxes of people, each with keypoints, inside the image."""
    folder = shutil.copytree(exported(HRNET), tmp_path / "fairmot")
    keypoints = Zoo.default().find("MoveNet-Thunder_256x256").folder
    with Predictor.of_folders(keypoints, folder, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(frames[0])
    assert len(result.boxes) == len(result.keypoints) > 10
    assert (result.boxes >= 0).all()


@pytest.mark.full
def test_people_of_a_stream_are_followed_by_embeddings(exported, shared):
    """By default where the detector runs on every frame; nobody is carried to a frame that has no embeddings."""
    keypoints = Zoo.default().find("MoveNet-Thunder_256x256").folder
    video = shared / "data" / "vtest.avi"
    with Predictor.of_folders(keypoints, exported(HRNET), backend="onnxruntime") as predictor:
        results = list(islice(predictor.stream(video), 4))
        with pytest.raises(ConfigError, match="'embedding' needs the detector on every frame"):
            predictor.stream(video, tracker="embedding", det_every=5)
    first, *_, last = (set(result.track_ids.tolist()) - {UNTRACKED} for result in results)
    assert len(first) > 10
    assert len(first & last) > 10


def test_nan_is_an_error_also_of_embeddings():
    rows = np.array([[0, 0.9, 0, 0, 20, 40]], np.float32)
    found, _ = EmbeddedBoxesHead().decode([rows, np.full((1, 8), np.nan, np.float32)], 1, SIZE)
    assert np.isnan(found.embeddings).all()  # the model reports it


@pytest.mark.parametrize(
    ("rows", "embeddings", "count"), [((3, 5), (3, 8), 1), ((3, 6), (2, 8), 1), ((3, 6), (3,), 1), ((4, 6), (4, 8), 2)]
)
def test_what_is_not_boxes_with_embeddings_is_refused(rows, embeddings, count):
    with pytest.raises(ValueError, match="are not boxes"):
        EmbeddedBoxesHead().decode([np.zeros(rows, np.float32), np.zeros(embeddings, np.float32)], count, SIZE)


def test_small_and_wide_boxes_are_of_nobody():
    boxes = np.array([[0, 0, 10, 20], [0, 0, 20, 20.5], [0, 0, 80, 40], [0, 0, 20, 40], [0, 0, 0, 0]])
    rows = np.hstack([[[0, 0.9]] * 4 + [[-1, 0]], boxes]).astype(np.float32)
    found, items = EmbeddedBoxesHead(min_area=200, max_aspect=1.6).decode([rows, np.eye(5)], 1, SIZE)
    assert found.boxes.tolist() == [[0, 0, 20, 20.5], [0, 0, 20, 40]]
    assert found.embeddings.argmax(axis=1).tolist() == [1, 3]
    assert items.tolist() == [0, 0]
