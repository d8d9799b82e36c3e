"""Model folders damaged at random: each gives finite results or one of this package's errors."""

import json
import os
import random
import selectors
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpi.zoo import Zoo

from damage import damage
from support import EXAMPLE, ROOT, require

POSE, DETECTOR = "MoveNet-Thunder_256x256", "PicoDet-S_person_416"
TIMEOUT_S = 600
PER_MODEL = 32

# What else could be meant by a damaged file is none of the engine's business: these damages leave only a whole model.
HARMLESS_OR_FATAL = {"stand_in", "remove", "truncate"}

pytestmark = [pytest.mark.full, pytest.mark.long]


class Worker:
    """The process that tries model folders; it is started again if one crashes it."""

    def __init__(self, home):
        self.home = home
        self.process = None

    def try_out(self, folder, name, backend):
        """The outcome for a folder; None stands for the folder in the cache."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "damage.py")],
                env={**os.environ, "HPI_HOME": str(self.home)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        request = [folder and str(folder), name, backend, str(EXAMPLE)]
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(TIMEOUT_S):
                line = self.process.stdout.readline()
                if not line:
                    return {"bug": f"the process died: {self.process.wait()}"}
                if line.startswith(b"ANSWER "):  # runtimes print, too
                    return json.loads(line.removeprefix(b"ANSWER "))
        self.process.kill()
        self.process.wait()
        return {"bug": f"no answer within {TIMEOUT_S} s"}

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(TIMEOUT_S)
            self.process.stdout.close()


@pytest.fixture(scope="module")
def worker(home):
    worker = Worker(home)
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("source", "name", "files", "backends"),
    [
        (POSE, POSE, None, ["auto", "onnxruntime", "openvino", "paddle"]),
        (POSE, POSE, {"inference.onnx", "inference.yml"}, ["auto", "onnxruntime", "openvino"]),
        (DETECTOR, DETECTOR, None, ["auto", "onnxruntime", "openvino", "paddle"]),
        ("models/PP-TinyPose_128x96", "PP-TinyPose_128x96", None, ["auto", "onnxruntime", "paddle"]),
        ("models/tinypose_256x192_paddle2", "mine", None, ["auto", "paddle"]),
    ],
)
def test_a_damaged_folder_gives_results_or_an_error(source, name, files, backends, worker, rng, tmp_path, shared):
    require("paddle2onnx")
    original = shared / source if "/" in source else Zoo.default().find(source).folder
    ignored = shutil.ignore_patterns(
        *({file.name for file in original.iterdir()} - files if files else ["sources.json"])
    )
    expected = {backend: worker.try_out(original, name, backend)["found"] for backend in backends}
    random_numbers = random.Random(int(rng.integers(1 << 32)))
    wrong = []
    for _ in range(PER_MODEL):
        folder = tmp_path / "damaged"
        shutil.copytree(original, folder, ignore=ignored, copy_function=shutil.copyfile)
        backend = random_numbers.choice(backends)
        what = damage(random_numbers, folder)
        answer = worker.try_out(folder, name, backend)
        if "bug" in answer or not _is_right(answer, expected[backend], what):
            wrong.append((backend, what, answer))
        shutil.rmtree(folder)
    assert not wrong


def _is_right(answer, expected, what):
    """Whether an answer is an error, or is made of numbers, and of the right ones where there are no others."""
    found = answer.get("found")
    if found is None:
        return "\n" not in answer["error"]
    kind, file = what.split()
    if kind in HARMLESS_OR_FATAL and not file.endswith(".yml"):
        return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, atol=0.1))
    return bool(np.isfinite(found).all())


@pytest.mark.parametrize("name", [POSE, DETECTOR])
def test_a_folder_damaged_in_the_cache_gives_the_same_results(name, rng, tmp_path):
    zoo, worker = Zoo(tmp_path), Worker(tmp_path)
    folder = zoo.find(name).folder
    expected = worker.try_out(None, name, "onnxruntime")
    assert expected["found"]
    random_numbers = random.Random(int(rng.integers(1 << 32)))
    for _ in range(PER_MODEL):
        what = damage(random_numbers, folder)
        assert worker.try_out(None, name, "onnxruntime") == expected, what
    worker.close()
    assert sorted(Path(folder).iterdir()) == sorted(zoo.find(name).folder.iterdir())
