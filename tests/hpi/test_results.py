import io
import json
import os
import re
import unicodedata

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hpi import InputError
from hpi.compat.paddlex.results import DetectionResult
from hpi.draw import draw_boxes, draw_people
from hpi.instances import Frame, Instances
from hpi.names import Names
from hpi.skeletons import COCO, load_skeleton

from support import EXAMPLE, serve


def result_of(path, *, page=None, frame=None):
    """A result without detections."""
    image = np.zeros((2, 2, 3), np.uint8)
    return DetectionResult(Frame(image, path, page, frame), Instances.empty(), ())


@pytest.fixture(scope="module")
def result(lite):
    (one,) = lite.predict(str(EXAMPLE))
    return one


@pytest.fixture(scope="module")
def skeleton(home):
    return load_skeleton(COCO)


def test_a_result_is_paddlexs_dictionary(result):
    assert list(result) == ["input_path", "input_img", "boxes"]
    assert result["input_path"] == str(EXAMPLE)
    for person in result["boxes"]:
        assert list(person) == ["coordinate", "det_score", "keypoints", "kpt_score"]
        assert isinstance(person["coordinate"], list)
        assert isinstance(person["coordinate"][0], np.float32)
        assert isinstance(person["det_score"], float)
        assert (person["keypoints"].shape, person["keypoints"].dtype) == ((17, 3), np.float32)
        assert person["kpt_score"] == pytest.approx(person["keypoints"][:, 2].mean())


def test_json_and_str_leave_the_image_out(result):
    assert list(result.json["res"]) == ["input_path", "boxes"]
    assert json.loads(json.dumps(result.json)) == result.json
    assert result.json["res"]["boxes"][0]["keypoints"][0] == result["boxes"][0]["keypoints"][0].tolist()
    assert list(result.str) == ["res"]
    assert list(result.str["res"]) == ["input_path", "boxes"]
    assert result.str["res"]["boxes"] == result["boxes"]


def test_print(result, capsys):
    result.print()
    assert capsys.readouterr().out.startswith("{'res': {'input_path': '")
    result.print(json_format=True, indent=2)
    assert json.loads(capsys.readouterr().out) == result.json


def test_img(result):
    picture = result.img["res"]
    assert (picture.mode, picture.size) == ("RGB", (640, 480))
    assert np.array_equal(np.asarray(picture)[..., ::-1], result.plot())


def test_names_in_a_folder(result, tmp_path):
    assert result.save_to_json(tmp_path) == tmp_path / "basketball_res.json"
    assert result.save_to_img(str(tmp_path) + "/") == tmp_path / "basketball_res.png"
    assert json.loads((tmp_path / "basketball_res.json").read_text()) == result.json["res"]
    assert np.array_equal(cv2.imread(str(tmp_path / "basketball_res.png")), result.plot())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["basketball_res.json", "basketball_res.png"]


def test_a_path_of_a_file_is_used_as_it_is(result, tmp_path):
    result.save_to_json(tmp_path / "new" / "a.json")
    result.save_to_img(tmp_path / "new" / "a.jpg")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.jpg", "a.json"]


def test_save_all(result, tmp_path):
    result.save_all(save_path=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_print_accepts_the_name_in_paddlexs_documentation(result, capsys):
    result.print(format_json=True, indent=2, ensure_ascii=True, sort_keys=True)
    printed = capsys.readouterr().out
    assert printed == json.dumps(result.json, indent=2, ensure_ascii=True, sort_keys=True) + "\n"
    result.print(format_json=False)
    assert capsys.readouterr().out.startswith("{'res': {'input_path': '")


def test_other_options_of_json_are_passed_on(result, tmp_path):
    text = result.save_to_json(tmp_path / "a.json", sort_keys=True, separators=(",", ":")).read_text()
    assert text == json.dumps(result.json["res"], indent=4, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    with pytest.raises(TypeError):
        result.save_to_json(tmp_path / "b.json", sort_key=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("json_format", [True, False])
def test_names_are_escaped_if_the_output_cannot_encode_them(lite, tmp_path, monkeypatch, json_format):
    path = tmp_path / "фото.png"
    path.write_bytes(EXAMPLE.read_bytes())
    (one,) = lite.predict(path)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", stream)
    one.print(json_format=json_format)
    stream.flush()
    text = stream.buffer.getvalue().decode("cp1252")
    assert (json.dumps(str(path)) if json_format else ascii(str(path))) in text


def test_an_array_is_named_by_the_time(lite, image, tmp_path):
    (one,) = lite.predict(image)
    assert one["input_path"] is None
    one.save_all(tmp_path)
    picture, text = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert picture.stem == text.stem
    assert picture.suffix == ".png"
    assert re.fullmatch(r"\d{10}_\d{16}_res", picture.stem)


def test_arrays_of_several_calls_have_different_names(image):
    """The time alone, or with a few digits, is the same for some of so many."""
    names = {result_of(None).name for _ in range(20_000)}
    assert len(names) == 20_000


def test_writing_fails_clearly_and_leaves_nothing(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        result.save_to_json(tmp_path / "file" / "a.json")
    with pytest.raises(InputError, match="OpenCV does not write"):
        result.save_to_img(tmp_path / "a.gifv.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_the_input_is_not_overwritten(lite, tmp_path, link):
    path = saved = tmp_path / "a.png"
    path.write_bytes(EXAMPLE.read_bytes())
    if link:
        saved = tmp_path / "b.png"
        link(path, saved)
    (one,) = lite.predict(path)
    with pytest.raises(InputError, match="is the input itself"):
        one.save_to_img(saved)
    assert path.read_bytes() == EXAMPLE.read_bytes()
    one.save_to_img(tmp_path / "a_res.png")
    one.save_to_img(tmp_path / "a_res.png")  # an earlier result is


@pytest.mark.full
def test_pictures_are_as_large_as_those_of_paddlex(shared, lite, tmp_path):
    """It saves with Pillow's defaults; OpenCV's give JPEGs of more than twice the size."""
    sizes = {".jpg": [0, 0], ".webp": [0, 0], ".png": [0, 0]}
    for path in sorted((shared / "data" / "photos").glob("*.jpg")):
        (one,) = lite.predict(path)
        for suffix, total in sizes.items():
            total[0] += one.save_to_img(tmp_path / f"ours{suffix}").stat().st_size
            one.img["res"].save(tmp_path / f"theirs{suffix}")
            total[1] += (tmp_path / f"theirs{suffix}").stat().st_size
    assert all(0.9 < ours / theirs < 1.1 for ours, theirs in sizes.values()), sizes


def test_quality(result, tmp_path):
    sizes = [
        result.save_to_img(tmp_path / "a.jpg", quality=quality).stat().st_size for quality in (10, 75, None, 95, 100)
    ]
    assert sizes[1] == sizes[2]
    assert sorted(sizes) == sizes
    for quality in (0, 101, "high", 50.0):
        with pytest.raises(InputError, match="quality"):
            result.save_to_img(tmp_path / "b.jpg", quality=quality)


@pytest.mark.parametrize(("name", "saved"), [("a.pgm", "a_res.png"), ("a.jfif", "a_res.png"), ("a.JPG", "a_res.JPG")])
def test_a_picture_takes_the_format_of_the_input_if_it_can(lite, image, tmp_path, name, saved):
    cv2.imwrite(str(tmp_path / "image.png"), image)
    (tmp_path / "image.png").rename(tmp_path / name)
    (one,) = lite.predict(tmp_path / name)
    assert one.save_to_img(tmp_path / "out").name == saved


def test_a_picture_that_its_format_cannot_hold(lite, tmp_path):
    (one,) = lite.predict(np.zeros((10, 17_000, 3), np.uint8))
    with pytest.raises(InputError, match=r"cannot write this picture as \.webp"):
        one.save_to_img(tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


def test_a_file_name_that_is_not_utf8(lite, image, tmp_path):
    path = tmp_path / b"bad\xff.png".decode(errors="surrogateescape")
    path.write_bytes(EXAMPLE.read_bytes())
    (one,) = lite.predict(path)
    saved = one.save_to_json(tmp_path / "a.json")
    assert json.loads(saved.read_text()) == one.json["res"]


def test_the_picture_shows_the_bones_and_nothing_else(result, image):
    """Every clear keypoint is marked; far from all people the image is unchanged."""
    picture = result.plot()
    changed = (picture != image).any(axis=2)
    for person in result["boxes"]:
        for x, y, score in person["keypoints"]:
            if score > 0.2 and 1 < x < 638 and 1 < y < 478:
                assert changed[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3].any()
    assert not changed[:, 230:400].any()
    assert result["input_img"] is not picture


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_keypoints_far_outside_the_image_are_not_drawn(image, skeleton, value):
    wild = np.full((17, 3), value, np.float32)
    wild[:, 2] = 1
    assert np.array_equal(draw_people(image, [wild], skeleton), image)


def test_keypoints_of_an_unknown_skeleton_are_dots(image, skeleton):
    five = np.array([[100, 100, 1]] * 5, np.float32)
    changed = (draw_people(image, [five], skeleton) != image).any(axis=2)
    assert changed[100, 100]
    assert changed.sum() < 100


def test_boxes_over_the_border_are_drawn(image):
    picture = draw_boxes(image, [[-50, -50, 900, 700], [10, 10, 60, 90]], ["person 0.90", "person 0.80"])
    assert picture.shape == image.shape
    assert (picture != image).any()


# Names within one call


@pytest.fixture
def save_all(lite, tmp_path):
    """Saves all results of inputs into one folder; returns the input of each JSON file."""

    def save(source, **options):
        out = tmp_path / "out"
        for result in lite.predict(source, **options):
            result.save_to_json(out)
            result.save_to_img(out)
        names = sorted(path.name for path in out.iterdir())
        stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        assert len(names) == 2 * len(stems)
        return {stem.removesuffix("_res"): json.loads((out / f"{stem}.json").read_text()) for stem in stems}

    return save


@pytest.fixture
def copies(tmp_path):
    """Copies of the example under these names, and their paths."""

    def copy(*names):
        paths = [tmp_path / "in" / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(EXAMPLE.read_bytes())
        return list(map(str, paths))

    return copy


def test_results_of_a_folder_do_not_overwrite_each_other(save_all, copies, tmp_path):
    copies("a.jpg", "a.png", "b/a.jpg", "c/A.PNG", "d/e/a_2.jpg")
    saved = save_all(tmp_path / "in")
    assert set(saved) == {"a", "a_2", "a_3", "A_4", "a_2_2"}
    assert len({content["input_path"] for content in saved.values()}) == 5


def test_a_numbered_name_does_not_overwrite_another_file(save_all, copies):
    saved = save_all(copies("a_2.jpg", "a.jpg", "b/a.jpg", "c/a.jpg"))
    assert set(saved) == {"a_2", "a", "a_3", "a_4"}
    assert saved["a_2"]["input_path"].endswith("a_2.jpg")


def test_urls_and_the_same_file_twice(save_all):
    with serve(EXAMPLE.parent) as address:
        saved = save_all([f"{address}/{EXAMPLE.name}", f"{address}/./{EXAMPLE.name}", EXAMPLE, EXAMPLE])
    assert set(saved) == {"basketball", "basketball_2", "basketball_3", "basketball_4"}


@pytest.mark.full
def test_pages_and_frames_do_not_overwrite_each_other(save_all, copies, image, tmp_path):
    pages = [Image.fromarray(image[:200, :200, ::-1]), Image.fromarray(image[100:300, :200, ::-1])]
    for name in ("a.tif", "b/a.tif", "a.gif", "b/a.gif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pages[0].save(tmp_path / "in" / name, save_all=True, append_images=pages[1:])
    copies("a_0.png", "a_000001.png", "a_7.png", "c.png")
    saved = save_all(tmp_path / "in")
    assert set(saved) == {
        *("a_000000", "a_000001", "a_2_000000", "a_2_000001"),  # a.gif, b/a.gif
        *("a_0", "a_1", "a_3_0", "a_3_1"),  # a.tif, b/a.tif
        *("a_0_2", "a_000001_2", "a_7_2", "c"),  # of a document every number may be a page
    }


def test_names_that_a_file_system_takes_for_the_same(save_all, copies):
    saved = save_all(copies("é.png", "e\u0301.png", "É.png"))
    assert len({unicodedata.normalize("NFC", name).casefold() for name in saved}) == 3


def test_a_long_name_can_be_saved(save_all, copies):
    saved = save_all(copies("a" * 250 + ".png", "b/" + "a" * 250 + ".png", "ж" * 125 + ".png"))
    assert len(saved) == 3


def test_the_name_in_a_url_is_a_file_name(tmp_path):
    for url, name in {
        "http://a/b/c.jpg?d=/e.png": "c.jpg",
        "http://a/%D1%84%20%2B.jpg": "ф +.jpg",
        "http://a/..%2F..%2Fetc%2Fpasswd": "passwd",
        "http://a/b:c%00|d.png": "b_c__d.png",
        "http://a/b%5C..%5Cc.png": "b_.._c.png",
        "http://a/": "image.png",
        "http://a": "image.png",
        "http://a/..": "image.png",
    }.items():
        assert result_of(url).name == name


ENTRIES = st.tuples(
    st.sampled_from(["a", "A", "a_0", "a_1", "a_000001", "a_2", "b", "a_2_0", "a_2_000000"]),
    st.sampled_from([None, "page", "frame"]),
    st.integers(1, 3),
)


@given(st.lists(ENTRIES, max_size=12))
def test_no_two_results_have_the_same_name(entries):
    names, given_names = Names(), []
    for place, (stem, kind, count) in enumerate(entries):
        for index in range(count if kind else 1):
            result = result_of(f"{place}/{stem}.png", **({kind: index} if kind else {}))
            names.give(result)
            given_names.append(result.name.rsplit(".", 1)[0].casefold())
    assert len(set(given_names)) == len(given_names)


def test_names_of_one_long_video_take_no_memory():
    names = Names()
    for index in range(10_000):
        names.give(result_of("a.mp4", frame=index))
        names.give(result_of(None))
    assert len(names._taken) + len(names._series) + len(names._next) == 1


def test_many_files_of_one_name_take_no_longer_each():
    names = Names()
    for place in range(20_000):
        names.give(result_of(f"{place}/image.png"))
    result = result_of("image.png")
    names.give(result)
    assert result.name == "image_20001.png"
