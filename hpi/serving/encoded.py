"""Images as text: base64 in the forms in which clients send it."""

from __future__ import annotations

import base64
import re
import string
from typing import NamedTuple

from hpi.errors import InputError

PHOTO = "the photo"

_DATA_URL = re.compile(r"\s*data:([^,]{0,200}?)(;base64)?,", re.IGNORECASE)
_ALPHABET = (string.ascii_letters + string.digits + "+/=").encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_OTHERS = bytes(set(range(256)) - set(_ALPHABET + b"-_"))


class Decoded(NamedTuple):
    """Bytes that stood in a text.

    Attributes:
        data: the bytes.
        label: what to call them in an error.
    """

    data: bytes
    label: str


def from_base64(text: str) -> Decoded:
    """The bytes that base64 stands for.

    As PaddleX does, it passes over what is outside the alphabet, such as line breaks, and over what follows the
    padding. It also takes a data URL, the alphabet that is safe in URLs, and base64 without its padding.

    Raises:
        InputError: it is none.
    """
    if "://" in text[:16]:
        raise InputError("image: only http and https URLs, or base64")
    try:
        return Decoded(base64.b64decode(text, validate=True), PHOTO)
    except ValueError:  # not in the plain form, which is the fast one
        return _from_any_form(text)


def _from_any_form(text: str) -> Decoded:
    if prefix := _DATA_URL.match(text):
        if not prefix[2]:
            raise InputError("image: a data URL that is not base64: begin it with data:image/jpeg;base64,")
        text = text[prefix.end() :]
    try:
        letters = text.encode("ascii").translate(_URL_SAFE, _OTHERS)
        data = base64.b64decode(letters + b"==")
    except ValueError as error:  # not ASCII, or a letter too many
        raise InputError(f"image: neither a URL nor base64: {error}") from error
    plain = len(letters) == len("".join(text.split()))
    return Decoded(data, PHOTO if plain else "image, read as base64 without the characters that are none")
