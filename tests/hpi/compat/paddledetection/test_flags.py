"""The flags of PaddleDetection's scripts: how they are read, and what is said of those that do nothing here."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpi.compat.paddledetection.flags import DET_KEYPOINT_UNITE, KEYPOINT_INFER, MOT_KEYPOINT_UNITE, read_flags
from hpi.errors import ConfigError

from support import HANGS_S

SCRIPTS = {
    "keypoint-infer": KEYPOINT_INFER,
    "det-keypoint-unite": DET_KEYPOINT_UNITE,
    "mot-keypoint-unite": MOT_KEYPOINT_UNITE,
}
REQUIRED = {
    "keypoint-infer": ["model_dir"],
    "det-keypoint-unite": ["det_model_dir", "keypoint_model_dir"],
    "mot-keypoint-unite": ["mot_model_dir", "keypoint_model_dir"],
}
PARSERS = {
    "keypoint-infer": "utils",
    "det-keypoint-unite": "det_keypoint_unite_utils",
    "mot-keypoint-unite": "mot_keypoint_unite_utils",
}


def flags_of(script):
    return {name: flag for group in SCRIPTS[script].values() for name, flag in group.items()}


def read(script, *words):
    given = [word for name in REQUIRED[script] for word in (f"--{name}", "there")]
    return read_flags(SCRIPTS[script], [*given, *words], required=REQUIRED[script], about="", command="hpi")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("words", [["--use_dark", "{}"], ["--use_dark={}"], ["--use_d", "{}"]], ids=str)
@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("true", True), ("1", True), ("False", False), ("false", False), ("0", False)]
)
def test_booleans_are_read_in_each_spelling(script, words, text, value):
    assert read(script, *(word.format(text) for word in words))["use_dark"] is value


def test_values_that_are_not_given_are_those_of_the_script():
    assert read("keypoint-infer") == {
        "model_dir": "there", "video_file": None, "camera_id": -1, "image_file": None, "image_dir": None,
        "batch_size": 1, "output_dir": "output",
        "save_images": True, "save_res": False, "threshold": 0.5, "use_dark": None, "device": "cpu",
        "run_mode": "paddle", "cpu_threads": None,
    }  # fmt: skip
    unite = read("det-keypoint-unite")
    assert (unite["det_threshold"], unite["keypoint_threshold"], unite["output_dir"]) == (0.5, 0.5, "output")


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("det-keypoint-unite", ["--det_model_dirs", "x"], "--det_model_dirs is not a flag .* mean --det_model_dir?"),
        ("det-keypoint-unite", ["--keypoint_treshold=0.5"], "did you mean --keypoint_threshold?"),
        ("keypoint-infer", ["--output-dir", "x"], "did you mean --output_dir?"),
        ("keypoint-infer", ["--colour", "red"], "--colour is not a flag of this script; --help lists its flags"),
        ("keypoint-infer", ["people.jpg"], "'people.jpg' belongs to no flag"),
        ("keypoint-infer", ["--use_dark", "perhaps"], "--use_dark: 'perhaps': give True or False"),
        ("keypoint-infer", ["--use_dark"], "--use_dark: expected one argument"),
        ("keypoint-infer", ["--threshold", "nan"], "--threshold: 'nan': give a number from 0 to 1"),
        ("keypoint-infer", ["--batch_size", "0"], "--batch_size: '0': give a whole number above 0"),
        ("keypoint-infer", ["--trt_min_shape", "x"], "--trt_min_shape: invalid int value: 'x'"),
        ("keypoint-infer", ["--s", "x"], "ambiguous option: --s could match"),
        ("keypoint-infer", ["--use_gpu", "True"], "--use_gpu: deprecated; use --device GPU"),
        (
            "keypoint-infer",
            ["--save_mot_txts"],
            "--save_mot_txts: this script does not track, .* mot-keypoint-unite does",
        ),
        ("det-keypoint-unite", ["--filter_type", "Kalman"], "--filter_type: 'Kalman': give OneEuro or EMA"),
        ("det-keypoint-unite", ["--camera_id=first"], "--camera_id: invalid int value: 'first'"),
        ("mot-keypoint-unite", ["--mot_model", "x", "--video", "a.mp4", "--det_treshold=1"], "--det_treshold is not a"),
        ("mot-keypoint-unite", ["--image_dir", "x"], "--image_dir: people are followed through a video: give"),
    ],
)
def test_an_error_says_which_flag_and_what_to_do(script, words, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read(script, *words)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_missing_model_is_named(script):
    with pytest.raises(ConfigError, match="give " + " and ".join(f"--{name}" for name in REQUIRED[script])):
        read_flags(SCRIPTS[script], [], required=REQUIRED[script], about="", command="hpi")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_flag_without_effect_is_a_line_in_the_log(script, caplog):
    silent = {name: flag for name, flag in flags_of(script).items() if flag.no_effect}
    values = {int: "2", float: "0.5", str: "some"}
    words = []
    for name, flag in silent.items():
        words += [f"--{name}"] if flag.read is None else [f"--{name}", values.get(flag.read, "True")]
    with caplog.at_level(logging.WARNING):
        read(script, *words)
    assert [re.match("--([a-z0-9_]+) has no effect: .", record.message)[1] for record in caplog.records] == [*silent]


@pytest.mark.parametrize(
    "words", [["--camera_id", "-1"], ["--use_gpu=False"], ["--slice_size", "640", "640", "--slice_infer"]], ids=str
)
def test_what_asks_for_nothing_is_no_error(words):
    assert read("keypoint-infer", *words)["model_dir"] == "there"


@pytest.mark.peers
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_of_the_script_is_known(script):
    """``HPI_PADDLEDETECTION`` names a checkout."""
    folder = os.environ.get("HPI_PADDLEDETECTION") or pytest.skip("HPI_PADDLEDETECTION names no checkout")
    code = (
        f"import {PARSERS[script]} as module\n"
        "for one in module.argsparser()._actions: print(*one.option_strings, repr(one.default))"
    )
    scripts = Path(folder, "deploy", "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, timeout=HANGS_S, check=True
    )
    there = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if " --" not in line and "[" not in line)
    ours = flags_of(script)
    assert {name.removeprefix("--") for name in there} <= ours.keys()
    taken = {
        name: flag for name, flag in ours.items() if not (flag.no_effect or flag.about == "" or name == "save_res")
    }
    differs = {name for name, flag in taken.items() if repr(flag.default) != there[f"--{name}"]}
    assert differs == {"cpu_threads", "use_dark"}  # there one, and True, which here also means: not asked for
