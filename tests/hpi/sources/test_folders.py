"""A folder yields its images and videos in natural order, and logs what it skips."""

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi import InputError
from hpi.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, count_items, read_items
from hpi.sources.folders import list_folder, natural

from support import EXAMPLE


@pytest.fixture
def fill(tmp_path):
    """Copies the example into files of a folder, and returns the names that are then listed, in order."""

    def listed(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(EXAMPLE.read_bytes())
        listed = list_folder(str(tmp_path), IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        return [os.path.relpath(found, tmp_path) for found in listed if isinstance(found, str)]

    return listed


def test_a_folder_is_read_in_order_with_its_subfolders(fill, items, tmp_path):
    fill("b.png", "a.jpg", "sub/c.PNG")
    found = items(tmp_path)
    assert [item.path for item in found] == [str(tmp_path / name) for name in ("a.jpg", "b.png", "sub/c.PNG")]
    assert all(item.from_folder for item in found)
    assert count_items(str(tmp_path)) == 3


def test_numbers_are_compared_by_value(fill):
    names = ["frame_1.png", "frame_2.png", "frame_10.png", "run2/5.png", "run10/1.png", "x01.png", "x1.png", "x1b.png"]
    assert fill(*reversed(names)) == names


@given(st.lists(st.from_regex(r"\A[a-c]?[0-9٣]{0,3}[ab]?\Z"), unique=True))
def test_any_names_have_an_order(names):
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


def test_hidden_and_thumbnail_folders_are_skipped(fill, items, tmp_path):
    folders = [".thumbs", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "sub/.hidden"]
    hidden = [*(f"{folder}/a.jpg" for folder in folders), "._a.jpg", ".a.jpg"]
    assert fill("a.jpg", *hidden) == ["a.jpg"]
    assert len(items(tmp_path / ".thumbs")) == 1  # named, it is read


def test_every_supported_suffix_is_read_in_a_folder(fill):
    names = sorted(f"a{suffix}" for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    assert sorted(fill(*names, "A.JPG")) == sorted([*names, "A.JPG"])


def test_skipped_files_are_logged_by_suffix(fill, caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        assert fill("a.jpg", "b.psd", "c.psd", "README", "sub/notes.txt") == ["a.jpg"]
    (record,) = caplog.records
    assert str(tmp_path) in record.message
    assert all(fragment in record.message for fragment in ("2 .psd", "1 .txt", "1 without a suffix"))
    assert count_items(tmp_path) == 1  # without saying it again
    assert len(caplog.records) == 1


def test_a_file_that_is_not_an_image_is_an_error_item(fill, items, tmp_path):
    fill("a.png", "c.png")
    (tmp_path / "b.heic").write_bytes(b"no image")
    found = items(tmp_path)
    assert [isinstance(item.image, InputError) for item in found] == [False, True, False]
    assert found[1].from_folder


def test_a_folder_without_images(tmp_path, only_error):
    (tmp_path / "a.txt").write_text("")
    message = only_error(str(tmp_path))
    assert "no images" in message
    assert ".gif" in message
    assert ".mpg" in message


def test_links_are_followed_to_files_but_not_to_folders(fill, caplog, tmp_path):
    fill("real/a.png")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "real" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "linked.png").symlink_to(EXAMPLE)
    with caplog.at_level(logging.WARNING):
        assert fill() == ["linked.png", "real/a.png"]
    assert f"{tmp_path / 'circle'}: skipped a link to a folder" in caplog.text
    assert f"{tmp_path / 'real' / 'up'}: skipped a link to a folder" in caplog.text


def test_a_link_given_as_input_is_read(fill, items, tmp_path):
    fill("real/a.png")
    (tmp_path / "link").symlink_to("real")
    assert [item.path for item in items(tmp_path / "link")] == [str(tmp_path / "link" / "a.png")]


def test_an_unreadable_file_does_not_affect_the_others(items, tmp_path, fill):
    fill("a.png", "z.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("folder.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = items(tmp_path)
    errors = [item for item in found if isinstance(item.image, InputError)]
    assert len(found) - len(errors) == 2
    assert sorted(str(error.image).rsplit(": ", 1)[1] for error in errors) == [
        "No such file or directory",
        "not a regular file",
        "not a regular file",
    ]


def test_a_folder_that_cannot_be_listed_is_an_error(items, tmp_path, fill, monkeypatch):
    fill("a.png", "locked/b.png", "z.png")
    scandir = os.scandir

    def refuse(folder):
        if os.fspath(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("os.scandir", refuse)  # root may read everything
    found = items(tmp_path)
    assert [isinstance(item.image, InputError) for item in found] == [False, True, False]
    assert "locked: cannot be listed: Permission denied" in str(found[1].image)


def test_a_file_that_vanishes_is_an_error(tmp_path, fill):
    fill("a.png", "b.png", "c.png")
    stream = read_items(tmp_path)
    next(stream)
    (tmp_path / "b.png").unlink()
    assert [isinstance(item.image, InputError) for item in stream] == [True, False]


def test_folders_may_be_deep(fill):
    name = "d/" * 300 + "a.png"
    assert fill(name) == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_names_that_are_not_utf8(lite, tmp_path, capsys):
    name = os.fsencode(tmp_path) + b"/\xff\xe4.png"
    Path(os.fsdecode(name)).write_bytes(EXAMPLE.read_bytes())
    (result,) = lite.predict(tmp_path)
    assert os.fsencode(result["input_path"]) == name
    result.save_all(tmp_path / "out")
    result.print(json_format=True)
    assert "\\udcff" in capsys.readouterr().out
    assert {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()} == {
        b"\xff\xe4_res.json",
        b"\xff\xe4_res.png",
    }


def test_the_current_folder_is_read_when_named(monkeypatch, tmp_path, items, fill, image):
    fill("a.png")
    monkeypatch.chdir(tmp_path)
    (item,) = items(".")
    assert np.array_equal(item.image, image)
