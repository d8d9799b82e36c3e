import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import yaml

from hpi.archives import unpack
from hpi.errors import ConfigError, ModelError
from hpi.zoo import Bundled, HuggingFace, Url, Zoo

from support import BUNDLED, NO_NETWORK, ROOT, run_python, serve

DETECTOR = "PicoDet-S_person_416"
MINE = "my-detector"
MODEL_FILES = ["inference.json", "inference.onnx", "inference.pdiparams", "inference.yml", "sources.json"]


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "home")


@pytest.fixture
def describe(tmp_path):
    """Writes the YAML of a model with the given sources."""

    def write(*sources, name=MINE):
        content = {
            "name": name,
            "task": "object_detection",
            "summary": "for a test",
            "input_size": [416, 416],
            "license": "Apache-2.0",
            "sources": list(sources),
        }
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "model.yaml"

    return write


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock")


def test_every_model_file_is_in_order():
    models = Zoo.default().models
    assert {path.stem for path in (ROOT / "configs" / "models").glob("*.yaml")} == set(models)
    for name, config in models.items():
        assert config.name == name
        if config.task == "keypoint_detection":
            assert len(Zoo.default().skeleton_of(name).joints) == 17
    assert {
        "PP-TinyPose_128x96",
        "PP-TinyPose_256x192",
        "PP-YOLOE-S_human",
        "PP-YOLOE-L_human",
        "PicoDet-S_pedestrian_192",
        "PicoDet-S_pedestrian_320",
        "PicoDet-S_person_416",
        "MoveNet-Thunder_256x256",
    } <= set(models)


def test_official_models_come_from_hugging_face_and_then_from_paddle():
    for name in ("PP-TinyPose_128x96", "PP-TinyPose_256x192", "PP-YOLOE-S_human", "PP-YOLOE-L_human"):
        hub, archive = Zoo.default().models[name].sources
        assert hub == HuggingFace(hugging_face=f"PaddlePaddle/{name}")
        assert isinstance(archive, Url)
        assert archive.url.endswith(f"/paddle3.0.0/{name}_infer.tar")


def test_bundled_archives_are_the_pinned_ones():
    sources = [
        source for config in Zoo.default().models.values() for source in config.sources if isinstance(source, Bundled)
    ]
    assert {source.bundled for source in sources} == {path.name for path in BUNDLED.iterdir()}
    for source in sources:
        assert hashlib.sha256((BUNDLED / source.bundled).read_bytes()).hexdigest() == source.sha256


def test_the_skeleton_is_cocos():
    skeleton = Zoo.default().skeleton_of("PP-TinyPose_128x96")
    assert skeleton.joints[0] == "nose"
    assert skeleton.flip_pairs == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]


def test_a_bundled_model_is_unpacked_once(zoo):
    assert zoo.cached(DETECTOR) is None
    folder = zoo.find(DETECTOR).folder
    made = folder.stat().st_mtime_ns
    assert folder == zoo.cached(DETECTOR) == zoo.find(DETECTOR).folder
    assert folder.stat().st_mtime_ns == made
    assert files_in(folder) == MODEL_FILES


def test_the_order_is_model_dir_then_cache_then_sources(zoo, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(zoo.find(DETECTOR).folder, elsewhere)
    assert zoo.find(DETECTOR, elsewhere).folder == elsewhere
    (zoo.cached(DETECTOR) / "mark").write_text("cached")
    assert (zoo.find(DETECTOR).folder / "mark").is_file()


def test_an_unknown_model_names_the_known_ones(zoo):
    with pytest.raises(ConfigError, match="PP-TinyPose_128x96"):
        zoo.find("PP-TinyPose")


def test_two_processes_at_once_both_succeed(tmp_path):
    script = f"from hpi.zoo import Zoo; print(Zoo.default().find({DETECTOR!r}).folder)"
    environment = {"HPI_HOME": str(tmp_path)}
    import os

    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert {process.communicate(timeout=120)[0].strip() for process in running} == {str(tmp_path / "models" / DETECTOR)}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert files_in(tmp_path) == sorted(
        [
            "models",
            f"models/{DETECTOR}",
            *(f"models/{DETECTOR}/{name}" for name in files_in(tmp_path / "models" / DETECTOR)),
        ]
    )


def test_an_archive_is_downloaded_and_checked(zoo, describe, my_archive):
    with serve(my_archive.parent) as address:
        sha256 = hashlib.sha256(my_archive.read_bytes()).hexdigest()
        zoo.add(describe({"url": f"{address}/{my_archive.name}", "sha256": sha256}))
        assert zoo.find(MINE).task == "object_detection"
    assert files_in(zoo.home) == ["models", f"models/{MINE}", *(f"models/{MINE}/{name}" for name in MODEL_FILES)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"url": "{address}/none.tar"}, "404"),
        ({"url": "{address}/my-detector_infer.tar", "sha256": "0" * 64}, "SHA-256"),
        ({"url": "{address}/README"}, "not a usable archive"),
        ({"url": "{address}/other.tar"}, "no inference.yml"),
        ({"bundled": "none.tar.xz", "sha256": ""}, "reinstall"),
        ({"url": "http://127.0.0.1:9/a.tar"}, "cannot be fetched"),
    ],
)
def test_a_source_that_fails_leaves_nothing_and_the_next_is_tried(zoo, describe, my_archive, tmp_path, source, said):
    served = tmp_path / "served"
    served.mkdir()
    shutil.copy(my_archive, served)
    (served / "README").write_text("no archive")
    with tarfile.open(served / "other.tar", "w") as bundle:
        bundle.add(served / "README", "other/README")
    with serve(served) as address:
        bad = {key: value.replace("{address}", address) for key, value in source.items()}
        zoo.add(describe(bad))
        with pytest.raises(ModelError, match=said) as error:
            zoo.find(MINE)
        assert files_in(zoo.home) == ["models"]
        assert "\n" not in str(error.value)
        for way in ("network", "cache", "model_dir"):
            assert way in str(error.value)
        another = Zoo(zoo.home)
        another.add(describe(bad, {"url": f"{address}/{my_archive.name}"}))
        assert another.find(MINE).folder.is_dir()


def test_a_download_has_a_size_limit(zoo, describe, my_archive, monkeypatch):
    monkeypatch.setattr("hpi.zoo.MAX_DOWNLOAD_BYTES", 1000)
    with serve(my_archive.parent) as address:
        zoo.add(describe({"url": f"{address}/{my_archive.name}"}))
        with pytest.raises(ModelError, match="1000 bytes"):
            zoo.find(MINE)


def test_a_download_of_unknown_size_and_hash_is_refused(zoo, describe, my_archive):
    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(my_archive.read_bytes())

        def log_message(self, *_):
            pass

    with serve(Silent) as address:
        zoo.add(describe({"url": f"{address}/a.tar"}))
        with pytest.raises(ModelError, match="does not say how large"):
            zoo.find(MINE)
        sha256 = hashlib.sha256(my_archive.read_bytes()).hexdigest()
        another = Zoo(zoo.home)
        another.add(describe({"url": f"{address}/a.tar", "sha256": sha256}))
        assert another.find(MINE).folder.is_dir()


def test_a_yaml_with_other_sources_is_fetched_anew(zoo, describe, my_archive):
    with serve(my_archive.parent) as address:
        zoo.add(describe({"url": f"{address}/{my_archive.name}"}))
        folder = zoo.find(MINE).folder
        (folder / "mark").write_text("old")
        changed = Zoo(zoo.home)
        changed.add(describe({"url": f"{address}/./{my_archive.name}"}))
        assert changed.cached(MINE) is None
        assert not (changed.find(MINE).folder / "mark").exists()


def test_the_name_of_another_model_cannot_be_taken(zoo, describe):
    with pytest.raises(ConfigError, match="name of another model"):
        zoo.add(describe({"url": "http://127.0.0.1:9/a.tar"}, name=DETECTOR))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "", ".hidden", "a\0b"])
def test_names_that_could_leave_the_cache_are_refused(zoo, describe, name):
    with pytest.raises(ConfigError, match="name"):
        zoo.add(describe({"url": "http://127.0.0.1:9/a.tar"}, name=name))


def test_a_home_that_cannot_be_written_warns_and_works(tmp_path, caplog):
    """Here a file stands in the way; a read-only or full disk raises OSError at the same places."""
    (tmp_path / "file").write_text("")
    zoo = Zoo(tmp_path / "file")
    folder = zoo.find(DETECTOR).folder
    assert files_in(folder) == MODEL_FILES
    assert "HPI_HOME" in caplog.text
    del zoo
    assert not folder.exists()


def test_nowhere_to_write(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="no temporary folder"):
        Zoo(tmp_path / "file").find(DETECTOR)


def test_without_network_one_error_names_what_was_tried(tmp_path):
    script = "from hpi.zoo import Zoo; Zoo.default().find('PP-TinyPose_128x96')"
    done = run_python("-c", script, cwd=tmp_path, HPI_HOME=str(tmp_path), **NO_NETWORK)
    assert done.returncode == 1
    for part in (
        "Hugging Face PaddlePaddle/PP-TinyPose_128x96",
        "PP-TinyPose_128x96_infer.tar",
        "Three ways out",
        "model_dir",
        "human_keypoint_detection_lite",
    ):
        assert part in done.stderr


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as a download of one repository needs."""

    folder: Path
    commit = "a" * 40

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        files = sorted(self.folder.iterdir())
        headers = {"Content-Type": "application/json"}
        if "/tree/" in self.path:
            body = json.dumps(
                [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name} for file in files]
            ).encode()
        elif self.path.startswith("/api/models/"):
            siblings = [{"rfilename": file.name} for file in files]
            body = json.dumps({"id": "a/b", "sha": self.commit, "siblings": siblings}).encode()
        elif (self.folder / self.path.rsplit("/", 1)[-1]).is_file():
            body = (self.folder / self.path.rsplit("/", 1)[-1]).read_bytes()
            headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": self.commit}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_repository_of_the_hub_is_downloaded(tmp_path, describe, my_archive):
    """The real client against a small hub on this machine; only the model's own files are taken."""
    repository = tmp_path / "repository"
    repository.mkdir()
    unpack(my_archive, repository)
    (repository / "README.md").write_text("not needed")
    (repository / "evil.py").write_text("not wanted")
    path = describe({"hugging_face": "PaddlePaddle/model"})
    script = (
        f"from pathlib import Path; from hpi.zoo import Zoo; zoo = Zoo.default(); zoo.add(Path({str(path)!r}))\n"
        f"print(zoo.find({MINE!r}).folder)"
    )
    handler = type("OneHub", (Hub,), {"folder": repository})
    home = tmp_path / "home"
    with serve(handler) as address:
        done = run_python(
            "-c", script, cwd=tmp_path, HPI_HOME=str(home), HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf")
        )
    assert done.returncode == 0, done.stderr
    assert files_in(Path(done.stdout.strip())) == MODEL_FILES
