"""A service of one model that finds people with their keypoints itself."""

import base64
import socket

import cv2
import httpx
import pytest

import dots
from support import EXAMPLE, HANGS_S, run_hpi

pytest.importorskip("fastapi")
pytest.importorskip("scipy", reason="SciPy is not installed")


@pytest.mark.full
def test_a_model_in_a_folder_is_served(start_service, tmp_path, rng):
    everyone = dots.people(rng, 4, (128, 64))
    content = cv2.imencode(".png", dots.paint(everyone, (128, 64)))[1].tobytes()
    folder = dots.save(tmp_path / "dots")
    service = start_service("--model", "dots", "--model_dir", str(folder), "--backend", "onnxruntime")
    body = {"image": base64.b64encode(content).decode()}
    answer = httpx.post(service.route, json=body, timeout=HANGS_S).json()
    assert len(answer["result"]["persons"]) == len(everyone)
    about = httpx.get(f"{service.url}/info", timeout=HANGS_S).json()
    assert (about["models"][0]["model"], about["detThreshold"]) == ("dots", 0)


@pytest.mark.full
@pytest.mark.parametrize("model", ["MoveNet-Thunder_256x256", "PicoDet-S_person_416"])
def test_a_model_that_finds_no_people_with_keypoints_is_refused(tmp_path, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = run_hpi("serve", "--model", model, "--port", port, cwd=tmp_path)
    assert done.returncode != 0
    assert f"{model} does not find people with their keypoints by itself" in done.stderr


@pytest.mark.full
def test_a_folder_needs_a_model(tmp_path):
    done = run_hpi("serve", "--model_dir", EXAMPLE.parent, cwd=tmp_path)
    assert done.returncode != 0
    assert "model_dir is for a single model" in done.stderr
