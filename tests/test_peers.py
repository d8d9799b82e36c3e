"""Beside PaddleX, rtmlib and PaddleDetection in environments of their own.

``HPI_PADDLEX``, ``HPI_RTMLIB`` and ``HPI_PADDLEDETECTION_PYTHON`` name their Python, ``HPI_PADDLEDETECTION`` a checkout
of PaddleDetection, which is in no package index.
"""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from hpi import Predictor

from support import EXAMPLE, HANGS_S, ROOT, assert_same_people, run_hpi

pytestmark = [pytest.mark.full, pytest.mark.peers]

DETECTOR, POSE = "PicoDet-S_pedestrian_320", "PP-TinyPose_128x96"

# Its answer is on the last line; what it says before is its own.
PADDLEX = """
import json, sys, tempfile, yaml
from paddlex import create_pipeline
sys.path.insert(0, sys.argv[1])
from paddlex_models import put_under_accepted_name
config = yaml.safe_load(open(sys.argv[2]))
with tempfile.TemporaryDirectory() as folder:
    put_under_accepted_name(config["SubModules"]["ObjectDetection"], folder)
    pipeline = create_pipeline(config=config, device="cpu")
    print(json.dumps([result.json["res"]["boxes"] for result in pipeline.predict(sys.argv[3:])]))
"""


def python_of(variable):
    """The interpreter of a peer's environment."""
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no Python with this peer")
    return os.environ[variable]


@pytest.mark.parametrize("flip", [False, True])
def test_paddlex_finds_the_same_people(shared, tmp_path, rng, flip):
    """On parts of images, fresh each time."""
    python = python_of("HPI_PADDLEX")
    modules = {
        "ObjectDetection": {"module_name": "object_detection", "model_name": DETECTOR, "threshold": 0.5},
        "KeypointDetection": {"module_name": "keypoint_detection", "model_name": POSE, "flip": flip},
    }
    for module in modules.values():
        module |= {"model_dir": str(shared / "models" / module["model_name"]), "batch_size": 1}
    config = {"pipeline_name": "human_keypoint_detection", "SubModules": modules}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(config))
    paths = []
    for path in sorted((shared / "data" / "photos").glob("*.jpg")):
        image = cv2.imread(str(path))
        top, left = (int(rng.integers(0, side // 4)) for side in image.shape[:2])
        paths.append(str(tmp_path / f"{path.stem}.png"))
        cv2.imwrite(paths[-1], image[top:, left:])
    command = [python, "-c", PADDLEX, str(ROOT / "benchmarks" / "peers"), str(tmp_path / "pipeline.yaml"), *paths]
    environment = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 0, done.stderr
    expected = [{"boxes": boxes} for boxes in json.loads(done.stdout.splitlines()[-1])]
    assert sum(len(result["boxes"]) for result in expected) > 5
    with Predictor("", config=config) as predictor:
        assert_same_people(list(predictor.predict(paths)), expected)


def test_rtmlib_takes_its_turn_in_the_benchmark(tmp_path):
    python = python_of("HPI_RTMLIB")
    arguments = (
        "--backend",
        "onnxruntime",
        "--rtmlib",
        python,
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--output",
        "out",
    )
    done = run_hpi("benchmark", "pipeline", EXAMPLE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]["rows"]
    (rtmlib,) = [row for row in rows if row["who"].startswith("rtmlib")]
    assert rtmlib["people"] == 2
    assert np.isfinite(rtmlib["p50_ms"])


def test_paddlex_takes_its_turn_beside_both_versions(shared, tmp_path):
    pipeline = ",".join(str(shared / "models" / name) for name in (DETECTOR, POSE))
    arguments = (
        *("--before", sys.executable, "--folder", EXAMPLE.parent, "--pipeline", pipeline, "--part", "image"),
        *("--paddlex", python_of("HPI_PADDLEX"), "--seconds", "0.01", "--rounds", "1", "--output", "out"),
    )
    done = run_hpi("benchmark", "versions", EXAMPLE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["who"] for row in found["rows"]] == ["now", "before", "paddlex", "now", "before"]
    assert {row["people"] for row in found["rows"]} == {2}
    assert found["versions"]["paddlex"]["paddlex"]


@pytest.mark.parametrize("name", ["lite_hrnet_18_256x192_coco", "higherhrnet_hrnet_w32_512"])
def test_paddledetection_takes_its_turn_in_the_benchmark(shared, exported, tmp_path, name):
    """It finds the same people at the same places, but for near ties of a bottom-up model with random weights."""
    python_of("HPI_PADDLEDETECTION")
    python_of("HPI_PADDLEDETECTION_PYTHON")
    arguments = (
        *("--model", f"{name}={exported(name)}"),
        *("--detector", f"{DETECTOR}={shared / 'models' / DETECTOR}"),
        *("--backend", "onnxruntime", "--seconds", "0.01", "--rounds", "1", "--output", "out"),
    )
    done = run_hpi("benchmark", "zoo", shared / "data" / "photos" / "000000014439.jpg", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["who"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    plain, ours = rows["PaddleDetection, plain"], rows["hpi"]
    assert ours["people"] == pytest.approx(plain["people"], rel=0 if "lite" in name else 0.05)
    assert plain["people"] > 1
    assert ours["px_off"] < 0.5
    assert all(np.isfinite(row["p50_ms"]) for row in rows.values())
