"""PaddleX's tables: the rows and what is in them; how fast anything is, is not tested."""

import json

import pytest

from support import require, run_hpi

require("paddle")

pytestmark = pytest.mark.long  # its slow cases run each night


def run(*arguments, cwd):
    return run_hpi(
        "benchmark", "published", "--seconds", "0.01", "--rounds", "1", "--output", "out", *arguments, cwd=cwd
    )


@pytest.mark.full
def test_the_table_says_whose_weights_were_measured(shared, tmp_path):
    require("paddle2onnx")
    done = run(
        "--model", f"PP-TinyPose_128x96={shared / 'models' / 'PP-TinyPose_128x96'}", "--model", "PP-YOLOE-S_human",
        "--weights", "random", "--archives", shared / "models" / "latency_only", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (report["precision"], report["batch"]) == ("FP32", "1")
    pose, detector = report["models"]
    assert (pose["weights"], detector["weights"]) == ("given", "random weights")
    assert (pose["ap"], detector["ap"]) == (58.4, 42.5)
    assert pose["published"] == {"cpu": {"high": 6.19}, "gpu": {"normal": 24.22, "high": 4.34}}
    for row in (pose, detector):
        modes = row["measured"]["cpu"]
        assert modes["normal"]["runs_on"].startswith("paddle_plain ")
        assert min(modes["normal"]["ms"], modes["high"]["ms"]) > 0
    table = (tmp_path / "out.md").read_text()
    assert "| PP-YOLOE-S_human | 42.5 |" in table
    assert "24.22 / 4.34" in table
    assert "- / 6.19" in table
    assert "random weights |" in table
    assert "- threads: " in table


@pytest.mark.full
def test_archives_are_for_random_weights(tmp_path):
    done = run("--archives", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "belong together" in done.stderr
