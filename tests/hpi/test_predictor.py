"""The public interface, on the bundled models."""

import logging
import shutil
import threading

import cv2
import numpy as np
import onnx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpi import BackendError, ConfigError, InputError, ModelError, Predictor, create_pipeline
from hpi.backends import BACKENDS
from hpi.backends.gpu import gpu_count
from hpi.backends.onnxruntime import OnnxRuntimeSession
from hpi.zoo import Zoo

import dots
from support import (
    BACKEND_PACKAGES,
    EXAMPLE,
    HANGS_S,
    assert_same_keypoints,
    assert_same_people,
    quick_first,
    run_python,
    serve,
)

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"


@pytest.fixture(scope="module")
def pose(home):
    with Predictor(POSE) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def detector(home):
    with Predictor(DETECTOR) as predictor:
        yield predictor


def only(results):
    (result,) = results
    return result


def keypoints_of(result):
    return np.array([person["keypoints"] for person in result.people])


# Results


def test_two_people_play_basketball(lite, backend):
    with Predictor("human_keypoint_detection_lite", backend=backend) as predictor:
        assert predictor.backend == backend
        result = only(predictor.predict(str(EXAMPLE)))
    left, right = sorted(result["boxes"], key=lambda person: person["coordinate"][0])
    # Read off the image by eye, in pixels.
    for person, keypoint, place in (
        (left, 0, (95, 113)),
        (left, 5, (118, 158)),
        (left, 6, (50, 156)),
        (left, 13, (119, 374)),
        (right, 0, (516, 95)),
        (right, 6, (620, 164)),
    ):
        assert np.hypot(*(person["keypoints"][keypoint, :2] - place)) < 12
    assert_same_people([result], list(lite.predict(str(EXAMPLE))))


def test_batches_do_not_change_the_answer(lite, image):
    images = [image, image[:, :300], np.zeros((50, 60, 3), np.uint8), image[:, 300:], image[::-1]]
    alone = [only(lite.predict(one)) for one in images]
    for batch_size in (1, 2, 5, 50):
        assert_same_people(list(lite.predict(images, batch_size=batch_size)), alone)


@pytest.mark.full
def test_more_people_than_fit_one_run(pose, image):
    boxes = np.tile(np.array([[40, 70, 160, 475]], np.float32), (33, 1))
    people = keypoints_of(only(pose.predict(image, boxes=boxes)))
    assert people.shape == (33, 17, 3)
    assert_same_keypoints(people, np.broadcast_to(people[0], people.shape))


def test_more_images_than_fit_one_run(detector, image, monkeypatch):
    monkeypatch.setattr("hpi.models.detector.MAX_BATCH", 4)
    count = 2 * 4 + 1
    thresholds = [0.99 if index % 3 else 0.5 for index in range(count)]
    found = detector.pipelines[0].models[0].run([image] * count, None, thresholds)
    assert [len(of_image.boxes) for of_image in found] == [0 if index % 3 else 2 for index in range(count)]


def test_an_image_without_people_has_an_empty_result(lite, pose, tmp_path):
    empty = np.zeros((200, 300, 3), np.uint8)
    result = only(lite.predict(empty))
    assert result["boxes"] == []
    assert result.json == {"res": {"input_path": None, "boxes": []}}
    result.save_all(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert only(pose.predict(empty, boxes=[]))["kpts"] == []


def test_a_keypoint_model_alone_treats_an_image_as_one_person(pose, image):
    result = only(pose.predict(image[30:480, :450]))
    assert list(result) == ["input_path", "input_img", "kpts"]
    (person,) = result["kpts"]
    assert list(person) == ["keypoints", "kpt_score"]
    assert person["kpt_score"] > 0.5


def test_given_boxes_give_the_keypoints_of_the_pipeline(lite, pose, image):
    expected = only(lite.predict(image))
    boxes = [person["coordinate"] for person in expected["boxes"]]
    found = only(pose.predict(image, boxes=boxes))
    assert_same_keypoints(keypoints_of(found), keypoints_of(expected))
    both = list(pose.predict([image, image], boxes=[boxes[:1], boxes]))
    assert [len(result["kpts"]) for result in both] == [1, 2]


def test_a_detector_alone(detector, image):
    result = only(detector.predict(image, threshold=0.5))
    assert list(result) == ["input_path", "page_index", "input_img", "boxes"]
    assert [box["label"] for box in result["boxes"]] == ["person", "person"]
    assert result["boxes"][0]["score"] > result["boxes"][1]["score"]
    assert result.plot().shape == image.shape


@pytest.mark.parametrize("threshold", [0.2, 0.74, np.float32(0.9), 1, pytest.param(0, marks=pytest.mark.full)])
def test_the_threshold_is_strict_and_may_be_an_int(lite, detector, image, threshold):
    scores = [box["score"] for box in only(detector.predict(image, threshold=0))["boxes"]]
    kept = [person["det_score"] for person in only(lite.predict(image, det_threshold=threshold))["boxes"]]
    assert kept == pytest.approx([score for score in scores if score > threshold])


@pytest.mark.full
def test_flip_and_udp_change_a_little(image):
    people = []
    for options in ({}, {"flip": True}, {"use_udp": True}):
        with Predictor("human_keypoint_detection_lite", **options) as predictor:
            people.append(keypoints_of(only(predictor.predict(image))))
    plain, flipped, udp = people
    for other in (flipped, udp):
        distance = np.linalg.norm(plain[0, :, :2] - other[0, :, :2], axis=1)
        assert 0 < np.median(distance) < 5


@pytest.mark.full
def test_udp_has_its_own_inverse(shared, image):
    """Both conventions give the same positions; with the reference's inverse they would be 1.6 px off."""
    model = "PP-TinyPose_256x192"
    people = []
    for use_udp in (False, True):
        with Predictor(model, model_dir=shared / "models" / model, use_udp=use_udp) as predictor:
            people.append(keypoints_of(only(predictor.predict(image, boxes=[[20, 60, 180, 478]])))[0])
    clear = (people[0][:, 2] > 0.5) & (people[1][:, 2] > 0.5)
    assert clear.sum() > 10
    assert np.abs((people[0] - people[1])[clear, :2].mean(axis=0)).max() < 1


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x1=st.floats(-600, 630),
    y1=st.floats(-400, 470),
    width=st.floats(0.25, 1500),
    height=st.floats(0.25, 1500),
)
def test_any_box_in_the_image_gives_finite_keypoints(pose, image, x1, y1, width, height):
    box = np.array([x1, y1, x1 + width, y1 + height], np.float32)
    outside = box[2] <= 0 or box[3] <= 0 or not (box[2] > box[0] and box[3] > box[1])
    if outside or np.abs(box).max() <= 1.5:  # so small a box is taken for one in fractions of the image
        with pytest.raises(InputError, match="box"):
            only(pose.predict(image, boxes=[box]))
    else:
        assert np.isfinite(keypoints_of(only(pose.predict(image, boxes=[box])))).all()


@settings(max_examples=10)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_images_of_any_size_are_accepted(lite, width, height):
    assert only(lite.predict(np.zeros((height, width, 3), np.uint8)))["boxes"] == []


def test_extreme_shapes(lite, image):
    wide = np.zeros((480, 30_000, 3), np.uint8)
    wide[:, 15_000:15_640] = image
    assert only(lite.predict(wide))["input_img"].shape == (480, 30_000, 3)
    assert only(lite.predict(np.zeros((1, 1, 3), np.uint8)))["boxes"] == []


def test_a_person_in_a_very_wide_image(pose, image):
    wide = np.zeros((480, 30_000, 3), np.uint8)
    wide[:, 15_000:15_640] = image
    box = np.array([[40, 70, 160, 475]], np.float32)
    here = keypoints_of(only(pose.predict(image, boxes=box)))[0]
    there = keypoints_of(only(pose.predict(wide, boxes=box + np.array([15_000, 0, 15_000, 0]))))[0]
    clear = here[:, 2] > 0.3
    assert np.abs(there[clear, :2] - [15_000, 0] - here[clear, :2]).max() < 1


def test_the_image_of_the_caller_is_not_modified(lite, image):
    before = image.copy()
    only(lite.predict(image)).plot()
    assert np.array_equal(image, before)


def test_many_threads_may_use_one_predictor(lite, image):
    expected = keypoints_of(only(lite.predict(image)))
    found = []

    def work():
        found.extend(keypoints_of(result) for result in lite.predict([image, image]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for one in found:
        assert_same_keypoints(one, expected)


# Bad images


@pytest.fixture
def folder(tmp_path, image):
    for name in ("1.png", "3.jpg", "5.png"):
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "2.jpg").write_text("no image")
    (tmp_path / "4.png").write_bytes(EXAMPLE.read_bytes()[:5000])
    return tmp_path


@pytest.mark.parametrize("batch_size", quick_first([1, 2, 10], 1))
def test_bad_files_in_a_folder_are_logged_and_skipped(lite, folder, caplog, batch_size):
    with caplog.at_level(logging.ERROR):
        found = [result["input_path"] for result in lite.predict(str(folder), batch_size=batch_size)]
    assert found == [str(folder / name) for name in ("1.png", "3.jpg", "5.png")]
    assert [("2.jpg" in record.message, "4.png" in record.message) for record in caplog.records] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("batch_size", [1, 10])
def test_a_bad_file_in_a_list_is_raised_in_order(lite, folder, batch_size):
    stream = lite.predict([str(folder / name) for name in ("1.png", "2.jpg", "3.jpg")], batch_size=batch_size)
    assert next(stream)["input_path"].endswith("1.png")
    with pytest.raises(InputError, match=r"2\.jpg"):
        next(stream)


def test_errors_can_be_collected(lite, folder):
    errors = []
    sources = [str(folder / "2.jpg"), np.zeros((4, 4)), str(folder / "1.png"), str(folder / "none.png")]
    assert len(list(lite.predict(sources, on_error=errors.append))) == 1
    assert len(errors) == 3
    assert all(isinstance(error, InputError) for error in errors)


def test_prediction_is_lazy(lite):
    stream = lite.predict(["none.jpg"])
    with pytest.raises(InputError, match=r"none\.jpg"):
        next(stream)


# Wrong arguments


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.1, float("inf"), 2, True, "0.5"])
def test_invalid_thresholds_are_refused_at_once(lite, image, threshold):
    with pytest.raises(InputError, match="from 0 to 1"):
        lite.predict(image, det_threshold=threshold)


@pytest.mark.parametrize("batch_size", [0, -1, True, 0.5, 2.5, "2", 10**9])
def test_invalid_batch_sizes_are_refused_at_once(lite, image, batch_size):
    with pytest.raises(InputError, match="batch_size"):
        lite.predict(image, batch_size=batch_size)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([[0, 0, 10]], r"\[N, 4\]"),
        ([0, 0, 10, 10], r"\[N, 4\]"),
        ([[0, 0, 0, 10]], "number 0"),
        ([[0, 0, 10, 10], [5, 5, 4, 9]], "number 1"),
        ([[0, 0, float("nan"), 10]], "not finite"),
        ([[0, 0, float("inf"), 10]], "not finite"),
        ([["a", 0, 1, 1]], "not numbers"),
        ([[-3e38, -3e38, 3e38, 3e38]], "far too large"),
        ([[0, 0, 1, 1], [0, 0, 1]], "not numbers"),
    ],
)
def test_invalid_boxes_are_refused_at_once(pose, image, boxes, said):
    with pytest.raises(InputError, match=said):
        pose.predict(image, boxes=boxes)


def test_a_box_outside_the_image_is_an_error_of_that_image(pose, image):
    with pytest.raises(InputError, match=r"number 1, \[700"):
        only(pose.predict(image, boxes=[[0, 0, 10, 10], [700, 0, 800, 100]]))


def test_boxes_and_images_must_pair_up(lite, pose, image, tmp_path):
    box = [[0, 0, 10, 10]]
    for source, boxes in (([image, image], [box]), ([image], box), (str(tmp_path), box), ([image, image], 5)):
        with pytest.raises(InputError, match="boxes"):
            pose.predict(source, boxes=boxes)
    with pytest.raises(InputError, match="finds its own"):
        lite.predict(image, boxes=box)


# Making one


def test_description(lite):
    description = lite.describe()
    assert description["name"] == "human_keypoint_detection_lite"
    assert [model["model"] for model in description["models"]] == [DETECTOR, POSE]
    for model in description["models"]:
        assert model["backend"] in BACKENDS
        assert (model["device"], model["precision"]) == ("cpu", "fp32")
        assert model["threads"] >= 1
        assert model["reason"]
    assert set(lite.backend.split("+")) == {model["backend"] for model in description["models"]}


def test_closing(image):
    with Predictor(POSE) as predictor:
        predictor.warmup()
    predictor.close()
    with pytest.raises(BackendError, match="closed"):
        only(predictor.predict(image))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": "PP-TinyPos"}, ConfigError, "PP-TinyPose_128x96"),
        ({"name": "none.yaml"}, ConfigError, "No such file"),
        ({"name": POSE, "device": "tpu"}, ConfigError, "tpu"),
        ({"name": POSE, "device": "npu:0"}, BackendError, "npu"),
        ({"name": POSE, "precision": "int4"}, BackendError, "int4"),
        ({"name": POSE, "backend": "tflite"}, ConfigError, "tflite"),
        ({"name": POSE, "threads": 0}, ConfigError, "threads"),
        ({"name": POSE, "threads": 1.5}, ConfigError, "threads"),
        ({"name": POSE, "threads": 10**12}, ConfigError, "threads"),
        ({"name": POSE, "flip": "no"}, ConfigError, "flip"),
        ({"name": POSE, "batches": [1, 0]}, ConfigError, "batches"),
        ({"name": POSE, "device": 0}, ConfigError, "device"),
        ({"name": None}, ConfigError, "name is None"),
        ({"name": "a\0.yaml"}, ConfigError, "null byte"),
        ({"name": POSE, "model_dir": "/none"}, ModelError, "/none"),
        ({"name": DETECTOR, "flip": True}, ConfigError, "detector"),
        ({"name": "human_keypoint_detection_lite", "model_dir": "/none"}, ConfigError, "its YAML"),
    ],
)
def test_invalid_arguments_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        Predictor(**arguments)


def lite_config(**keypoints):
    return {
        "pipeline_name": "mine",
        "SubModules": {
            "ObjectDetection": {"model_name": DETECTOR, "threshold": 0.9, "batch_size": 3},
            "KeypointDetection": {"model_name": POSE, **keypoints},
        },
    }


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_a_pipeline_of_your_own(tmp_path, image, backend):
    config = lite_config(hpi_config={"backend": backend})
    config["SubModules"]["ObjectDetection"]["engine"] = "onnxruntime"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    for predictor in (
        Predictor(tmp_path / "mine.yaml"),
        Predictor("mine", config=config),
        create_pipeline(config=config),
    ):
        with predictor:
            assert predictor.name == "mine"
            assert [model["backend"] for model in predictor.describe()["models"]] == ["onnxruntime", backend]
            assert len(only(predictor.predict(image))["boxes"]) == 1  # the file's threshold
            assert len(only(predictor.predict(image, det_threshold=0.5))["boxes"]) == 2
    with Predictor("mine", config=config, backend="onnxruntime") as predictor:
        assert predictor.backend == "onnxruntime"


def test_models_in_the_wrong_place(tmp_path):
    config = lite_config()
    config["SubModules"]["KeypointDetection"]["model_name"] = DETECTOR
    with pytest.raises(ConfigError, match="stands where keypoint_detection is needed"):
        Predictor("mine", config=config)


def test_a_model_folder_of_your_own(tmp_path, image):
    shutil.copytree(Zoo.default().find(POSE).folder, tmp_path / "mine")
    yml = yaml.safe_load((tmp_path / "mine" / "inference.yml").read_text())
    del yml["Global"]
    yml["hpi"] = {"skeleton": "coco17"}
    (tmp_path / "mine" / "inference.yml").write_text(yaml.safe_dump(yml))
    with Predictor("my-pose", model_dir=tmp_path / "mine", flip=True) as predictor:
        assert len(only(predictor.predict(image))["kpts"]) == 1
        assert predictor.describe()["models"][0]["model_dir"] == str(tmp_path / "mine")


def test_adding_a_model_is_one_yaml(tmp_path, image, my_archive):
    """As the README shows."""
    with serve(my_archive.parent) as address:
        (tmp_path / "my-detector.yaml").write_text(
            "name: my-detector\n"
            "task: object_detection\n"
            "summary: finds people\n"
            "input_size: [416, 416]\n"
            "license: Apache-2.0\n"
            "sources:\n"
            f"  - {{url: '{address}/{my_archive.name}'}}\n"
        )
        with Predictor(tmp_path / "my-detector.yaml") as predictor:
            assert len(only(predictor.predict(image))["boxes"]) == 2


@pytest.mark.parametrize("damaged", ["weights", "yml"])
def test_a_damaged_model_folder(tmp_path, damaged, backend):
    source = Zoo.default().find(POSE).folder
    folder = shutil.copytree(source, tmp_path / "damaged")
    if damaged == "yml":
        (folder / "inference.yml").write_text("Preprocess: [")
    else:
        for name in ("inference.onnx", "inference.pdiparams"):
            (folder / name).write_bytes((source / name).read_bytes()[:100_000])
    with pytest.raises((ModelError, BackendError)) as error:
        Predictor(POSE, model_dir=folder, backend=backend)
    assert str(folder) in str(error.value)


def test_a_runtime_that_fails_while_running(image, monkeypatch):
    with Predictor(POSE, backend="onnxruntime") as predictor:
        session = predictor.pipelines[0].models[0].session
        monkeypatch.setattr(session, "_sessions", [None])
        session._idle.clear()
        with pytest.raises(BackendError, match="on onnxruntime failed"):
            only(predictor.predict(image))


@pytest.mark.parametrize("backend", quick_first(BACKEND_PACKAGES), indirect=True)
def test_closing_while_another_thread_predicts(image, backend):
    """It finishes, or raises the error of a closed predictor."""
    outcomes = []
    with Predictor(POSE, backend=backend) as predictor:
        started = threading.Event()

        def work():
            try:
                for _ in range(50):
                    only(predictor.predict(image))
                    started.set()
            except BackendError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert started.wait(HANGS_S)
        predictor.close()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 3
    assert all("closed" in outcome for outcome in outcomes)


@pytest.mark.full
def test_a_runtime_with_a_broken_installation_is_skipped(tmp_path):
    """A fake onnxruntime that cannot be imported, first on the path; the real one needs the least memory."""
    pytest.importorskip("openvino")
    (tmp_path / "site" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "site" / "onnxruntime" / "__init__.py").write_text("raise OSError('libonnx.so: cannot open')")
    script = (
        "from hpi import Predictor; p = Predictor('PicoDet-S_person_416', objective='memory')\n"
        "print(p.backend, p.describe()['models'][0]['rejected'])"
    )
    done = run_python("-c", script, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in {"openvino", "paddle"}
    assert "'onnxruntime fp32': 'onnxruntime cannot be imported: libonnx.so: cannot open" in done.stdout


# PaddleX's functions


def test_hpi_config_sets_options_without_an_argument():
    config = {"backend": "onnxruntime", "backend_config": {"cpu_num_threads": 1}}
    with Predictor(POSE, hpi_config=config) as predictor:
        assert predictor.describe()["models"][0]["threads"] == 1
    with Predictor(POSE, hpi_config=config, threads=2) as predictor:
        assert predictor.describe()["models"][0]["threads"] == 2
    with pytest.raises(BackendError, match="fp16"):
        Predictor(POSE, hpi_config={"backend_config": {"precision": "fp16"}})


@pytest.mark.skipif(gpu_count(), reason="there is a GPU")
def test_without_a_gpu_one_error_says_what_is_missing():
    with pytest.raises(BackendError) as error:
        Predictor("human_keypoint_detection_lite", device="gpu:0")
    assert str(error.value).startswith("device 'gpu:0' cannot be used: NVIDIA's driver is not on this machine")
    with create_pipeline("human_keypoint_detection_lite") as predictor:
        assert {model["device"] for model in predictor.describe()["models"]} == {"cpu"}


@pytest.fixture
def two_devices(monkeypatch):
    """A predictor with two copies of the models, as on two GPUs; here both run on the CPU."""
    monkeypatch.setattr("hpi.opening.read_devices", lambda _: ["cpu", "cpu"])
    with Predictor(POSE, device="gpu:0,1") as predictor:
        yield predictor


@pytest.mark.full
def test_several_devices_share_the_images_and_keep_the_order(two_devices, image, rng):
    images = [np.roll(image, int(shift), axis=1) for shift in rng.integers(0, 600, 9)]
    inputs = [*images[:4], "missing.jpg", *images[4:]]
    errors = []
    found = list(two_devices.predict(inputs, batch_size=2, on_error=errors.append))
    assert [str(error) for error in errors] == [str(errors[0])]
    assert "missing.jpg" in str(errors[0])
    with Predictor(POSE, device="cpu") as alone:
        expected = list(alone.predict(images))
    assert len(found) == len(expected) == 9
    for mine, other in zip(found, expected, strict=True):
        assert np.array_equal(mine["input_img"], other["input_img"])
    assert_same_keypoints([keypoints_of(mine) for mine in found], [keypoints_of(other) for other in expected])


def test_a_slow_device_does_not_delay_the_others(two_devices, image, monkeypatch):
    """The free device takes the next batch: with rounds in lockstep it would wait for the slow one."""
    fast, slow = (pipeline.models[0] for pipeline in two_devices.pipelines)
    overtaken = threading.Event()
    done = []
    run = type(fast).run

    def counted(estimator, *arguments):
        if estimator is slow:
            assert overtaken.wait(HANGS_S)
        done.append(estimator)
        if done.count(fast) == 3:
            overtaken.set()
        return run(estimator, *arguments)

    monkeypatch.setattr(type(fast), "run", counted)
    assert len(list(two_devices.predict([image] * 8))) == 8
    assert done[:3] == [fast] * 3
    assert slow in done


@pytest.mark.full
def test_a_failure_on_one_of_several_devices_is_raised_in_order(two_devices, image):
    two_devices.pipelines[1].models[0].session.close()
    with pytest.raises(BackendError, match="closed"):
        list(two_devices.predict([image] * 6))


# Starting


@pytest.mark.full
def test_importing_is_light(tmp_path):
    script = (
        "import sys, hpi\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'openvino', 'paddle', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "hpi.Predictor\n"
        "heavy = {'onnxruntime', 'openvino', 'paddle', 'huggingface_hub', 'PIL', 'rich', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run_python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_only_the_runtime_in_use_is_imported(tmp_path, home):
    script = (
        "import sys; from hpi import Predictor\n"
        "Predictor('human_keypoint_detection_lite', backend='onnxruntime').warmup()\n"
        "assert 'onnxruntime' in sys.modules\n"
        "assert not {'openvino', 'paddle', 'paddle2onnx', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = run_python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_opening_a_keypoint_model_runs_nothing(home, monkeypatch):
    runs, run = [], OnnxRuntimeSession.run
    monkeypatch.setattr(OnnxRuntimeSession, "run", lambda self, feeds: runs.append(feeds) or run(self, feeds))
    Predictor(POSE, backend="onnxruntime", device="cpu").close()
    Predictor(POSE, backend="onnxruntime", device="cpu", use_udp=True).close()
    Predictor.of_folders(Zoo.default().find(POSE).folder, backend="onnxruntime", device="cpu").close()
    assert not runs


def test_a_folder_may_have_the_name_of_a_known_model_of_another_size(home, tmp_path, monkeypatch):
    steps = [{"type": "TopDownEvalAffine", "trainsize": [64, 64]}, {"type": "Permute"}]
    text = "g (float[N, 3, 64, 64] image) => (float[N, 3, 64, 64] y) { y = Identity (image) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}')
    folder = dots.save(tmp_path / "PP-TinyPose_128x96", model, Preprocess=steps)
    monkeypatch.chdir(folder)
    for models in ((folder,), (".",), (folder, Zoo.default().find(DETECTOR).folder)):
        with Predictor.of_folders(*models, device="cpu", backend="onnxruntime") as predictor:
            assert len(predictor.pipelines[0].skeleton) == 3
            list(predictor.predict(np.zeros((64, 64, 3), np.uint8)))
    with pytest.raises(ModelError, match="give the folder of PP-TinyPose_128x96"):
        Predictor("PP-TinyPose_128x96", model_dir=folder, device="cpu")


def test_the_current_folder_has_its_own_name(home, tmp_path, monkeypatch):
    monkeypatch.chdir(dots.save(tmp_path / "mine"))
    with Predictor.of_folders(".", device="cpu", backend="onnxruntime") as predictor:
        assert predictor.name == "mine"
