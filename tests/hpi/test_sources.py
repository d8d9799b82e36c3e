import os

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from hpi.errors import InputError
from hpi.sources import MAX_PIXELS, check_image, count_items, decode_image, is_single, read_items

from support import EXAMPLE, serve


def items(source):
    return list(read_items(source))


def only_error(source):
    (item,) = items(source)
    assert isinstance(item.image, InputError)
    return str(item.image)


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.fixture
def write(tmp_path):
    """Writes a file and gives its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write_file


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_files_come_back_as_they_were(write, rng, suffix):
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    data = cv2.imencode(suffix, image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    (item,) = items(write("a" + suffix, data))
    assert np.array_equal(item.image, image)
    assert item.image.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is not a picture\n" * 50, "not an image"),
        ("zeros.png", bytes(1000), "not an image"),
        ("cut.png", EXAMPLE.read_bytes()[:2000], "cut-off"),
        ("almost.png", EXAMPLE.read_bytes()[:-200], "cut-off"),
    ],
)
def test_files_that_are_no_images(write, name, content, said):
    path = write(name, content)
    message = only_error(path)
    assert said in message
    assert path in message


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_off_jpeg_is_refused(write, photo, share, progressive):
    data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[1].tobytes()
    assert "cut-off" in only_error(write("cut.jpg", data[: int(len(data) * share)]))


def test_a_missing_file(tmp_path):
    assert "No such file" in only_error(str(tmp_path / "none.jpg"))


def test_paths_that_no_file_can_have(tmp_path):
    assert "cannot be read" in only_error("a\0b.jpg")
    assert "cannot be read" in only_error("a" * 5000 + ".jpg")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in only_error(str(tmp_path / "pipe.jpg"))


def test_the_first_page_of_several(tmp_path, caplog):
    pages = [Image.new("RGB", (8, 6), (10 * index, 0, 0)) for index in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (item,) = items(str(tmp_path / "pages.tif"))
    assert item.image[0, 0].tolist() == [0, 0, 0]
    assert "only the first is used" in caplog.text


def test_an_image_of_one_pixel(write):
    (item,) = items(write("one.png", encode(np.full((1, 1, 3), 7, np.uint8))))
    assert item.image.tolist() == [[[7, 7, 7]]]


def test_grey_alpha_and_16_bit_files_become_8_bit_bgr(write, rng):
    grey = rng.integers(0, 256, (8, 9), np.uint8)
    bgra = rng.integers(0, 256, (8, 9, 4), np.uint8)
    deep = rng.integers(0, 65536, (8, 9, 3), np.uint16)
    found = [items(write(f"{index}.png", encode(image)))[0].image for index, image in enumerate((grey, bgra, deep))]
    assert np.array_equal(found[0], np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(found[1], bgra[..., :3])
    assert np.abs(found[2].astype(int) - deep // 256).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(tmp_path, orientation):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:5, :10] = 255  # a mark at the top left, before turning
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (item,) = items(str(tmp_path / "a.jpg"))
    turned = orientation >= 5
    assert item.image.shape == ((40, 20, 3) if turned else (20, 40, 3))
    row, column = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    corners = [[item.image[y, x].mean() > 128 for x in (1, -2)] for y in (1, -2)]
    assert np.argwhere(corners).tolist() == [[row, column]]


def test_a_very_wide_image_is_read_and_a_wider_one_refused(write):
    (item,) = items(write("wide.png", encode(np.zeros((2, 30_000, 3), np.uint8))))
    assert item.image.shape == (2, 30_000, 3)
    message = only_error(write("wider.png", encode(np.zeros((2, 33_000, 3), np.uint8))))
    assert "33000x2" in message
    assert "tiles" in message


def test_a_decompression_bomb_is_refused_before_decoding(write):
    side = int(MAX_PIXELS**0.5) + 5000  # 2 MiB of file, 1 GB of pixels
    bomb = Image.new("L", (side, side)).convert("1")
    Image.MAX_IMAGE_PIXELS = None
    try:
        bomb.save(path := write("bomb.png", b""))
    finally:
        Image.MAX_IMAGE_PIXELS = 89478485
    message = only_error(path)
    assert "pixels" in message


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((5, 6, 3), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6, 1), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6, 4), np.uint8), (5, 6, 3)),
        (np.zeros((1, 1, 3), np.uint8), (1, 1, 3)),
    ],
)
def test_arrays_that_are_images(array, shape):
    assert check_image(array).shape == shape


def test_a_good_array_is_not_copied(photo):
    assert check_image(photo) is photo or np.shares_memory(check_image(photo), photo)


def test_any_memory_layout_will_do(rng):
    base = rng.integers(0, 256, (40, 60, 3), np.uint8)
    for view in (
        base[::2, ::3],
        base[:, ::-1],
        base[..., ::-1],
        np.asfortranarray(base),
        base.transpose(1, 0, 2),
    ):
        image = check_image(view)
        assert image.flags.c_contiguous
        assert np.array_equal(image, view)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((5, 6, 3)), "float64"),
        (np.zeros((5, 6, 3), np.uint16), "uint16"),
        (np.zeros((5, 6, 3), bool), "bool"),
        (np.zeros((5, 6, 2), np.uint8), "5, 6, 2"),
        (np.zeros((3, 50, 60), np.uint8), "3, 50, 60"),
        (np.zeros((1, 5, 6, 3), np.uint8), "1, 5, 6, 3"),
        (np.zeros((0, 6, 3), np.uint8), "0, 6, 3"),
        (np.zeros((), np.uint8), r"\(\)"),
    ],
)
def test_arrays_that_are_not(array, said):
    with pytest.raises(InputError, match=said):
        check_image(array)


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, np.int64]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
    )
)
def test_any_array_is_an_image_or_a_clear_error(array):
    try:
        image = check_image(array)
    except InputError as error:
        assert "image array" in str(error)
    else:
        assert image.dtype == np.uint8
        assert image.shape == (*array.shape[:2], 3)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: EXAMPLE.read_bytes()[:100] + tail))
def test_any_bytes_are_an_image_or_a_clear_error(data):
    try:
        decode_image(data, "fuzz")
    except InputError as error:
        assert str(error).startswith("fuzz: ")


def test_a_folder_is_read_in_order_with_its_subfolders(tmp_path):
    for name in ("b.png", "a.jpg", "sub/c.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(np.zeros((4, 4, 3), np.uint8), ".png"))
    (tmp_path / "notes.txt").write_text("no image")
    found = items(tmp_path)
    assert [item.path for item in found] == [str(tmp_path / name) for name in ("a.jpg", "b.png", "sub/c.PNG")]
    assert all(item.from_folder for item in found)
    assert count_items(str(tmp_path)) == 3


def test_a_folder_without_images(tmp_path):
    assert "no images" in only_error(str(tmp_path))


def test_lists_are_flattened_and_counted(tmp_path, photo):
    (tmp_path / "a.png").write_bytes(encode(photo))
    source = [str(EXAMPLE), photo, [tmp_path]]
    assert [item.path for item in items(source)] == [str(EXAMPLE), None, str(tmp_path / "a.png")]
    assert count_items(source) == 3


@pytest.mark.parametrize("thing", [3, None, {"a": 1}, object()])
def test_other_kinds_of_input(thing):
    assert "give a BGR uint8 array" in only_error(thing)


def test_reading_waits_until_it_is_asked_for(tmp_path):
    stream = read_items([str(EXAMPLE), str(tmp_path / "later.png")])
    next(stream)
    (tmp_path / "later.png").write_bytes(EXAMPLE.read_bytes())
    assert next(stream).image.shape == (480, 640, 3)


def test_urls(photo):
    with serve(EXAMPLE.parent) as address:
        (item,) = items(f"{address}/{EXAMPLE.name}")
        assert item.path == f"{address}/{EXAMPLE.name}"
        assert np.array_equal(item.image, photo)
        assert "404" in only_error(f"{address}/none.png")


def test_a_url_that_answers_too_much(monkeypatch):
    monkeypatch.setattr("hpi.sources.MAX_IMAGE_BYTES", 1000)
    with serve(EXAMPLE.parent) as address:
        assert "1000 bytes" in only_error(f"{address}/{EXAMPLE.name}")


def test_a_file_that_is_too_large(monkeypatch):
    monkeypatch.setattr("hpi.sources.MAX_IMAGE_BYTES", 1000)
    assert "MiB" in only_error(str(EXAMPLE))


def test_what_is_worth_reading_ahead_of(photo, tmp_path):
    """A thread for a single picture would take longer than it saves."""
    assert is_single(photo)
    assert is_single([photo])
    assert is_single("photo.jpg")
    assert not is_single([photo, photo])
    assert not is_single(str(tmp_path))
    assert not is_single([str(tmp_path)])
    assert not is_single("video.mp4")
