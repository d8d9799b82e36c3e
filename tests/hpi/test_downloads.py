"""Models from real servers on this machine: archives and graphs at an address, files of a repository of the Hub."""

import hashlib
import http.server
import io
import json
import zipfile

import numpy as np
import pytest
import yaml

from hpi import Predictor
from hpi.errors import ConfigError, ModelError
from hpi.zoo import Zoo, why_not_fetched

from planted import save_planted
from support import NO_NETWORK, quick_first, run_python, serve

pytestmark = pytest.mark.long  # its slow cases run each night

NAME = "planted-detector"
BOX = (104.0, 104.0, 312.0, 312.0)
DEEP = "20230831/rtmdet_onnx/planted/"
"""Where mmdeploy's archives have their files."""

DETECTOR = {
    "transform": {"type": "letterbox", "size": [416, 416]},
    "head": {"type": "boxes"},
    "classes": ["person"],
}


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A graph that finds one person, whatever the image shows."""
    outputs = {"boxes": np.array([[0, 0.9, *BOX]], np.float32), "counts": np.array([1])}
    return save_planted(tmp_path_factory.mktemp("planted") / "end2end.onnx", outputs, (1, 3, 416, 416)).read_bytes()


def zipped(graph, description=None, folder=DEEP):
    """An archive with a graph, and what describes it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(f"{folder}end2end.onnx", graph)
        if description:
            bundle.writestr(f"{folder}hpi.yml", yaml.safe_dump(description))
    return content.getvalue()


def entry(*sources, name=NAME, **fields):
    content = {
        "name": name, "task": "object_detection", "summary": "for a test", "input_size": [416, 416],
        "license": "Apache-2.0", "sources": list(sources),
    }  # fmt: skip
    return {**content, **fields}


def add(zoo, folder, *sources, **fields):
    path = folder / "entry.yaml"
    path.write_text(yaml.safe_dump(entry(*sources, **fields)))
    return zoo.add(path)


@pytest.fixture
def served(tmp_path):
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("folder", quick_first([DEEP, "planted/", ""]))
def test_an_archive_of_mmdeploy_is_unpacked_however_deep_its_folder_is(tmp_path, served, detector, folder):
    content = zipped(detector, DETECTOR, folder)
    (served / "model.zip").write_bytes(content)
    zoo = Zoo(tmp_path / "home")
    with serve(served) as address:
        add(zoo, tmp_path, {"url": f"{address}/model.zip", "sha256": hashlib.sha256(content).hexdigest()})
        spec = zoo.find(NAME)
    assert spec.name == NAME
    assert names_in(spec.folder) == ["end2end.onnx", "hpi.yml", "sources.json"]
    assert names_in(tmp_path / "home" / "models") == [f".{NAME}.lock", NAME]


def bomb():
    """An archive that says honestly that it unpacks to 3 GiB of zeros."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("model/end2end.onnx", bytes(1 << 20))
    data = bytearray(content.getvalue())
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.index(signature) + offset
        data[start : start + 4] = (3 << 30).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "fragment"),
    quick_first(
        [
            (lambda _: bomb(), "unpacks to more than"),
            (lambda _: zipped(b"<html>Log in</html>", DETECTOR), "web page"),
            (lambda whole: whole[: len(whole) // 2], "damaged"),
            (lambda whole: whole.replace(b"end2end.onnx", b"../../x.onnx"), "outside"),
            (lambda whole: whole.replace(b"/planted/hpi.yml", b"/another/hpi.yml"), "more than one folder"),
            (lambda _: b"<!doctype html><title>Log in</title>", "not a usable archive"),
            (lambda _: zipped(b"", DETECTOR), "empty"),
            (lambda whole: zipped(whole[100:], DETECTOR), "archive|damaged|truncated"),
            (lambda _: zipped(b"version https://git-lfs.github.com/spec/v1\n", DETECTOR), "Git LFS pointer"),
        ],
        2,
    ),
    ids=["bomb", "page_inside", "cut", "outside", "folders", "page", "empty_inside", "noise_inside", "lfs_inside"],
)
def test_after_a_damaged_archive_the_next_source_is_tried(tmp_path, served, detector, damage, fragment):
    whole = zipped(detector, DETECTOR)
    (served / "bad.zip").write_bytes(damage(whole))
    (served / "good.zip").write_bytes(whole)
    zoo = Zoo(tmp_path / "home")
    with serve(served) as address:
        bad, good = {"url": f"{address}/bad.zip"}, {"url": f"{address}/good.zip"}
        add(zoo, tmp_path, bad)
        with pytest.raises(ModelError, match=fragment) as error:
            zoo.find(NAME)
        assert "/bad.zip" in str(error.value) or "end2end.onnx" in str(error.value)
        assert not (tmp_path / "home" / "models" / NAME).exists()
        assert [file for file in tmp_path.rglob("*") if file.name.startswith(".download")] == []
        another = Zoo(tmp_path / "home")
        add(another, tmp_path, bad, good)
        assert another.find(NAME).folder.is_dir()


def test_a_graph_with_another_hash_is_refused(tmp_path, served, detector):
    (served / "model.onnx").write_bytes(detector)
    zoo = Zoo(tmp_path / "home")
    with serve(served) as address:
        add(zoo, tmp_path, {"url": f"{address}/model.onnx", "sha256": "0" * 64})
        with pytest.raises(ModelError, match=r"/model\.onnx: damaged or replaced"):
            zoo.find(NAME)


def test_a_page_in_place_of_a_graph_is_refused(tmp_path, served):
    (served / "model.onnx").write_text("<!doctype html><title>Log in</title>")
    zoo = Zoo(tmp_path / "home")
    with serve(served) as address:
        add(zoo, tmp_path, {"url": f"{address}/model.onnx"})
        with pytest.raises(ModelError, match=NAME):
            zoo.find(NAME)
    assert not (tmp_path / "home" / "models" / NAME).exists()


# The Hub


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as a download of single files needs; a folder holds ``owner/name/file``."""

    commit = "a" * 40

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        file = self.folder / repository / name
        if not file.is_file() or revision not in {"main", self.commit}:
            self.send_response(404)
            self.send_header(
                "X-Error-Code", "EntryNotFound" if revision in {"main", self.commit} else "RevisionNotFound"
            )
            self.end_headers()
            return
        body = file.read_bytes()
        self.send_response(200)
        for header, value in {
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": self.commit, "Content-Length": len(body),
        }.items():  # fmt: skip
            self.send_header(header, str(value))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


FIND = """
import sys
from pathlib import Path
from hpi.zoo import Zoo, why_not_fetched
for path in sys.argv[1:]:
    zoo = Zoo.default()
    zoo.add(Path(path))
    try:
        print(zoo.find(Path(path).stem).folder)
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.full
def test_files_of_the_hub(tmp_path, detector):
    """Archives, graphs with what belongs beside them, revisions, hashes, and what is not there; the real client."""
    repository = tmp_path / "hub" / "me" / "models"
    (repository / "onnx").mkdir(parents=True)
    (repository / "sdk.zip").write_bytes(zipped(detector, DETECTOR))
    (repository / "onnx" / "model.onnx").write_bytes(detector)
    (repository / "hpi.yml").write_text(yaml.safe_dump(DETECTOR))
    graph = {"hugging_face": "me/models", "file": "onnx/model.onnx", "beside": ["hpi.yml"]}
    right, wrong = hashlib.sha256(detector).hexdigest(), "0" * 64
    sources = {
        "archive": {"hugging_face": "me/models", "file": "sdk.zip"},
        "graph": {**graph, "revision": Hub.commit, "sha256": right},
        "no_revision": {**graph, "revision": "b" * 40},
        "no_file": {**graph, "file": "onnx/none.onnx"},
        "wrong_hash": {**graph, "sha256": wrong},
    }
    paths = []
    for name, source in sources.items():
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(yaml.safe_dump(entry(source, name=name)))
    with serve(type("OneHub", (Hub,), {"folder": tmp_path / "hub"})) as address:
        places = {"HPI_HOME": str(tmp_path / "home"), "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
        done = run_python("-c", FIND, *paths, cwd=tmp_path, **places)
    assert done.returncode == 0, done.stderr
    archive, of_graph, *failed = done.stdout.splitlines()
    assert names_in(tmp_path / "home" / "models" / "archive") == ["end2end.onnx", "hpi.yml", "sources.json"]
    assert archive == str(tmp_path / "home" / "models" / "archive")
    assert names_in(tmp_path / "home" / "models" / "graph") == ["hpi.yml", "model.onnx", "sources.json"]
    assert of_graph.endswith("graph")
    for line, name in zip(failed, ("no_revision", "no_file", "wrong_hash"), strict=True):
        assert line.startswith(f"ModelError {name} is not in the cache")
        assert f"Hugging Face me/models, {'onnx/none.onnx' if name == 'no_file' else 'onnx/model.onnx'}" in line
    assert "damaged or replaced" in failed[-1]
    noted = json.loads((tmp_path / "home" / "models" / "graph" / "sources.json").read_text())["sources"]
    assert noted == [{**sources["graph"]}]


@pytest.mark.parametrize("other", [{"sha256": "0" * 64}, {"beside": ["hpi.yml"]}])
def test_a_hash_and_further_files_need_a_file(tmp_path, other):
    with pytest.raises(ConfigError, match="belong to a file"):
        add(Zoo(tmp_path), tmp_path, {"hugging_face": "me/models", **other})


@pytest.mark.parametrize("file", ["../model.onnx", "/etc/model.onnx", ".git/model.onnx", "a//b.onnx", ""])
def test_a_path_out_of_the_repository_is_refused(tmp_path, file):
    with pytest.raises(ConfigError, match="file"):
        add(Zoo(tmp_path), tmp_path, {"hugging_face": "me/models", "file": file})


# Graphs with nothing beside them: what the registry says of them is how they are read.


def zeros(*shape):
    return np.zeros(shape, np.float32)


SIMCC = {"simcc_x": 384, "simcc_y": 512}
DETS = {"dets": zeros(1, 5, 5), "labels": np.zeros((1, 5), np.int64)}
LONE = [
    ("rtmpose-s", {name: zeros(1, 17, bins) for name, bins in SIMCC.items()}, "simcc"),
    ("rtmpose-s_body26", {name: zeros(1, 26, bins) for name, bins in SIMCC.items()}, "simcc"),
    ("rtmw-m", {name: zeros(1, 133, bins) for name, bins in SIMCC.items()}, "simcc"),
    ("rtmpose-m_hand", {name: zeros(1, 21, 512) for name in SIMCC}, "simcc"),
    ("rtmpose-m_face", {name: zeros(1, 106, 512) for name in SIMCC}, "simcc"),
    ("rtmpose-m_animal", {name: zeros(1, 17, 512) for name in SIMCC}, "simcc"),
    ("vitpose-s_animal", {"output": zeros(1, 17, 64, 48)}, "heatmap"),
    ("rtmo-t", {"dets": zeros(1, 5, 5), "keypoints": zeros(1, 5, 17, 3)}, "rtmo"),
    ("yolox-tiny_humanart", DETS, "dets"),
    ("rtmdet-nano", DETS, "dets"),
    ("yolox-tiny_coco", {"output": zeros(1, 3549, 85)}, "yolox"),
]


@pytest.mark.parametrize(("name", "outputs", "head"), LONE, ids=[name for name, *_ in LONE])
def test_a_lone_graph_is_read_as_the_registry_says(tmp_path, name, outputs, head):
    zoo = Zoo(tmp_path)
    config = zoo.models[name]
    save_planted(tmp_path / "models" / name / "end2end.onnx", outputs, ("N", 3, *config.input_size))
    spec = zoo.find(name)
    assert (spec.name, spec.task, spec.head.type) == (name, config.task, head)
    assert spec.input_size[::-1] == config.input_size
    assert (spec.skeleton.name if spec.skeleton else None) == config.skeleton


# Pipelines by name, of graphs that find one person whatever the image shows. The person's keypoint k is in the bin
# 80 + 8k of 384, and 160 + 8k of 512, of the crop: the box, 208 px wide and high, enlarged by a quarter, and made
# 256 / 192 as high as wide.
K = np.arange(17)
PLANTED = np.stack([208 + ((80 + 8 * K) / 384 - 0.5) * 260, 208 + ((160 + 8 * K) / 512 - 0.5) * 260 * 256 / 192], 1)


def save_body_light(folder, file):
    """Save the graphs of a pipeline, each into a folder with its model's name."""
    found = {"dets": np.array([[[*BOX, 0.9]]], np.float32), "labels": np.zeros((1, 1), np.int64)}
    x, y = zeros(1, 17, 384), zeros(1, 17, 512)
    x[0, K, 80 + 8 * K] = y[0, K, 160 + 8 * K] = 0.8
    return {
        "yolox-tiny_humanart": save_planted(folder / "yolox-tiny_humanart" / file, found, (1, 3, 416, 416)),
        "rtmpose-s": save_planted(folder / "rtmpose-s" / file, {"simcc_x": x, "simcc_y": y}),
    }


PREDICT = """
import json, sys
import numpy as np
import hpi.zoo.configs
hpi.zoo.configs.SERVER = sys.argv[1]
from hpi import Predictor
with Predictor("body-light", device="cpu") as predictor:
    (result,) = predictor.predict(np.zeros((416, 416, 3), np.uint8))
    names = [model["model"] for model in predictor.describe()["models"]]
    print(json.dumps([names, result.boxes.tolist(), result.keypoints.tolist(), result.keypoint_names]))
"""


@pytest.mark.full
def test_a_pipeline_by_name_from_the_second_source_to_keypoints(tmp_path, served):
    """The Hub cannot be reached; what stands for OpenMMLab's server has graphs with planted outputs."""
    for name, graph in save_body_light(tmp_path, "end2end.onnx").items():
        archive = served / Zoo.default().models[name].sources[0].file
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(zipped(graph.read_bytes()))
    with serve(served) as address:
        places = {"HPI_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "http://127.0.0.1:9"}
        done = run_python("-c", PREDICT, f"{address}/", cwd=tmp_path, **places)
    assert done.returncode == 0, done.stderr
    names, boxes, keypoints, keypoint_names = json.loads(done.stdout)
    assert names == ["yolox-tiny_humanart", "rtmpose-s"]
    np.testing.assert_allclose(boxes, [BOX], atol=0.01)
    np.testing.assert_allclose(keypoints, [PLANTED], atol=0.01)
    assert keypoint_names[0] == "nose"


@pytest.mark.full
def test_files_put_into_the_cache_by_hand_are_used(tmp_path, monkeypatch):
    """The way out that the error of a failed download names; the name of a graph does not matter."""
    save_body_light(tmp_path / "models", "anything.onnx")
    monkeypatch.setenv("HPI_HOME", str(tmp_path))
    with Predictor("body-light", device="cpu") as predictor:
        (result,) = predictor.predict(np.zeros((416, 416, 3), np.uint8))
    np.testing.assert_allclose(result.keypoints, [PLANTED], atol=0.01)


@pytest.mark.full
def test_without_network_every_source_and_the_way_by_hand_are_named(tmp_path):
    script = "from hpi import Predictor; Predictor('rtmo-m')"
    done = run_python("-c", script, cwd=tmp_path, HPI_HOME=str(tmp_path / "home"), **NO_NETWORK)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    for part in (
        "Hugging Face Tau-J/RTMPose, rtmo/onnx_sdk/rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211.zip",
        "https://download.openmmlab.com/mmpose/v1/projects/rtmo/onnx_sdk/rtmo-m_16xb16-600e_body7-640x640-39e78cc4",
        "Hugging Face Xenova/RTMO-m, onnx/model.onnx",
        f"copy the model's files into the cache as {tmp_path / 'home' / 'models' / 'rtmo-m'}",
        "model_dir",
    ):
        assert part in line


@pytest.mark.parametrize("name", ["yolo11n-pose", "yolov8m-pose", "yolo26x-pose.pt", "YOLO11s"])
def test_models_under_agpl_are_explained_and_never_fetched(name):
    stem = name.removesuffix(".pt")
    for ask in (Predictor, Zoo.default().find):
        with pytest.raises(ConfigError, match="AGPL") as error:
            ask(name)
        for part in (name, f"yolo export model={stem}.pt format=onnx", f"./{stem}.onnx"):
            assert part in str(error.value)


@pytest.mark.parametrize("name", ["yolox-m_humanart", "yolo", "yolov7x", "my-yolo11n"])
def test_other_names_are_no_models_under_agpl(name):
    assert why_not_fetched(name) is None
