"""Image files are decoded as a viewer shows them, or refused with the reason."""

import io
import os
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hpi.errors import InputError
from hpi.sources import MAX_PIXELS, decode_image, image_size, read_items
from hpi.sources.depth import to_8_bit

from support import EXAMPLE


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm", ".ras", ".jp2"])
def test_lossless_files_are_read_exactly(write, items, encode, rng, suffix):
    image = rng.integers(0, 256, (64, 96, 3), np.uint8)
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101, cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)
    (item,) = items(write("a" + suffix, encode(image, suffix, *lossless)))
    assert np.array_equal(item.image, image)
    assert item.image.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".jfif", ".jpe", ".heic"])
def test_other_formats_decode_to_the_same_image(tmp_path, items, image, suffix):
    original = Image.fromarray(image[..., ::-1])
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").from_pillow(original).save(tmp_path / "a.heic")
    else:
        kind = None if suffix in {".gif", ".avif"} else "JPEG"
        original.save(tmp_path / f"a{suffix}", kind)
    (item,) = items(tmp_path / f"a{suffix}")
    assert (item.page, item.frame) == (None, None)
    assert np.abs(item.image.astype(int) - image).mean() < 5


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_format_names_the_package_that_it_needs(monkeypatch, only_error, kind):
    monkeypatch.setitem(sys.modules, {"HEIF": "pillow_heif", "AVIF": "PIL.AvifImagePlugin"}[kind], None)
    brand = {"HEIF": b"heic", "AVIF": b"avif"}[kind]
    message = only_error(b"\0\0\0\x18ftyp" + brand + bytes(100))
    assert "pip install" in message
    assert {"HEIF": "hpi-pose[formats]", "AVIF": "pillow>="}[kind] in message


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is not a picture\n" * 50, "not an image"),
        ("zeros.png", bytes(1000), "not an image"),
        ("video.bin", b"\x1a\x45\xdf\xa3" + bytes(100), "videos are recognised by the suffix"),
        ("cut.png", EXAMPLE.read_bytes()[:2000], "truncated"),
        ("almost.png", EXAMPLE.read_bytes()[:-200], "truncated"),
    ],
)
def test_files_that_are_not_images_say_why(write, only_error, name, content, fragment):
    path = write(name, content)
    message = only_error(path)
    assert fragment in message
    assert path in message


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused(write, only_error, encode, image, share, progressive):
    data = encode(image, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
    assert "truncated" in only_error(write("cut.jpg", data[: int(len(data) * share)]))


@pytest.mark.parametrize("kind", ["BMP", "PPM", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_a_file_truncated_anywhere_is_refused(only_error, image, rng, kind):
    stream = io.BytesIO()
    Image.fromarray(image[::4, ::4, ::-1]).save(stream, kind)
    data = stream.getvalue()
    for end in rng.integers(1, len(data) - 20, 25):
        assert only_error(data[:end])


def test_a_missing_file_is_an_error(tmp_path, only_error):
    assert "No such file" in only_error(str(tmp_path / "none.jpg"))


def test_impossible_paths_are_errors(only_error):
    assert "cannot be read" in only_error("a\0b.jpg")
    assert "cannot be read" in only_error("a" * 5000 + ".jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_waiting(tmp_path, only_error):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in only_error(str(tmp_path / "pipe.jpg"))


def test_a_too_large_file_is_refused(monkeypatch, only_error):
    monkeypatch.setattr("hpi.sources.files.MAX_IMAGE_BYTES", 1000)
    assert "MiB" in only_error(str(EXAMPLE))


def test_an_image_of_one_pixel(items, encode):
    (item,) = items(encode(np.full((1, 1, 3), 7, np.uint8)))
    assert item.image.tolist() == [[[7, 7, 7]]]


def test_grey_alpha_and_16_bit_files_become_8_bit_bgr(items, encode, rng):
    grey = rng.integers(0, 256, (8, 9), np.uint8)
    bgra = rng.integers(0, 256, (8, 9, 4), np.uint8)
    deep = rng.integers(0, 65536, (8, 9, 3), np.uint16)
    found = [items(encode(image))[0].image for image in (grey, bgra, deep)]
    assert np.array_equal(found[0], np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(found[1], bgra[..., :3])
    assert np.array_equal(found[2], deep >> 8)


# More than 8 bits a sample


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_sensor_data_in_16_bits_is_scaled_with_a_warning(lite, image, encode, items, caplog, suffix, bits):
    """Read as 16 bits the image would be almost black, and nobody would be found."""
    (item,) = items(encode(image.astype(np.uint16) << (bits - 8), suffix))
    assert np.array_equal(item.image, image)
    assert f"{bits} bits" in caplog.text
    if (suffix, bits) == (".png", 10):
        (result,) = lite.predict(item.image)
        assert len(result.people) == 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_dark_image_stays_dark(image, encode, items, caplog, suffix):
    (eight,) = items(encode(image // 8, suffix))
    assert np.array_equal(eight.image, image // 8)
    (sixteen,) = items(encode(image.astype(np.uint16) * 100, suffix))
    assert np.array_equal(sixteen.image, image.astype(np.uint16) * 100 >> 8)
    (black,) = items(encode(np.zeros((5, 5), np.uint16), suffix))
    assert not black.image.any()
    assert not caplog.text


@pytest.mark.parametrize("scale", [1 / 255, 1])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_tiffs_are_read(image, encode, items, scale, channels, dtype):
    samples = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)[..., :channels] if channels > 1 else image[..., 0]
    (item,) = items(encode(np.ascontiguousarray(samples).astype(dtype) * scale, ".tif"))
    assert np.array_equal(item.image, image if channels > 1 else np.repeat(image[..., :1], 3, axis=2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1, 256])
def test_floats_of_an_unknown_range_are_refused(image, encode, only_error, bad):
    samples = image.astype(np.float32)
    samples[3, 4, 1] = bad
    assert "0..1" in only_error(encode(samples, ".tif"))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_signed_samples_are_refused(image, encode, only_error, dtype):
    assert "8 or 16 bits" in only_error(encode(image.astype(dtype), ".tif"))


@pytest.mark.parametrize(
    "exposure", [1, pytest.param(0.01, marks=pytest.mark.full), pytest.param(100, marks=pytest.mark.full)]
)
def test_radiance_files_are_tone_mapped(lite, image, encode, items, exposure):
    radiance = (image.astype(np.float32) / 255) ** 2.2 * exposure
    (item,) = items(encode(radiance, ".hdr"))
    assert item.image.dtype == np.uint8
    (result,) = lite.predict(item.image)
    assert len(result.people) == 2


@given(st.integers(0, 65535))
def test_16_bits_are_never_darker_than_their_upper_8(brightest):
    image = np.array([[0, brightest]], np.uint16)
    assert to_8_bit(image, "a")[0, 1] >= brightest >> 8


# Orientation, size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_the_exif_orientation_is_applied(tmp_path, items, suffix, orientation):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:5, :10] = 255  # a mark at the top left, before turning
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    (item,) = items(str(tmp_path / f"a{suffix}"))
    turned = orientation >= 5
    assert item.image.shape == ((40, 20, 3) if turned else (20, 40, 3))
    row, column = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    corners = [[item.image[y, x].mean() > 128 for x in (1, -2)] for y in (1, -2)]
    assert np.argwhere(corners).tolist() == [[row, column]]


def test_a_very_wide_image_is_read_and_a_wider_one_refused(items, only_error, encode):
    (item,) = items(encode(np.zeros((2, 30_000, 3), np.uint8)))
    assert item.image.shape == (2, 30_000, 3)
    message = only_error(encode(np.zeros((2, 33_000, 3), np.uint8)))
    assert "33000x2" in message
    assert "tiles" in message


def bilevel(side):
    """A square PNG of the given side, with one bit per pixel."""
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG")
    return stream.getvalue()


def test_a_decompression_bomb_is_refused_before_decoding(only_error):
    assert "pixels" in only_error(bilevel(int(MAX_PIXELS**0.5) + 5000))


@pytest.mark.filterwarnings("error")
def test_a_large_image_causes_no_warning():
    """Pillow warns from 89 megapixels on; the limit here is higher."""
    assert image_size(bilevel(10_000), "large.png") == (10_000, 10_000)


@pytest.mark.filterwarnings("error")
def test_a_decoder_warning_turned_error_is_an_input_error(encode, image):
    damaged = bytearray(encode(image, ".tif"))
    damaged[4:8] = (len(damaged) - 40).to_bytes(4, "little")  # the directory is said to be in the middle of something
    with pytest.raises(InputError):
        decode_image(bytes(damaged), "a.tif")


def test_reading_does_not_change_warning_filters(encode, image):
    """Warning filters are global to the process."""
    data, before = encode(image), list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode_image(data, "a") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


HEADS = [
    EXAMPLE.read_bytes()[:100],
    b"GIF89a",
    b"II*\0\x08\0\0\0",
    b"BM",
    b"RIFF\x10\0\0\0WEBPVP8 ",
    b"\xff\xd8\xff\xe0",
    b"P6 9 9 255\n",
    b"#?RADIANCE\n\n-Y 3 +X 4\n",
    b"\0\0\0\x1cftypavif",
    b"\0\0\0\x1cftypheic",
    b"%PDF-1.4\n",
]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@given(st.binary(max_size=300) | st.tuples(st.sampled_from(HEADS), st.binary(max_size=300)).map(b"".join))
def test_any_bytes_are_an_image_or_a_clear_error(data):
    try:
        decode_image(data, "fuzz")
    except InputError as error:
        assert str(error).startswith("fuzz: ")
    for item in read_items(data):
        assert isinstance(item.image, InputError) or item.image.dtype == np.uint8
