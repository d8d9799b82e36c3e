"""What the package knows of models and pipelines agrees with itself, and with rtmlib's tables."""

import re
from collections import Counter

import numpy as np
import pytest

from hpi.compat.paddlex.config import pipeline_names, read_pipeline
from hpi.heads.simcc import SimccHead
from hpi.models.readers import Hints, read
from hpi.skeletons import load_skeleton
from hpi.zoo import Bundled, HuggingFace, Url, Zoo
from hpi.zoo.configs import MIRROR, SERVER, packaged_configs

from planted import save_planted
from support import ROOT

MODELS = packaged_configs()
READY = {name: config for name, config in MODELS.items() if config.sources}
KINDS = {"simcc", "vitpose", "rtmo", "yolox", "rtmdet", "yolo", "yolo26", "multipose"}
SPDX = {"Apache-2.0", "MIT", "BSD-3-Clause"}
"""Those that a model may have here; AGPL-3.0 is none of them."""

SIZES = {
    "rtmpose": ("t s m l", "m_384x288 l_384x288 x_384x288"),
    "rtmpose26": ("t_body26 s_body26 m_body26 l_body26", "m_body26_384x288 l_body26_384x288 x_body26_384x288"),
    "rtmpose_parts": ("m_hand", "t_face s_face m_face", "m_animal"),
    "rtmw": ("m l", "l_384x288 x_384x288"),
    "dwpose": ("t s m l", "l_384x288"),
    "rtmo": ("t s m l",),
    "vitpose": ("s b l", "s_animal b_animal l_animal", "b-simple"),
    "rtmdet": ("nano m", "nano_hand"),
    "yolox": ("nano_humanart tiny_humanart s_humanart m_humanart x_humanart", "tiny_coco m_coco x_coco"),
}
NAMES = {
    f"{re.split('[_0-9]', family)[0]}-{size}" for family, rows in SIZES.items() for row in rows for size in row.split()
}


def files(config):
    """What each source of a model fetches."""
    for source in config.sources:
        match source:
            case Bundled():
                yield source.bundled
            case HuggingFace():
                yield f"{source.hugging_face}/{source.file}"
            case Url():
                yield source.url


def test_the_families_are_there():
    assert set(READY) >= NAMES
    assert len(NAMES) == 50


def test_skeletons_and_summaries_say_the_same():
    counts = {name: len(load_skeleton(name)) for name in {config.skeleton for config in MODELS.values()} - {None}}
    for name, config in MODELS.items():
        if config.task == "object_detection":
            assert config.skeleton is None, name
        else:
            assert f"{counts[config.skeleton]} keypoints" in config.summary, name


def test_names_have_the_size_of_the_input():
    named = {name: re.search(r"_(\d+)x(\d+)", name) for name in MODELS}
    for name, size in named.items():
        if size and not name.startswith("fairmot"):  # those name the width first
            assert MODELS[name].input_size == (int(size[1]), int(size[2])), name
    assert sum(bool(size) for size in named.values()) > 20


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_entry_is_complete(name):
    config = MODELS[name]
    assert config.kind in KINDS
    assert config.license in SPDX
    assert config.accuracy or name == "rtmw-x_384x288"
    assert not any(isinstance(source, Bundled) for source in config.sources)
    for source in config.sources:
        assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
        if isinstance(source, HuggingFace):
            assert source.file and source.file.endswith((".onnx", ".zip"))
            assert source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision)


def test_a_file_of_openmmlab_is_looked_for_in_the_mirror_first():
    from_server = 0
    for config in READY.values():
        for number, server in enumerate(config.sources):
            if isinstance(server, Url) and server.url.startswith(SERVER):
                mirror = config.sources[number - 1]
                assert (number, mirror.hugging_face, mirror.sha256) == (1, MIRROR, server.sha256)
                assert server.url == f"{SERVER}{mirror.file}"
                from_server += 1
    assert from_server > 35


def test_no_two_models_are_one_file():
    counts = Counter(file for config in READY.values() for file in files(config))
    assert [file for file, count in counts.items() if count > 1] == []
    hashes = [{source.sha256 for source in config.sources if source.sha256} for config in READY.values()]
    assert len(set().union(*hashes)) == sum(map(len, hashes))


def test_no_fact_is_written_twice():
    """The mirror and the server have their addresses in one place, and the pairs are no YAML files of their own."""
    for path in (ROOT / "configs" / "models").glob("*.yaml"):
        assert MIRROR not in path.read_text()
        assert SERVER not in path.read_text()
    assert len(list((ROOT / "configs" / "pipelines").iterdir())) == 2


# rtmlib 0.0.16, tools/solution: the files of each mode.
YOLOX = {
    "tiny": "yolox_tiny_8xb8-300e_humanart-6f3252f9.zip",
    "m": "yolox_m_8xb8-300e_humanart-c2c7a14a.zip",
    "x": "yolox_x_8xb8-300e_humanart-a39d44ed.zip",
}
OF_RTMLIB = {
    "body-light": (YOLOX["tiny"], "rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504.zip"),
    "body-balanced": (YOLOX["m"], "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip"),
    "body-accurate": (YOLOX["x"], "rtmpose-x_simcc-body7_pt-body7_700e-384x288-71d7b7e9_20230629.zip"),
    "body26-light": (YOLOX["tiny"], "rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605.zip"),
    "body26-balanced": (YOLOX["m"], "rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605.zip"),
    "body26-accurate": (YOLOX["x"], "rtmpose-x_simcc-body7_pt-body7-halpe26_700e-384x288-7fb6e239_20230606.zip"),
    "wholebody-light": (YOLOX["tiny"], "rtmw-dw-l-m_simcc-cocktail14_270e-256x192_20231122.zip"),
    "wholebody-balanced": (YOLOX["m"], "rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip"),
    "wholebody-accurate": (YOLOX["m"], "rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.zip"),
    "hand-light": (
        "rtmdet_nano_8xb32-300e_hand-267f9c8f.zip",
        "rtmpose-m_simcc-hand5_pt-aic-coco_210e-256x256-74fb594_20230320.zip",
    ),
    "animal-light": ("yolox_tiny.onnx", "vitpose-s-apt36k.onnx"),
    "animal-balanced": ("yolox_m.onnx", "vitpose-b-apt36k.onnx"),
    # There it is vitpose-h-apt36k.onnx, which is a graph without its weights.
    "animal-accurate": ("yolox_x.onnx", "vitpose-l-apt36k.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_RTMLIB)
def test_pipelines_are_the_pairs_of_rtmlib(name):
    modules = read_pipeline(name).modules
    names = (modules.ObjectDetection.model_name, modules.KeypointDetection.model_name)
    assert tuple(next(files(MODELS[one])).rpartition("/")[2] for one in names) == OF_RTMLIB[name]


def test_every_pipeline_has_known_models_that_do_its_work():
    for name in pipeline_names():
        modules = read_pipeline(name).modules
        assert MODELS[modules.ObjectDetection.model_name].task == "object_detection"
        assert MODELS[modules.KeypointDetection.model_name].task == "keypoint_detection"
    assert set(OF_RTMLIB) < set(pipeline_names())


@pytest.mark.parametrize(
    ("short", "whole"), [("body", "body-balanced"), ("hand", "hand-light"), ("animal", "animal-balanced")]
)
def test_a_name_alone_is_balanced_where_that_exists(short, whole):
    assert read_pipeline(short).modules == read_pipeline(whole).modules


def test_names_of_pipelines_and_models_differ():
    assert not set(pipeline_names()) & set(Zoo.default().models)


ROW = re.compile(r"^\| `([\w.-]+)` \| (\d+x\d+) \| (-|[\d.]+) ?([^|]*) \| (-|\d+) \| ([^|]+) \|$", re.MULTILINE)


def test_the_page_has_the_same_figures():
    rows = {row[0]: row[1:] for row in ROW.findall((ROOT / "docs" / "zoo.md").read_text())}
    assert set(rows) == NAMES
    for name, (size, value, metric, megabytes, sources) in rows.items():
        config = MODELS[name]
        assert size == "{}x{}".format(*config.input_size)
        figure = config.accuracy
        assert (value, metric) == ((str(figure.value), figure.metric) if figure else ("-", ""))
        assert megabytes == (f"{config.size_mb:.0f}" if config.size_mb else "-")
        others = {one.hugging_face for one in config.sources if isinstance(one, HuggingFace)} - {MIRROR}
        assert set(re.findall("`([^`]+)`", sources)) == others
        assert ("OpenMMLab" in sources) == (config.sources[0].place == "huggingface.co/Tau-J")


def test_the_page_has_the_same_pipelines():
    page = (ROOT / "docs" / "zoo.md").read_text()
    shown = dict(re.findall(r"^\| `([\w-]+)` \| (`[\w.-]+` \| `[\w.-]+`) \| `\w+\(mode=", page, re.MULTILINE))
    assert set(shown) == set(OF_RTMLIB)
    for name, pair in shown.items():
        modules = read_pipeline(name).modules
        assert pair == f"`{modules.ObjectDetection.model_name}` | `{modules.KeypointDetection.model_name}`"


def test_what_the_registry_says_is_a_default(tmp_path):
    """A model trained anew keeps its name; its own files outrank the registry, and so do hints."""
    config = Zoo(tmp_path).models["rtmpose-m"]
    x, y = np.zeros((1, 26, 384), np.float32), np.zeros((1, 26, 512), np.float32)
    own = save_planted(tmp_path / "mine" / "end2end.onnx", {"simcc_x": x, "simcc_y": y}, ("N", 3, 256, 192)).parent
    assert Zoo(tmp_path).find("rtmpose-m", own).skeleton.name == "halpe26"
    same = save_planted(
        tmp_path / "models" / "rtmpose-m" / "end2end.onnx",
        {"simcc_x": x[:, :17], "simcc_y": y[:, :17]},
        ("N", 3, *config.input_size),
    ).parent
    assert Zoo(tmp_path).find("rtmpose-m").skeleton.name == "coco17"
    assert Zoo(tmp_path).find("rtmpose-m", hints=Hints(skeleton="ap10k17")).skeleton.name == "ap10k17"
    described = read(same, hints=Hints(skeleton="coco17")).description
    mean = described.model_copy(update={"head": SimccHead(score="mean")})
    assert Zoo(tmp_path).find("rtmpose-m", hints=Hints(description=mean)).head.score == "mean"
