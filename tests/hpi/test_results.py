import json

import cv2
import numpy as np
import pytest

from hpi import InputError
from hpi.draw import draw_boxes, draw_people
from hpi.zoo import Zoo

from support import EXAMPLE


@pytest.fixture(scope="module")
def result(lite):
    (one,) = lite.predict(str(EXAMPLE))
    return one


@pytest.fixture(scope="module")
def skeleton(home):
    return Zoo.default().skeleton_of("PP-TinyPose_128x96")


def test_it_is_paddlex_dictionary(result):
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
    assert np.array_equal(np.asarray(picture)[..., ::-1], result.draw())


def test_names_in_a_folder(result, tmp_path):
    assert result.save_to_json(tmp_path) == tmp_path / "basketball_res.json"
    assert result.save_to_img(str(tmp_path) + "/") == tmp_path / "basketball_res.png"
    assert json.loads((tmp_path / "basketball_res.json").read_text()) == result.json["res"]
    assert np.array_equal(cv2.imread(str(tmp_path / "basketball_res.png")), result.draw())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["basketball_res.json", "basketball_res.png"]


def test_a_path_of_a_file_is_used_as_it_is(result, tmp_path):
    result.save_to_json(tmp_path / "new" / "a.json")
    result.save_to_img(tmp_path / "new" / "a.jpg")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.jpg", "a.json"]


def test_save_all(result, tmp_path):
    result.save_all(save_path=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_array_is_named_by_the_time(lite, photo, tmp_path):
    (one,) = lite.predict(photo)
    assert one["input_path"] is None
    one.save_all(tmp_path)
    picture, text = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert picture.stem == text.stem
    assert picture.suffix == ".png"
    assert picture.stem.removesuffix("_res").replace("_", "").isdigit()


def test_writing_fails_clearly_and_leaves_nothing(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        result.save_to_json(tmp_path / "file" / "a.json")
    with pytest.raises(InputError, match="OpenCV does not write"):
        result.save_to_img(tmp_path / "a.gifv.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("name", "saved"), [("a.pgm", "a_res.png"), ("a.jfif", "a_res.png"), ("a.JPG", "a_res.JPG")])
def test_a_picture_takes_the_format_of_the_input_if_it_can(lite, photo, tmp_path, name, saved):
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    (tmp_path / "photo.png").rename(tmp_path / name)
    (one,) = lite.predict(tmp_path / name)
    assert one.save_to_img(tmp_path / "out").name == saved


def test_a_picture_that_its_format_cannot_hold(lite, tmp_path):
    (one,) = lite.predict(np.zeros((10, 17_000, 3), np.uint8))
    with pytest.raises(InputError, match=r"cannot write this picture as \.webp"):
        one.save_to_img(tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


def test_a_file_name_that_is_not_utf8(lite, photo, tmp_path):
    path = tmp_path / b"bad\xff.png".decode(errors="surrogateescape")
    path.write_bytes(EXAMPLE.read_bytes())
    (one,) = lite.predict(path)
    saved = one.save_to_json(tmp_path / "a.json")
    assert json.loads(saved.read_text()) == one.json["res"]


def test_the_picture_shows_the_bones_and_nothing_else(result, photo):
    """Every clear joint is marked; far from all people the photo is as it was."""
    picture = result.draw()
    changed = (picture != photo).any(axis=2)
    for person in result["boxes"]:
        for x, y, score in person["keypoints"]:
            if score > 0.2 and 1 < x < 638 and 1 < y < 478:
                assert changed[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3].any()
    assert not changed[:, 230:400].any()
    assert result["input_img"] is not picture


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_joints_out_of_this_world_are_not_drawn(photo, skeleton, value):
    wild = np.full((17, 3), value, np.float32)
    wild[:, 2] = 1
    assert np.array_equal(draw_people(photo, [wild], skeleton), photo)


def test_joints_of_an_unknown_body_are_dots(photo, skeleton):
    five = np.array([[100, 100, 1]] * 5, np.float32)
    changed = (draw_people(photo, [five], skeleton) != photo).any(axis=2)
    assert changed[100, 100]
    assert changed.sum() < 100


def test_boxes_over_the_border_are_drawn(photo):
    picture = draw_boxes(photo, [[-50, -50, 900, 700], [10, 10, 60, 90]], ["person 0.90", "person 0.80"])
    assert picture.shape == photo.shape
    assert (picture != photo).any()
