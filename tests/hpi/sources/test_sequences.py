"""Numbered images and folders are streams of one rate; a missing or damaged image keeps its place in time."""

from fractions import Fraction

import cv2
import pytest

from hpi import InputError
from hpi.sources import StreamOptions, open_stream


@pytest.fixture
def frames(tmp_path, image):
    """A function that writes images of these numbers and returns their pattern."""

    def write(*numbers, name="img_{:03d}.png"):
        for number in numbers:
            cv2.imwrite(str(tmp_path / name.format(number)), image[number % 100 :, :100])
        return str(tmp_path / "img_%03d.png")

    return write


def test_frames_have_the_time_of_their_number(frames, image):
    pattern = frames(*range(8, 12))
    stream = open_stream(pattern, StreamOptions(rate=10))
    assert (stream.name, stream.path, stream.rate, stream.count, stream.is_live) == ("img", pattern, 10, 4, False)
    found = list(stream)
    assert [(frame.index, frame.time_s, frame.stream) for frame in found] == [
        (0, 0.0, "img"), (1, 0.1, "img"), (2, 0.2, "img"), (3, 0.3, "img"),
    ]  # fmt: skip
    assert (found[2].image == image[10:, :100]).all()
    assert found[2].path == pattern.replace("%03d", "010")


def test_without_a_rate_there_are_25_frames_a_second(frames):
    assert open_stream(frames(0)).rate == 25


def test_a_rate_that_is_no_whole_number(frames):
    stream = open_stream(frames(0, 1), StreamOptions(rate=Fraction(30000, 1001)))
    assert [frame.time_s for frame in stream] == [0, pytest.approx(1001 / 30000)]


def test_missing_and_damaged_images_are_reported_in_their_place(frames, tmp_path):
    pattern = frames(1, 2, 5, 6)
    (tmp_path / "img_005.png").write_bytes(b"no image")
    first, second, gap, damaged, last = open_stream(pattern, StreamOptions(rate=1))
    assert [frame.time_s for frame in (first, second, last)] == [0, 1, 5]
    assert str(gap).startswith(f"{pattern}: 2 images are missing before")
    assert "img_005.png: not an image" in str(damaged)


def test_numbers_longer_than_the_pattern_follow(frames):
    """As C's printf writes them: 1000 after 999, but never 0998."""
    pattern = frames(999, 1000)
    frames(998, name="img_{:04d}.png")
    frames(998, name="img_{:03d}.jpg")
    frames(998, name="img_x{:03d}.png")
    assert [frame.index for frame in open_stream(pattern)] == [0, 1]


def test_numbers_without_leading_zeros(frames, tmp_path):
    frames(9, 10, name="{}.png")
    frames(1, name="{:02d}.png")
    assert [frame.path for frame in open_stream(str(tmp_path / "%d.png"))] == [
        str(tmp_path / "9.png"), str(tmp_path / "10.png"),
    ]  # fmt: skip


def test_a_folder_is_a_stream_in_natural_order(frames, tmp_path):
    frames(2, 10, name="img_{}.png")
    (tmp_path / "notes.txt").write_text("walk")
    stream = open_stream(tmp_path, StreamOptions(rate=4))
    assert [(frame.path, frame.time_s) for frame in stream] == [
        (str(tmp_path / "img_2.png"), 0.0), (str(tmp_path / "img_10.png"), 0.25),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "says"),
    [("none_%05d.png", "no image with a name like this"), ("none/%d.png", "none: cannot be listed"), ("", "no images")],
)
def test_without_images_it_is_an_error(tmp_path, source, says):
    with pytest.raises(InputError, match=says):
        open_stream(tmp_path / source)


def test_a_closed_sequence_ends(frames):
    stream = open_stream(frames(1, 2, 3))
    read = iter(stream)
    next(read)
    stream.close()
    assert list(read) == []
