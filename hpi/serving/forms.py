"""Images that come as the file of a form: ``multipart/form-data``."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from hpi.serving.fields import MOST_FIELDS, MOST_LETTERS, wrong

MOST_TEXT = 1 << 10
"""Bytes of a text field other than the image."""

IMAGE_FIELDS = ("image", "file")

_PIECE = 256 << 10


@dataclass
class Form:
    """The parts of a form.

    Attributes:
        texts: text fields.
        files: files, and image fields whose content is no text.
    """

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add_text(self, part: Field) -> None:
        """Take in a part that has no file name."""
        name, value = self._new(part), part.value or b""
        if name in IMAGE_FIELDS:
            if value.isascii():
                self.texts[name] = value.decode("ascii")
            else:
                self.files[name] = value
        elif len(value) > MOST_TEXT:
            raise wrong("string_too_long", f"body.{name}", f"Text of at most {MOST_TEXT} bytes is taken")
        else:
            self.texts[name] = value.decode("utf-8", "replace")

    def add_file(self, part: File) -> None:
        """Take in a file."""
        name = self._new(part)
        part.file_object.seek(0)
        self.files[name] = part.file_object.read()
        part.close()

    def _new(self, part: Field | File) -> str:
        name = (part.field_name or b"").decode("utf-8", "replace")[:MOST_LETTERS]
        if name in self.texts or name in self.files:
            raise wrong("given_twice", f"body.{name}", "The form has this field twice")
        if len(self.texts) + len(self.files) >= MOST_FIELDS:
            raise wrong("too_many_fields", "body", f"A form of at most {MOST_FIELDS} fields is taken")
        return name


def read_form(content_type: str, body: bytes | bytearray) -> Form:
    """Take a form apart, in memory.

    Args:
        content_type: the header, with the boundary.
        body: all of it.

    Raises:
        RequestError: it is not one.
    """
    form = Form()
    kind, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        raise wrong("form_invalid", "header.content-type", "No boundary; let the HTTP library write this header")
    try:
        parser = FormParser(
            kind.decode("latin-1"),
            on_field=form.add_text,
            on_file=form.add_file,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(body)},
        )
        for start in range(0, len(body), _PIECE):
            parser.write(bytes(body[start : start + _PIECE]))
        parser.finalize()
    except FormParserError as error:
        raise wrong("form_invalid", "body", f"Not a form: {error}") from error
    return form
