"""Images as text: base64 in all the variants that clients send."""

from __future__ import annotations

import base64
import re
import string
from typing import NamedTuple

from hpi.errors import InputError

IMAGE_LABEL = "the image"
"""What errors call an image that has no name."""

_DATA_URL = re.compile(r"\s*data:([^,]{0,200}?)(;base64)?,", re.IGNORECASE)
_ALPHABET = (string.ascii_letters + string.digits + "+/=").encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_OTHERS = bytes(set(range(256)) - set(_ALPHABET + b"-_"))


class Decoded(NamedTuple):
    """Bytes decoded from text.

    Attributes:
        data: the bytes.
        label: what to call them in an error.

    Example:
        >>> Decoded(b"hello", IMAGE_LABEL).label
        'the image'
    """

    data: bytes
    label: str


def from_base64(text: str) -> Decoded:
    """Decode base64.

    Like PaddleX, it ignores characters outside the alphabet, such as line breaks, and everything after the padding. It
    also accepts data URLs, the URL-safe alphabet, and base64 without padding.

    Raises:
        InputError: the text is not base64.

    Example:
        >>> from_base64("aGVsbG8").data, from_base64("data:image/png;base64,aGVs bG8=").data
        (b'hello', b'hello')
    """
    if "://" in text[:16]:
        raise InputError("image: only http and https URLs or base64 are accepted")
    try:
        return Decoded(base64.b64decode(text, validate=True), IMAGE_LABEL)
    except ValueError:  # not plain base64, which is decoded fastest
        return _from_any_form(text)


def _from_any_form(text: str) -> Decoded:
    if prefix := _DATA_URL.match(text):
        if not prefix[2]:
            raise InputError("image: a data URL that is not base64; start it with data:image/jpeg;base64,")
        text = text[prefix.end() :]
    try:
        letters = text.encode("ascii").translate(_URL_SAFE, _OTHERS)
        data = base64.b64decode(letters + b"==")
    except ValueError as error:  # not ASCII, or one letter too many
        raise InputError(f"image: neither a URL nor base64: {error}") from error
    plain = len(letters) == len("".join(text.split()))
    return Decoded(data, IMAGE_LABEL if plain else "the image, read as base64 without the invalid characters")
