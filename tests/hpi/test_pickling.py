"""A predictor in another process: unpickled, it opens its models; after a fork, it raises an error."""

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from hpi import Predictor, create_model, create_pipeline

from support import EXAMPLE, run_python

LITE, POSE = "human_keypoint_detection_lite", "MoveNet-Thunder_256x256"


def keypoints_of(results):
    return [np.array([person["keypoints"] for person in result.people]) for result in results]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Predictor(LITE, backend="onnxruntime", threads=1, threshold=0.6, batch_size=3),
        pytest.param(lambda: create_pipeline(LITE, hpi_config={"backend": "onnxruntime"}), marks=pytest.mark.full),
        pytest.param(lambda: create_model(POSE, flip=True, engine="onnxruntime", batch_size=2), marks=pytest.mark.full),
    ],
    ids=["Predictor", "create_pipeline", "create_model"],
)
def test_a_copy_is_opened_with_the_same_arguments(make):
    with make() as predictor, pickle.loads(pickle.dumps(predictor)) as twin:
        assert type(twin) is type(predictor)
        for name in ("name", "batch_size", "threshold", "device", "backend"):
            assert getattr(twin, name) == getattr(predictor, name)
        threads = [[model["threads"] for model in one.describe()["models"]] for one in (twin, predictor)]
        assert threads[0] == threads[1]
        assert_same(*(keypoints_of(one.predict(str(EXAMPLE))) for one in (twin, predictor)))


@pytest.mark.full
def test_a_copy_keeps_attributes_that_were_set_later(lite):
    with copy.deepcopy(lite) as twin:
        twin.batch_size, twin.threshold = 7, 0.9
        with pickle.loads(pickle.dumps(twin)) as third:
            assert (third.batch_size, third.threshold) == (7, 0.9)


@pytest.mark.full
def test_a_closed_predictor_is_opened_again(image):
    predictor = Predictor(POSE)
    predictor.close()
    with pickle.loads(pickle.dumps(predictor)) as twin:
        assert len(keypoints_of(twin.predict(image))) == 1


@pytest.mark.full
def test_relative_names_hold_in_another_folder(tmp_path, monkeypatch, shared):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.YAML").write_text(
        "pipeline_name: mine\nSubModules:\n  ObjectDetection: {model_name: PicoDet-S_person_416}\n"
        f"  KeypointDetection: {{model_name: {POSE}, model_dir: ''}}\n"
    )
    monkeypatch.chdir(tmp_path / "a")
    with Predictor("mine.YAML") as predictor:
        pickled = pickle.dumps(predictor)
    monkeypatch.chdir(tmp_path)
    with pickle.loads(pickled) as twin:
        assert twin.name == "mine"


def _work(predictor, path):
    return os.getpid(), keypoints_of(predictor.predict(path))


@pytest.mark.full
def test_processes_that_are_spawned_get_their_own(lite):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        futures = [pool.submit(_work, lite, str(EXAMPLE)) for _ in range(2)]
        found = [future.result(timeout=600) for future in futures]
    for process, keypoints in found:
        assert process != os.getpid()
        assert_same(keypoints, keypoints_of(lite.predict(str(EXAMPLE))))


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_prediction_in_a_forked_process_is_an_error(tmp_path):
    """In a process of its own: this one has threads that a fork would lose."""
    (tmp_path / "script.py").write_text(
        "import os\n"
        "from hpi import BackendError, Predictor\n"
        f"with Predictor({POSE!r}) as predictor:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        f"            predictor.predict({str(EXAMPLE)!r})\n"
        "        except BackendError as error:\n"
        "            print(error, flush=True)\n"
        "            os._exit(0)\n"
        "        os._exit(1)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        f"    assert len(list(predictor.predict({str(EXAMPLE)!r}))) == 1\n"
    )
    done = run_python("script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "do not survive a fork" in done.stdout
    assert "spawn" in done.stdout
