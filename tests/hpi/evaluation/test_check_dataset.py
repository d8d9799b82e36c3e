"""The check of a data set: what it passes, what it writes, what it says of what is wrong."""

import json
import shutil
import struct
import sys

import cv2
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from hpi.errors import ConfigError, InputError
from hpi.evaluation.check_dataset import RESULT, check_dataset
from hpi.io.files import write_whole
from hpi.sources import decode_image

from support import run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

TRAIN = 24


@pytest.fixture
def folder(shared, tmp_path):
    """A data set of COCO's 32 images: 24 for training, 8 for validation."""
    coco = json.loads((shared / "data" / "coco_val" / "person_keypoints.json").read_text())
    target = tmp_path / "people"
    shutil.copytree(shared / "data" / "coco_val" / "images", target / "images")
    (target / "annotations").mkdir()
    for name, images in (("train", coco["images"][:TRAIN]), ("val", coco["images"][TRAIN:])):
        ids = {image["id"] for image in images}
        people = [person for person in coco["annotations"] if person["image_id"] in ids]
        write(target, name, {**coco, "images": images, "annotations": people})
    return target


def place(folder, name):
    return folder / "annotations" / f"instance_{name}.json"


def read(folder, name):
    return json.loads(place(folder, name).read_text())


def write(folder, name, content):
    place(folder, name).write_text(json.dumps(content))


def check(folder, **options):
    return check_dataset(folder, folder.parent / "output", **options)


def refused(folder, **options):
    """What the check says of a data set that it refuses; the result says the same."""
    with pytest.raises(InputError) as error:
        check(folder, **options)
    result = json.loads((folder.parent / "output" / RESULT).read_text())
    assert result == {"done_flag": False, "err_type": "<class 'hpi.errors.InputError'>", "err_msg": str(error.value)}
    return str(error.value)


@pytest.mark.full
def test_the_result_is_paddlexs(folder):
    result = check(folder)
    output = folder.parent / "output"
    names = [[image["file_name"] for image in read(folder, name)["images"]] for name in ("train", "val")]
    assert result == {
        "done_flag": True,
        "check_pass": True,
        "attributes": {
            "num_classes": 1,
            "train_samples": 24,
            "train_sample_paths": [f"check_dataset/demo_img/{name}" for name in names[0][:10]],
            "val_samples": 8,
            "val_sample_paths": [f"check_dataset/demo_img/{name}" for name in names[1]],
        },
        "analysis": {"histogram": "check_dataset/histogram.png"},
        "dataset_path": "people",
        "show_type": "image",
        "dataset_type": "KeypointTopDownCocoDetDataset",
    }
    assert json.loads((output / RESULT).read_text()) == result
    assert (output / result["analysis"]["histogram"]).stat().st_size > 10_000
    for place_ in result["attributes"]["train_sample_paths"] + result["attributes"]["val_sample_paths"]:
        drawn, image = cv2.imread(str(output / place_)), cv2.imread(str(folder / "images" / place_.split("/")[-1]))
        assert drawn.shape == image.shape
        assert (drawn != image).any()


def test_a_data_set_in_a_folder_below_is_found(folder, tmp_path):
    assert check_dataset(tmp_path, tmp_path / "output")["dataset_path"] == "people"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keypoints": [1.0, 2.0]}, "keypoints has 2 numbers; give 3 x 17 = 51"),
        ({"keypoints": [5, 5, 3] * 17, "num_keypoints": 17}, "a visibility is 3"),
        ({"num_keypoints": 18}, "num_keypoints is 18, but 13 keypoints have a visibility above 0; set it to 13"),
        ({"num_keypoints": None}, "num_keypoints is missing"),
        ({"bbox": [700, 10, 20, 20]}, "bbox [700.0, 10.0, 20.0, 20.0] is outside of its image of 640 x 427"),
        ({"bbox": [10, 10, 0, 20]}, "bbox [10.0, 10.0, 0.0, 20.0] is empty"),
        ({"bbox": []}, "bbox has 0 numbers; give 4"),
        ({"category_id": 7}, "category_id 7 is not among the categories (1)"),
        ({"image_id": 5}, "image_id 5 is not among the images"),
    ],
)
def test_a_wrong_annotation_is_refused(folder, change, said):
    content = read(folder, "train")
    person = content["annotations"][0]
    person.update(change)
    write(folder, "train", content)
    message = refused(folder)
    assert f"{place(folder, 'train')}: annotation id {person['id']}: {said}" in message
    assert "1 problem:" in message


def test_all_problems_are_listed_at_once(folder):
    content = read(folder, "val")
    first, second, third = content["images"][:3]
    (folder / "images" / first["file_name"]).unlink()
    (folder / "images" / second["file_name"]).write_bytes(b"no picture")
    third["width"] += 1
    content["images"].append({**content["images"][3], "file_name": "../secret.jpg"})
    content["annotations"].append(content["annotations"][0])
    write(folder, "val", content)
    message = refused(folder)
    for part in (
        f"image id {first['id']}: {folder / 'images' / first['file_name']} is missing",
        "is not an image",
        "width and height are",
        "'../secret.jpg' leads out of",
        f"annotation id {content['annotations'][0]['id']}: 2 entries have it",
        f"image id {content['images'][3]['id']}: 2 entries have it",
    ):
        assert part in message
    assert "6 problems" in message


def test_sets_with_different_categories_are_refused(folder):
    content = read(folder, "val")
    content["categories"][0]["name"] = "horse"
    write(folder, "val", content)
    assert "its categories differ from those of instance_train.json" in refused(folder)


def exif(kind, value, order="<"):
    """EXIF data with an orientation of any type."""
    head = struct.pack(f"{order}2sHI", {"<": b"II", ">": b"MM"}[order], 42, 8)
    entry = struct.pack(f"{order}HHHI4sI", 1, 0x0112, kind, len(value) if kind == TEXT else 1, value.ljust(4, b"\0"), 0)
    return b"Exif\0\0" + head + entry


BYTE, TEXT, SHORT, LONG, FLOAT = 1, 2, 3, 4, 11
ORIENTATIONS = {
    **{str(number): exif(SHORT, struct.pack("<H", number)) for number in range(10)},
    "262": exif(SHORT, struct.pack("<H", 262)),
    "6 of the other byte order": exif(SHORT, struct.pack(">H", 6), ">"),
    "6 as text": exif(TEXT, b"6\0"),
    "8 as text": exif(TEXT, b"8\0"),
    "text": exif(TEXT, b"up\0"),
    "6 as a byte": exif(BYTE, b"\6"),
    "6 as a long": exif(LONG, struct.pack("<I", 6)),
    "6 as a float": exif(FLOAT, struct.pack("<f", 6)),
    "damaged": b"Exif\0\0II*\0",
    "none": b"Exif\0\0no exif at all",
}


def with_orientations(folder):
    """Add a picture for each orientation and format, of 64 x 40 before it is turned; gives their entries by name."""
    entries = {}
    for kind in (".jpg", ".png", ".webp"):
        for orientation, data in ORIENTATIONS.items():
            name = f"{orientation}{kind}"
            Image.effect_noise((64, 40), 50).convert("RGB").save(folder / "images" / name, exif=data)
            entries[name] = {"file_name": name}
    for orientation in range(1, 9):
        name = f"{orientation}.tiff"
        Image.effect_noise((64, 40), 50).convert("RGB").save(folder / "images" / name, tiffinfo={0x0112: orientation})
        entries[name] = {"file_name": name}
    for number, (name, entry) in enumerate(entries.items()):
        path = folder / "images" / name
        height, width = decode_image(path.read_bytes(), name).shape[:2]  # as it is read for a prediction
        assert {width, height} == {64, 40}
        entry |= {"id": number, "width": width, "height": height}
    return entries


def test_an_orientation_counts_as_in_a_prediction(folder):
    """One that is wrong, damaged or written otherwise is no reason to abort, nor for an alarm."""
    content, entries = read(folder, "val"), with_orientations(folder)
    turned = {name for name, entry in entries.items() if entry["width"] == 40}
    assert {"6.jpg", "8.png", "6 of the other byte order.webp", "6 as a byte.jpg", "5.tiff"} <= turned
    assert not {"1.jpg", "4.png", "9.jpg", "0.jpg", "6 as text.jpg", "8 as text.jpg", "text.png", "none.jpg"} & turned
    write(folder, "val", {**content, "images": [*content["images"], *entries.values()]})
    check(folder)


@pytest.mark.parametrize("name", ["1.jpg", "6.jpg", "6 as text.jpg", "9.jpg", "6.png", "damaged.webp", "6.tiff"])
def test_a_wrong_size_is_found_whatever_the_orientation(folder, name):
    content, entry = read(folder, "val"), with_orientations(folder)[name]
    width, height = entry["width"], entry["height"]
    entry.update(width=height, height=width)
    write(folder, "val", {**content, "images": [*content["images"], entry]})
    said = f"image id {entry['id']}: width and height are {height} and {width}, but {folder / 'images' / name} is"
    assert f"{said} {width} x {height} after EXIF rotation" in refused(folder)


def test_a_set_without_annotations_is_refused(folder):
    for name in ("train", "val"):
        before = read(folder, name)
        write(folder, name, {**before, "annotations": []})
        message = refused(folder)
        assert f"{place(folder, name)}: has no annotations" in message
        assert "1 problem:" in message
        write(folder, name, before)


def test_sets_with_different_keypoints_are_refused(folder):
    content = read(folder, "val")
    content["categories"][0]["keypoints"].reverse()
    write(folder, "val", content)
    assert "its categories differ from those of instance_train.json" in refused(folder)


def test_backslashes_in_a_file_name_are_explained(folder):
    content = read(folder, "val")
    content["images"][0]["file_name"] = "sub\\a.jpg"
    write(folder, "val", content)
    assert "write / for \\ in file_name" in refused(folder)


def test_a_missing_matplotlib_is_an_error_before_the_work(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r'pip install "hpi-pose\[evaluate\]"'):
        check(folder)
    assert not (folder.parent / "output").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not COCO's form"),
        ('{"images": []}', "field 'annotations' is missing"),
        (None, "cannot be read"),
    ],
)
def test_a_file_without_annotations_is_named_in_the_error(folder, text, said):
    file = place(folder, "val")
    file.unlink()
    if text is not None:
        file.write_text(text)
    message = refused(folder)
    assert str(file) in message
    assert said in message


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="one folder 'images'"):
        check_dataset(tmp_path, tmp_path / "output")


@pytest.mark.full
def test_doubtful_annotations_are_warned_of(folder, caplog):
    content = read(folder, "train")
    content["annotations"][0]["bbox"] = [600, 10, 100, 100]
    content["images"].append({**read(folder, "val")["images"][0], "id": 1})
    write(folder, "train", content)
    check(folder)
    number = content["annotations"][0]["id"]
    assert (
        f"annotation id {number}: bbox [600.0, 10.0, 100.0, 100.0] reaches out of its image of 640 x 427" in caplog.text
    )
    assert "images in both sets: 1, such as" in caplog.text
    assert "remove them from one to split" in refused(folder, split=(50, 50))


def keypoints_by_image(*contents):
    found = {}
    for content in contents:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for person in content["annotations"]:
            found.setdefault(names[person["image_id"]], []).append(person["keypoints"])
    return found


@pytest.mark.full
def test_a_split_moves_every_annotation_and_keeps_a_backup(folder):
    before = {name: place(folder, name).read_bytes() for name in ("train", "val")}
    result = check(folder, split=(75, 25), seed=3)
    assert (result["attributes"]["train_samples"], result["attributes"]["val_samples"]) == (24, 8)
    after = [read(folder, name) for name in before]
    assert keypoints_by_image(*after) == keypoints_by_image(*map(json.loads, before.values()))
    for name, content in zip(before, after, strict=True):
        assert place(folder, name).with_suffix(".json.bak").read_bytes() == before[name]
        assert [person["id"] for person in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
        assert content["licenses"] == json.loads(before[name])["licenses"]
    assert {image["file_name"] for image in after[0]["images"]} != {
        image["file_name"] for image in json.loads(before["train"])["images"]
    }
    assert "of an earlier split would be lost" in refused(folder, split=(50, 50))
    assert [read(folder, name) for name in before] == after


def test_ids_that_begin_at_0_stay_apart(folder):
    for name in ("train", "val"):
        content = read(folder, name)
        numbers = {image["id"]: number for number, image in enumerate(content["images"])}
        content["images"] = [{**image, "id": numbers[image["id"]]} for image in content["images"]]
        content["annotations"] = [
            {**person, "image_id": numbers[person["image_id"]]} for person in content["annotations"]
        ]
        write(folder, name, content)
    check(folder, split=(50, 50))
    ids = [image["id"] for name in ("train", "val") for image in read(folder, name)["images"]]
    assert len(set(ids)) == len(ids) == 32


def test_an_image_that_cannot_be_drawn_stops_the_split(folder):
    """Its header is sound, so that only drawing it shows."""
    before = place(folder, "train").read_bytes()
    for image in (folder / "images").iterdir():
        image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(InputError):
        check(folder, split=(50, 50))
    assert place(folder, "train").read_bytes() == before
    assert not list((folder / "annotations").glob("*.bak"))


@pytest.mark.full
def test_a_seed_gives_the_same_split(folder):
    splits = []
    for _ in range(2):
        check(folder, split=(60, 40), seed=5)
        splits.append([place(folder, name).read_bytes() for name in ("train", "val")])
        for name in ("train", "val"):
            place(folder, name).with_suffix(".json.bak").replace(place(folder, name))
    assert splits[0] == splits[1]


def test_no_image_is_lost_by_rounding(folder):
    """PaddleX's own split of 5 images, 50 to 50, writes 2 and 2."""
    content = read(folder, "train")
    images = content["images"][:3]
    people = [one for one in content["annotations"] if one["image_id"] in {image["id"] for image in images}]
    write(folder, "train", {**content, "images": images, "annotations": people})
    content = read(folder, "val")
    images = content["images"][:2]
    people = [one for one in content["annotations"] if one["image_id"] in {image["id"] for image in images}]
    write(folder, "val", {**content, "images": images, "annotations": people})
    found = check(folder, split=(50, 50))["attributes"]
    assert found["train_samples"] + found["val_samples"] == 5


@pytest.mark.full
def test_a_split_that_cannot_be_written_changes_nothing(folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in (folder / "annotations").iterdir()}

    def fail_at_the_second(path, data):
        if path.name == "instance_val.json":
            raise OSError(28, "No space left on device")
        write_whole(path, data)

    monkeypatch.setattr("hpi.io.files.write_whole", fail_at_the_second)
    with pytest.raises(InputError, match="No space left"):
        check(folder, split=(50, 50))
    assert {file.name: file.read_bytes() for file in (folder / "annotations").iterdir()} == before


@pytest.mark.parametrize("split", [(50, 40), (100, 0), (120, -20)])
def test_percentages_that_do_not_add_to_100_are_refused(folder, split):
    with pytest.raises(ConfigError, match="add to 100"):
        check(folder, split=split)


@pytest.mark.full
def test_too_few_images_to_split_are_refused(folder):
    assert "too few" in refused(folder, split=(99, 1))


@pytest.mark.full
def test_the_command_prints_the_outcome_or_what_is_wrong(folder, tmp_path):
    done = run_hpi("check-dataset", folder, "--split", "75", "25", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "passed: 24 images for training, 8 for validation" in done.stdout
    assert (tmp_path / "output" / RESULT).is_file()
    (folder / "images" / read(folder, "val")["images"][0]["file_name"]).unlink()
    done = run_hpi("check-dataset", folder, "--output", "again", cwd=tmp_path)
    assert done.returncode == 1
    assert "is missing; put it there or remove the entry" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_a_split_that_is_not_of_all_is_wrong_usage(folder, tmp_path):
    assert run_hpi("check-dataset", folder, "--split", "75", "30", cwd=tmp_path).returncode == 2
