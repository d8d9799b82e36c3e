"""A service of a detector and a model of whole bodies."""

import base64

import httpx
import pytest
import yaml

from hpi.compat.paddlex.config import pipeline_of_folders
from hpi.skeletons import load_skeleton
from hpi.zoo import Zoo

from planted import save_planted_pose
from support import EXAMPLE, HANGS_S


@pytest.mark.full
def test_the_service_answers_with_every_keypoint(start_service, tmp_path):
    pytest.importorskip("fastapi")
    save_planted_pose(tmp_path / "model", load_skeleton("coco_wholebody133"))
    config = pipeline_of_folders(Zoo.default().find("PicoDet-S_person_416").folder, tmp_path / "model")
    (tmp_path / "wholebody.yaml").write_text(yaml.safe_dump(config))
    service = start_service("--pipeline", str(tmp_path / "wholebody.yaml"), "--backend", "onnxruntime")
    about = httpx.get(f"{service.url}/info", timeout=HANGS_S).json()
    assert len(about["skeleton"]["keypoints"]) == 133
    body = {"image": base64.b64encode(EXAMPLE.read_bytes()).decode()}
    answer = httpx.post(service.route, json=body, timeout=HANGS_S).json()["result"]
    assert {len(person["kpts"]) for person in answer["persons"]} == {133}
    assert answer["image"]
