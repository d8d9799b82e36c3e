"""Fixtures for the tests of inputs."""

import cv2
import pytest

from hpi.errors import InputError
from hpi.sources import read_items


@pytest.fixture
def items():
    """All items of an input."""
    return lambda source, **options: list(read_items(source, **options))


@pytest.fixture
def only_error(items):
    """The message of an input whose only item is an error."""

    def read(source, **options):
        (item,) = items(source, **options)
        assert isinstance(item.image, InputError)
        return str(item.image)

    return read


@pytest.fixture
def encode():
    """Encodes an image as the content of a file."""
    return lambda image, suffix=".png", *options: cv2.imencode(suffix, image, list(options))[1].tobytes()


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return write_file
