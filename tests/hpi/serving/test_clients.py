"""The client programs of docs/how-to/clients.md find what the engine finds."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpi import Predictor

from pages import blocks
from support import EXAMPLE, HANGS_S, ROOT, quick_first

LINE = re.compile(r"(\d+) people(?:, first nose at (-?\d+\.\d), (-?\d+\.\d))?\n")
GSON = Path("/usr/share/java/gson.jar")


def has_headers(*names):
    source = "".join(f"#include <{name}>\n" for name in names)
    command = ["g++", "-x", "c++", "-fsyntax-only", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0


HERE = {
    "python": lambda: True,
    "js": lambda: shutil.which("node"),
    "java": lambda: shutil.which("java") and GSON.is_file(),
    "cpp": lambda: shutil.which("g++") and has_headers("curl/curl.h", "nlohmann/json.hpp"),
    "go": lambda: shutil.which("go"),
    "csharp": lambda: shutil.which("dotnet"),
    "php": lambda: shutil.which("php"),
}
"""Whether the tools of a language are here."""

PAIRS = [pair for pair in itertools.pairwise(blocks(ROOT / "docs" / "how-to" / "clients.md")) if pair[0].file]
STREAM = "stream_client.py"
PROGRAMS = {program.language: (program, run) for program, run in PAIRS if program.file != STREAM}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with people, nobody, and something that is no image."""
    folder = tmp_path_factory.mktemp("images")
    cv2.imwrite(str(folder / "people.jpg"), cv2.imread(str(EXAMPLE)))
    cv2.imwrite(str(folder / "nobody.jpg"), np.zeros((480, 640, 3), np.uint8))
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def found(images, home):
    """What the engine finds of ``people.jpg``."""
    with Predictor("human_keypoint_detection_lite", device="cpu") as predictor:
        (result,) = predictor.predict(images / "people.jpg")
    assert len(result.scores) == 2
    return result


def test_every_program_of_the_page_has_a_case():
    assert PROGRAMS.keys() == HERE.keys()


@pytest.mark.parametrize("language", quick_first(HERE))
def test_a_client_prints_what_the_engine_finds(language, service, images, found, tmp_path):
    program, run = PROGRAMS[language]
    if not HERE[language]():
        pytest.skip(f"{run.needs} and the libraries that the page names are not installed")
    shutil.copytree(images, tmp_path, dirs_exist_ok=True)
    port = service.url.rsplit(":", 1)[1]
    (tmp_path / program.file).write_text(program.code.replace("8080", port))
    if language == "java":
        (tmp_path / "gson.jar").symlink_to(GSON)
    *build, start = [text for text, _ in run.commands()]
    for command in build:
        assert execute(command, tmp_path).returncode == 0

    people = execute(start, tmp_path)
    count, x, y = LINE.fullmatch(people.stdout).groups()
    assert int(count) == len(found.scores)
    assert np.abs(np.array([x, y], float) - found.keypoints[0, 0]).max() < 0.2
    assert execute(start.replace("people.jpg", "nobody.jpg"), tmp_path).stdout == "0 people\n"
    refused = execute(start.replace("people.jpg", "notes.txt"), tmp_path)
    assert refused.returncode == 1
    assert "422: " in refused.stderr
    assert not refused.stdout


@pytest.mark.full
def test_the_client_of_a_stream_prints_who_is_there(service, tmp_path):
    image = cv2.imread(str(EXAMPLE))
    clip = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for shift in range(6):
        clip.write(np.roll(image, 2 * shift, axis=1))
    clip.release()
    ((program, run),) = [pair for pair in PAIRS if pair[0].file == STREAM]
    (tmp_path / STREAM).write_text(program.code.replace("8080", service.url.rsplit(":", 1)[1]))
    ((command, _),) = run.commands()
    lines = execute(command, tmp_path).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"0.{number}0 s" for number in range(6)]
    assert {tuple(sorted(line.split()[2:])) for line in lines[2:]} == {("1", "2")}


def execute(command, folder):
    """Run a command of the page, in a folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**os.environ, "PATH": path, "GOCACHE": str(folder / "go")},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    print(command, done.stdout, done.stderr, sep="\n")
    return done
