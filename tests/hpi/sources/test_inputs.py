"""Inputs of every type are read, or refused at once."""

import collections.abc
import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from hpi import InputError
from hpi.sources import MANY, check_image, check_input, count_items, is_many, is_several, is_single, read_items

from support import EXAMPLE, serve


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((5, 6, 3), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6, 1), np.uint8), (5, 6, 3)),
        (np.zeros((5, 6, 4), np.uint8), (5, 6, 3)),
        (np.zeros((1, 1, 3), np.uint8), (1, 1, 3)),
        (np.ma.masked_array(np.zeros((5, 6, 3), np.uint8)), (5, 6, 3)),
        (np.zeros((5, 6), np.uint8).view(np.matrix), (5, 6, 3)),
    ],
)
def test_arrays_of_images_are_accepted(array, shape):
    assert check_image(array).shape == shape


def test_checking_a_valid_array_does_not_copy_it(image):
    assert check_image(image) is image or np.shares_memory(check_image(image), image)


def test_any_memory_layout_is_accepted(rng):
    base = rng.integers(0, 256, (40, 60, 3), np.uint8)
    frozen = base.copy()
    frozen.setflags(write=False)
    for view in (
        base[::2, ::3],
        base[:, ::-1],
        base[::-1, ::-1, ::-1],
        np.asfortranarray(base),
        base.transpose(1, 0, 2),
        frozen,
    ):
        (item,) = read_items(view)
        assert item.image.flags.c_contiguous
        assert item.image.flags.writeable
        assert np.array_equal(item.image, view)


@pytest.mark.parametrize(
    ("array", "fragment"),
    [
        (np.zeros((5, 6, 3)), "float64"),
        (np.zeros((5, 6, 3), np.uint16), "uint16"),
        (np.zeros((5, 6, 3), bool), "bool"),
        (np.zeros((5, 6, 2), np.uint8), "5, 6, 2"),
        (np.zeros((3, 50, 60), np.uint8), "3, 50, 60"),
        (np.zeros((1, 5, 6, 3), np.uint8), r"give list\(array\)"),
        (np.zeros((0, 6, 3), np.uint8), "0, 6, 3"),
        (np.zeros((), np.uint8), r"\(\)"),
        (np.array(["a.jpg"]), r"give list\(array\)"),
        (np.array([EXAMPLE, None]), r"give list\(array\)"),
        (np.ma.masked_equal(np.zeros((5, 6, 3), np.uint8), 0), "masked"),
    ],
)
def test_other_arrays_are_refused(array, fragment):
    with pytest.raises(InputError, match=fragment):
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


@pytest.mark.full
def test_a_result_keeps_its_image_if_the_buffer_is_reused(lite, image):
    buffer = image.copy()

    def frames():
        for value in (0, 50, 100):
            buffer[:] = image + np.uint8(value)
            yield buffer

    results = list(lite.predict(frames(), batch_size=2))
    buffer[:] = 0
    for result, value in zip(results, (0, 50, 100), strict=True):
        assert np.array_equal(result["input_img"], image + np.uint8(value))
        assert not np.shares_memory(result["input_img"], buffer)
    (single,) = lite.predict(buffer)
    assert not np.shares_memory(single["input_img"], buffer)


# Tensors


class Tensor:
    """Like a PyTorch tensor on the CPU."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __iter__(self):
        return iter(self.array)

    def __len__(self):
        return len(self.array)


class OnGpu(Tensor):
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")


def test_a_tensor_is_one_image(items, only_error, image):
    (item,) = items(Tensor(image))
    assert np.array_equal(item.image, image)
    assert not np.shares_memory(item.image, image)
    assert is_single(Tensor(image))
    assert "Tensor.cpu()" in only_error(OnGpu(image))
    assert "float32" in only_error(Tensor(image.astype(np.float32)))


# Content of files, open files


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_the_content_of_a_file_is_one_image(lite, image, kind):
    errors = []
    (result,) = lite.predict(kind(EXAMPLE.read_bytes()), on_error=errors.append)
    assert np.array_equal(result["input_img"], image)
    assert result["input_path"] is None
    assert not errors


def test_bytes_that_are_not_an_image_are_one_error(lite):
    errors = []
    assert not list(lite.predict(b"no image at all", on_error=errors.append))
    assert len(errors) == 1


@pytest.mark.parametrize("buffering", [-1, 0])
def test_an_open_file_is_read_from_its_position(items, image, tmp_path, buffering):
    (tmp_path / "a.bin").write_bytes(b"before" + EXAMPLE.read_bytes())
    with (tmp_path / "a.bin").open("rb", buffering=buffering) as stream:
        stream.seek(6)
        (item,) = items(stream)
    assert item.path == str(tmp_path / "a.bin")
    assert np.array_equal(item.image, image)


def test_a_stream_with_short_reads_is_read_whole(items, image):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        os.write(writing, EXAMPLE.read_bytes()[:60_000])  # what a pipe holds
        os.close(writing)
        (item,) = items(stream)
    assert "truncated" in str(item.image)

    class Drip(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1000))

    (item,) = items(Drip(EXAMPLE.read_bytes()))
    assert np.array_equal(item.image, image)


def test_streams_that_cannot_be_read_are_errors(only_error, tmp_path):
    with EXAMPLE.open("rb") as stream:
        pass
    assert "closed file" in only_error(stream)
    with EXAMPLE.open(encoding="utf-8") as stream, pytest.raises(InputError, match="binary mode"):
        check_input(stream)

    class Words:
        def read(self, size):
            return "words"

    assert "returns str" in only_error(Words())


# Pillow


@pytest.mark.parametrize(
    "mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA", "PA", "RGBa", "YCbCr", "HSV", "I;16", "I;16B", "I", "F"]
)
def test_pillow_images_are_converted_to_bgr(items, image, mode):
    rgb = Image.fromarray(image[..., ::-1])
    deep = {"I;16": (np.uint16, 257), "I;16B": (np.int32, 257), "I": (np.int32, 257), "F": (np.float32, 1 / 255)}
    if mode in deep:
        dtype, scale = deep[mode]
        pillow, expected = Image.fromarray((image[..., 0] * dtype(scale)).astype(dtype)), image[..., [0, 0, 0]]
        pillow = pillow if pillow.mode == mode else pillow.convert(mode)
        assert pillow.mode == mode
    else:
        pillow = rgb.convert("RGBA").convert(mode) if mode in {"RGBa", "PA"} else rgb.convert(mode)
        expected = np.asarray(pillow.convert("RGB"))[..., ::-1]
    (item,) = items(pillow)
    assert np.abs(item.image.astype(int) - expected).max() <= 1
    assert item.path is None


def test_the_orientation_of_pillow_images_is_applied(items, tmp_path, image):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as pillow:
        (item,) = items(pillow)
    (same,) = items(tmp_path / "a.png")
    assert item.image.shape == (640, 480, 3)
    assert np.array_equal(item.image, same.image)


def test_a_pillow_image_that_cannot_be_decoded_is_an_error(only_error, tmp_path):
    (tmp_path / "cut.png").write_bytes(EXAMPLE.read_bytes()[:2000])
    with Image.open(tmp_path / "cut.png") as image:
        assert "truncated" in only_error(image)
    with Image.open(EXAMPLE) as image:
        pass
    image.close()
    assert only_error(image)
    assert "0x5" in only_error(Image.new("RGB", (0, 5)))
    assert "pixels" in only_error(Image.new("1", (33_000, 2)))


# Paths, URLs


class PathOf:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_path_objects_of_text_and_bytes_are_read(items, image):
    entry = next(entry for entry in os.scandir(EXAMPLE.parent) if entry.name == EXAMPLE.name)
    for path in (EXAMPLE, entry, PathOf(str(EXAMPLE)), PathOf(os.fsencode(EXAMPLE))):
        (item,) = items(path)
        assert item.path == str(EXAMPLE)
        assert np.array_equal(item.image, image)


@pytest.mark.parametrize("path", ["", PathOf(""), PathOf(b"")])
def test_an_empty_path_is_not_the_current_folder(lite, path):
    with pytest.raises(InputError, match="empty"):
        lite.predict(path)


def test_urls_are_read(items, only_error, image):
    with serve(EXAMPLE.parent) as address:
        (item,) = items(f"{address}/{EXAMPLE.name}")
        assert item.path == f"{address}/{EXAMPLE.name}"
        assert np.array_equal(item.image, image)
        assert "404" in only_error(f"{address}/none.png")
        assert "download" in only_error(f"{address}/a.mp4?x=1")


def test_urls_of_other_alphabets_and_with_a_password(lite, items, image, tmp_path):
    (tmp_path / "фото 1 ü%.png").write_bytes(EXAMPLE.read_bytes())
    with serve(tmp_path) as address:
        secret = address.replace("//", "//me:s3cret@")
        (result,) = lite.predict(f"{secret}/фото 1 ü%25.png?token=t0k3n&size=2")
        assert np.array_equal(result["input_img"], image)
        assert result["input_path"] == f"{address}/фото 1 ü%25.png?token=***&size=2"
        assert result.save_to_json(tmp_path / "out").name == "фото 1 ü%_res.json"
        (item,) = items(f"{secret}/none.png?token=t0k3n")
    for text in (str(item.image), str(item.path)):
        assert "s3cret" not in text
        assert "t0k3n" not in text


def test_a_too_large_answer_of_a_url_is_refused(monkeypatch, only_error):
    monkeypatch.setattr("hpi.sources.files.MAX_IMAGE_BYTES", 1000)
    with serve(EXAMPLE.parent) as address:
        assert "1000 bytes" in only_error(f"{address}/{EXAMPLE.name}")


# Several


def test_lists_are_flattened_and_counted(items, tmp_path, image, encode):
    (tmp_path / "a.png").write_bytes(encode(image))
    source = [str(EXAMPLE), image, (tmp_path,), []]
    assert [item.path for item in items(source)] == [str(EXAMPLE), None, str(tmp_path / "a.png")]
    assert count_items(source) == 3


class Loader(collections.abc.Sequence):
    """Images that are loaded as they are asked for."""

    def __init__(self, count):
        self.count, self.loaded = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError
        self.loaded += 1
        return np.zeros((8, 8, 3), np.uint8)


def test_images_are_not_loaded_to_see_that_there_are_many():
    many, few = Loader(MANY), Loader(MANY - 1)
    assert (is_many(many), many.loaded) == (True, 0)
    assert not is_many(few)


def test_no_more_videos_are_opened_than_it_takes_to_see_that_there_are_many(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("hpi.sources.count_frames", lambda path: opened.append(path.name) or MANY - 1)
    for number in range(5):
        (tmp_path / f"{number}.mp4").touch()
    for source in (str(tmp_path), [str(tmp_path)], sorted(tmp_path.iterdir())):
        opened.clear()
        assert is_many(source)
        assert opened == ["0.mp4", "1.mp4"]


@pytest.mark.full
@pytest.mark.parametrize(
    "several",
    [
        iter,
        lambda inputs: (one for one in inputs),
        tuple,
        lambda inputs: dict.fromkeys(range(2), inputs[0]).values(),
        collections.deque,
        lambda inputs: map(str, inputs),
    ],
)
def test_collections_and_iterators_are_read_in_order(lite, several):
    results = list(lite.predict(several([str(EXAMPLE), str(EXAMPLE)])))
    assert [result["input_path"] for result in results] == [str(EXAMPLE)] * 2


def test_a_set_is_read(items):
    assert [item.path for item in items({str(EXAMPLE)})] == [str(EXAMPLE)]


def test_an_endless_iterator_is_read_lazily(lite, image):
    taken = 0

    def camera():
        nonlocal taken
        while True:
            taken += 1
            yield image

    results = lite.predict(camera(), batch_size=1)
    for _ in range(3):
        next(results)
    results.close()
    under_way = 2 * len(lite.side_by_side())  # images that workers take at most, and two that are read ahead
    assert 3 <= taken <= 3 + under_way + 2


@pytest.mark.parametrize("thing", [3, 2.5, None, {"img": "a.jpg"}, object()])
def test_unsupported_types_are_refused_at_once(lite, only_error, thing):
    with pytest.raises(InputError, match="give a BGR uint8 array"):
        lite.predict(thing)
    assert "give a BGR uint8 array" in only_error([thing])


def test_none_in_a_list_does_not_affect_the_others(lite, image):
    """As returned by OpenCV for an unreadable file."""
    errors = []
    assert len(list(lite.predict([image, None, image], on_error=errors.append))) == 2
    assert "NoneType" in str(errors[0])


def test_reading_is_lazy(tmp_path):
    stream = read_items([str(EXAMPLE), str(tmp_path / "later.png")])
    next(stream)
    (tmp_path / "later.png").write_bytes(EXAMPLE.read_bytes())
    assert next(stream).image.shape == (480, 640, 3)


def test_single_inputs_are_distinguished_from_several(image, tmp_path):
    """Reading ahead in a thread does not pay for a single image."""
    for single in (image, [image], "people.jpg", b"", io.BytesIO(), Image.new("L", (3, 3)), "http://a/b.jpg", "a.tif"):
        assert is_single(single)
    for several in ([image, image], str(tmp_path), [str(tmp_path)], "video.mp4", "a.PDF", iter([image]), {"a.jpg"}):
        assert not is_single(several)


def test_one_input_is_not_several(image):
    for one in (
        "ab",
        b"ab",
        bytearray(b"ab"),
        memoryview(b"ab"),
        image,
        Tensor(image),
        io.BytesIO(),
        {"a": 1},
        3,
        EXAMPLE,
    ):
        assert not is_several(one)
