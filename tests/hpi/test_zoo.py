import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import yaml

from hpi import Predictor
from hpi.errors import ConfigError, ModelError
from hpi.io.archives import unpack
from hpi.zoo import Bundled, HuggingFace, Url, Zoo

from support import BUNDLED, HANGS_S, NO_NETWORK, ROOT, quick_first, run_hpi, run_python, serve

pytestmark = pytest.mark.long  # its slow cases run each night

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


def test_every_model_file_is_valid():
    models = Zoo.default().models
    assert {path.stem for path in (ROOT / "configs" / "models").glob("*.yaml")} == set(models)
    assert {name: config.name for name, config in models.items()} == dict(zip(models, models, strict=True))
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


TO_EXPORT = [name for name, config in Zoo.default().models.items() if config.export]


def test_paddledetections_models_are_known():
    families = ("hrnet", "dark_hrnet", "lite_hrnet", "wider_naive_hrnet", "higherhrnet", "fairmot")
    assert [sum(name.startswith(family) for name in TO_EXPORT) for family in families] == [3, 2, 4, 1, 3, 6]
    for name in TO_EXPORT:
        config = Zoo.default().models[name]
        assert config.accuracy
        assert not config.sources
        assert config.export.folder == f"output_inference/{name}"
        assert config.export.weights.endswith(f"/models/{'mot' if 'fairmot' in name else 'keypoint'}/{name}.pdparams")


@pytest.mark.parametrize("name", quick_first(TO_EXPORT, 1))
def test_a_model_to_be_exported_says_how(zoo, name):
    with pytest.raises(ModelError) as raised:
        zoo.find(name)
    export = zoo.models[name].export
    assert export.config.startswith("configs/") and export.config.endswith(f"/{name}.yml")
    for part in (export.command, export.config, "as model_dir"):
        assert part in str(raised.value)
    assert str(zoo.home / "models" / name) in str(raised.value)


def test_the_exported_folder_may_be_put_into_the_cache(zoo, exported):
    name = "lite_hrnet_18_256x192_coco"
    shutil.copytree(exported(name), zoo.home / "models" / name)
    assert zoo.find(name).skeleton.name == "coco17"


@pytest.mark.parametrize("given", [{}, {"sources": []}, {"sources": [{"bundled": "a", "sha256": "b"}], "export": {}}])
def test_a_model_has_sources_or_an_export(describe, zoo, given):
    path = describe()
    content = yaml.safe_load(path.read_text())
    del content["sources"]
    if "export" in given:
        given["export"] = {"weights": "https://example.org/a.pdparams", "config": "configs/a.yml"}
    path.write_text(yaml.safe_dump({**content, **given}))
    with pytest.raises(ConfigError, match=r"sources.*export"):
        zoo.add(path)


def test_official_models_come_from_the_hub_then_from_paddle():
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


def test_the_skeleton_of_a_model_is_that_of_coco():
    skeleton = Zoo.default().skeleton_of("PP-TinyPose_128x96")
    assert skeleton.keypoints[0] == "nose"
    assert skeleton.swaps == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


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


@pytest.mark.full
def test_concurrent_processes_all_succeed(tmp_path):
    script = f"from hpi.zoo import Zoo; print(Zoo.default().find({DETECTOR!r}).folder)"
    environment = {"HPI_HOME": str(tmp_path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert {process.communicate(timeout=HANGS_S)[0].strip() for process in running} == {
        str(tmp_path / "models" / DETECTOR)
    }
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
    ("source", "fragment"),
    [
        ({"url": "{address}/none.tar"}, "404"),
        ({"url": "{address}/my-detector_infer.tar", "sha256": "0" * 64}, "SHA-256"),
        ({"url": "{address}/README"}, "not a usable archive"),
        ({"url": "{address}/other.tar"}, "no inference.yml"),
        ({"bundled": "none.tar.xz", "sha256": ""}, "reinstall"),
        ({"url": "http://127.0.0.1:9/a.tar"}, "cannot be fetched"),
    ],
)
def test_after_a_failed_source_the_next_is_tried(zoo, describe, my_archive, tmp_path, source, fragment):
    served = tmp_path / "served"
    served.mkdir()
    shutil.copy(my_archive, served)
    (served / "README").write_text("no archive")
    with tarfile.open(served / "other.tar", "w") as bundle:
        bundle.add(served / "README", "other/README")
    with serve(served) as address:
        bad = {key: value.replace("{address}", address) for key, value in source.items()}
        zoo.add(describe(bad))
        with pytest.raises(ModelError, match=fragment) as error:
            zoo.find(MINE)
        assert files_in(zoo.home) == ["models"]
        assert "\n" not in str(error.value)
        for way in ("network", "cache", "model_dir"):
            assert way in str(error.value)
        another = Zoo(zoo.home)
        another.add(describe(bad, {"url": f"{address}/{my_archive.name}"}))
        assert another.find(MINE).folder.is_dir()


def test_a_download_has_a_size_limit(zoo, describe, my_archive, monkeypatch):
    monkeypatch.setattr("hpi.zoo.download.MAX_DOWNLOAD_BYTES", 1000)
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


def test_a_model_with_changed_sources_is_fetched_again(zoo, describe, my_archive):
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
    """Here a file is in the way; a read-only or full disk raises OSError at the same points."""
    (tmp_path / "file").write_text("")
    zoo = Zoo(tmp_path / "file")
    folder = zoo.find(DETECTOR).folder
    assert files_in(folder) == MODEL_FILES
    assert "HPI_HOME" in caplog.text
    del zoo
    assert not folder.exists()


def test_without_a_writable_folder_it_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="no temporary folder"):
        Zoo(tmp_path / "file").find(DETECTOR)


@pytest.mark.full
def test_without_network_one_error_lists_every_attempt(tmp_path):
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


@pytest.mark.full
def test_a_repository_of_the_hub_is_downloaded(tmp_path, describe, my_archive):
    """The real client with a small hub on this machine; only the files of the model are downloaded."""
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


# Damage in the cache


def cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - min(1000, len(content) // 2)])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def as_pointer(file):
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5456137\n")


DAMAGES = {
    "cut": cut,
    "flip": flip,
    "gone": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "lfs": as_pointer,
}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "sources.json"}


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        pytest.param(damage, name, marks=[pytest.mark.full] if (damage != "flip" or name != "inference.onnx") else [])
        for damage in DAMAGES
        for name in MODEL_FILES[:-1]
    ],
)
def test_a_damaged_model_is_fetched_again_with_one_warning(zoo, name, damage, caplog):
    folder = zoo.find(DETECTOR).folder
    whole = contents(folder)
    DAMAGES[damage](folder / name)
    assert zoo.cached(DETECTOR) is None
    assert Zoo(zoo.home).find(DETECTOR).folder == folder
    assert contents(folder) == whole
    (warning,) = caplog.records
    for part in (DETECTOR, name, str(folder), "damaged", "fetching it again"):
        assert part in warning.getMessage()
    caplog.clear()
    assert Zoo(zoo.home).find(DETECTOR).folder == folder
    assert not caplog.records
    assert files_in(zoo.home / "models") == [DETECTOR, *(f"{DETECTOR}/{name}" for name in MODEL_FILES)]


@pytest.mark.parametrize(
    "note",
    ["{", *(pytest.param(n, marks=pytest.mark.full) for n in ("", "{}", "[1]", "\0", '{"sources": [], "files": 1}'))],
)
def test_a_damaged_note_is_a_damaged_model(zoo, note):
    folder = zoo.find(DETECTOR).folder
    (folder / "sources.json").write_text(note)
    assert zoo.cached(DETECTOR) is None
    assert zoo.find(DETECTOR).folder == folder
    assert zoo.cached(DETECTOR) == folder


def test_a_note_of_the_earlier_format_is_valid(zoo):
    folder = zoo.find(DETECTOR).folder
    sources = [source.model_dump() for source in zoo.models[DETECTOR].sources]
    (folder / "sources.json").write_text(json.dumps(sources, indent=1))
    assert zoo.cached(DETECTOR) == folder


def test_a_copied_cache_is_valid(zoo, tmp_path, caplog):
    """Times differ, content does not: it is hashed once, and the note updated."""
    shutil.copytree(zoo.find(DETECTOR).folder, tmp_path / "copy" / "models" / DETECTOR, copy_function=shutil.copyfile)
    copy = Zoo(tmp_path / "copy")
    folder = copy.cached(DETECTOR)
    assert folder
    noted = json.loads((folder / "sources.json").read_text())["files"]
    assert {name: entry["modified_ns"] for name, entry in noted.items()} == {
        name: (folder / name).stat().st_mtime_ns for name in MODEL_FILES[:-1]
    }
    assert not caplog.records


def test_an_unchanged_cache_is_not_hashed_at_each_start(zoo, monkeypatch):
    zoo.find(DETECTOR)
    monkeypatch.setattr("hpi.zoo.notes.content_hash", lambda _: pytest.fail("a file was hashed"))
    assert Zoo(zoo.home).find(DETECTOR)


def test_a_damaged_model_that_cannot_be_fetched_is_kept(zoo, describe, my_archive, caplog):
    with serve(my_archive.parent) as address:
        zoo.add(describe({"url": f"{address}/{my_archive.name}"}))
        folder = zoo.find(MINE).folder
    cut(folder / "inference.onnx")
    left = contents(folder)
    with pytest.raises(ModelError) as error:
        zoo.find(MINE)
    for part in ("damaged in the cache", str(folder / ""), "inference.onnx", "cannot be fetched", "model_dir"):
        assert part.rstrip("/") in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(folder) == left
    assert files_in(zoo.home / "models") == [MINE, *(f"{MINE}/{name}" for name in MODEL_FILES)]


@pytest.mark.full
def test_concurrent_processes_repair_a_model(tmp_path):
    folder = Zoo(tmp_path).find(DETECTOR).folder
    whole = contents(folder)
    flip(folder / "inference.onnx")
    script = f"from hpi.zoo import Zoo; print(Zoo.default().find({DETECTOR!r}).folder)"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, "HPI_HOME": str(tmp_path)}, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    assert {process.communicate(timeout=HANGS_S)[0].decode().strip() for process in running} == {str(folder)}
    assert contents(folder) == whole


@pytest.mark.parametrize(("damage", "fragment"), [(as_pointer, "git lfs pull"), (cut, "truncated"), (flip, None)])
def test_a_folder_copied_into_the_cache_is_never_replaced(zoo, damage, fragment):
    folder = zoo.find(DETECTOR).folder
    (folder / "sources.json").unlink()
    damage(folder / "inference.onnx")
    left = contents(folder)
    assert zoo.cached(DETECTOR) == folder
    if fragment:
        with pytest.raises(ModelError, match=rf"inference\.onnx: .*{fragment}"):
            zoo.find(DETECTOR)
    else:
        assert zoo.find(DETECTOR).folder == folder
    assert contents(folder) == left


# A name and the folder that it is given


@pytest.fixture
def nameless(tmp_path, shared):
    """Copies a real model, and removes its name."""

    def copy(name):
        folder = tmp_path / "nameless" / name
        shutil.copytree(shared / "models" / name, folder, copy_function=shutil.copyfile)
        yml = yaml.safe_load((folder / "inference.yml").read_text())
        yml.pop("Global", None)
        (folder / "inference.yml").write_text(yaml.safe_dump(yml))
        return folder

    return copy


@pytest.mark.parametrize(
    ("name", "other", "fragments"),
    [
        ("PP-TinyPose_128x96", "PP-TinyPose_256x192", ("keypoint_detection", "256x192", "128x96")),
        ("PP-TinyPose_256x192", "PicoDet-S_pedestrian_320", ("object_detection", "320x320", "256x192")),
        ("PicoDet-S_pedestrian_192", "PicoDet-S_pedestrian_320", ("320x320", "192x192")),
        ("PP-YOLOE-S_human", "PP-TinyPose_128x96", ("keypoint_detection", "128x96", "640x640")),
    ],
)
def test_a_known_name_for_another_model_is_an_error(zoo, nameless, name, other, fragments):
    folder = nameless(other)
    with pytest.raises(ModelError) as error:
        zoo.find(name, folder)
    for part in (str(folder), name, *fragments):
        assert part in str(error.value)
    shutil.copytree(folder, zoo.home / "models" / name)
    with pytest.raises(ModelError, match=name):
        zoo.find(name)


def test_a_pipeline_refuses_another_model_too(nameless):
    config = pipeline_of({"model_dir": str(nameless("PP-TinyPose_256x192")), "model_name": "PP-TinyPose_128x96"})
    with pytest.raises(ModelError, match=r"256x192 .*128x96"):
        Predictor("mine", config=config)


def test_new_names_for_a_folder_are_accepted(zoo, nameless):
    folder = nameless("PP-TinyPose_256x192")
    assert zoo.find("PP-TinyPose_512x384", folder).input_size == (192, 256)
    assert zoo.find("PP-TinyPose_256x192", folder).name == "PP-TinyPose_256x192"


def pipeline_of(keypoints):
    config = yaml.safe_load((ROOT / "configs" / "pipelines" / "human_keypoint_detection_lite.yaml").read_text())
    config["SubModules"]["KeypointDetection"] |= keypoints
    return config


# What PaddleX has downloaded

OFFICIAL = "PP-TinyPose_128x96"


@pytest.fixture
def paddlex_cache(tmp_path, shared, monkeypatch):
    """PaddleX's cache with one model in it."""
    home = tmp_path / "paddlex"
    shutil.copytree(shared / "models" / OFFICIAL, home / "official_models" / OFFICIAL, copy_function=shutil.copyfile)
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(home))
    return home / "official_models"


def everything_in(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]}


@pytest.mark.full
def test_a_model_of_paddlex_is_used_and_not_changed(zoo, paddlex_cache, image):
    before = everything_in(paddlex_cache.parent)
    assert zoo.find(OFFICIAL).folder == paddlex_cache / OFFICIAL
    assert zoo.cached(OFFICIAL) is None
    with Predictor(OFFICIAL, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(image)
        assert predictor.describe()["models"][0]["model_dir"] == str(paddlex_cache / OFFICIAL)
    assert len(result["kpts"]) == 1
    assert everything_in(paddlex_cache.parent) == before
    assert not (zoo.home / "models").exists()


def test_paddlexs_cache_is_in_the_home_by_default(zoo, paddlex_cache, tmp_path, monkeypatch):
    paddlex_cache.parent.rename(tmp_path / ".paddlex")
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in (True, False):
        if unset:
            monkeypatch.delenv("PADDLE_PDX_CACHE_HOME")
        else:
            monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", "")
        assert zoo.find(OFFICIAL).folder == tmp_path / ".paddlex" / "official_models" / OFFICIAL


def test_the_cache_comes_before_that_of_paddlex(zoo, paddlex_cache):
    own = shutil.copytree(paddlex_cache / OFFICIAL, zoo.home / "models" / OFFICIAL)
    assert zoo.find(OFFICIAL).folder == own


@pytest.mark.full
def test_the_list_of_models_shows_where_they_are(paddlex_cache, tmp_path):
    done = run_hpi("models", cwd=tmp_path, HPI_HOME=str(tmp_path / "home"), COLUMNS="200")
    (line,) = [line for line in done.stdout.splitlines() if OFFICIAL in line and "128x96" in line.replace(OFFICIAL, "")]
    assert "of PaddleX" in line
    (other,) = [line for line in done.stdout.splitlines() if line.strip().startswith("PP-TinyPose_256x192")]
    assert "to download" in other


@pytest.mark.parametrize("name", ["inference.json", "inference.pdiparams", "inference.yml"])
@pytest.mark.parametrize("damage", [Path.unlink, cut, as_pointer])
def test_an_incomplete_download_of_paddlex_is_not_used(zoo, paddlex_cache, name, damage, monkeypatch, caplog):
    damage(paddlex_cache / OFFICIAL / name)
    before = everything_in(paddlex_cache.parent)
    monkeypatch.setattr(Zoo, "_download_first", lambda *_: (_ for _ in ()).throw(ModelError("to be downloaded")))
    with pytest.raises(ModelError, match="to be downloaded"):
        zoo.find(OFFICIAL)
    (warning,) = caplog.records
    assert str(paddlex_cache / OFFICIAL) in warning.getMessage()
    assert everything_in(paddlex_cache.parent) == before


@pytest.mark.parametrize("cache", ["/proc/1/root/none", "/dev/null", "\udcff", "x" * 300])
def test_an_unreadable_cache_of_paddlex_is_ignored(zoo, monkeypatch, cache):
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", cache)
    assert zoo.of_paddlex(OFFICIAL) is None


def test_models_for_other_engines_are_not_used(zoo, paddlex_cache):
    """PaddleX keeps them in other folders."""
    (paddlex_cache / OFFICIAL).rename(paddlex_cache / f"{OFFICIAL}_safetensors")
    assert zoo.of_paddlex(OFFICIAL) is None
