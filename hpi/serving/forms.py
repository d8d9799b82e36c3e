"""Images uploaded as a file of a form: ``multipart/form-data``."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from hpi.serving.fields import MAX_FIELDS, MAX_LETTERS, wrong

MAX_TEXT = 1 << 10
"""Size limit of a text field other than the image, in bytes."""

IMAGE_FIELDS = ("image", "file")

_PIECE = 256 << 10


@dataclass
class Form:
    """The parts of a form.

    Attributes:
        texts: text fields by name.
        files: content of files by field name; also image fields whose content is binary.

    Example:
        >>> form = Form(texts={"detThreshold": "0.5"}, files={"image": b"hello"})
        >>> form.texts["detThreshold"], len(form.files["image"])
        ('0.5', 5)
    """

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def add_text(self, part: Field) -> None:
        """Add a part without a file name."""
        name, value = self._new(part), part.value or b""
        if name in IMAGE_FIELDS:
            if value.isascii():
                self.texts[name] = value.decode("ascii")
            else:
                self.files[name] = value
        elif len(value) > MAX_TEXT:
            raise wrong("string_too_long", f"body.{name}", f"Send at most {MAX_TEXT} bytes of text")
        else:
            self.texts[name] = value.decode("utf-8", "replace")

    def add_file(self, part: File) -> None:
        """Add a part with a file name."""
        name = self._new(part)
        part.file_object.seek(0)  # in memory; the parser still uses it, so it is not closed here
        self.files[name] = part.file_object.read()

    def _new(self, part: Field | File) -> str:
        name = (part.field_name or b"").decode("utf-8", "replace")[:MAX_LETTERS]
        if name in self.texts or name in self.files:
            raise wrong("given_twice", f"body.{name}", "The form has this field twice; send it once")
        if len(self.texts) + len(self.files) >= MAX_FIELDS:
            raise wrong("too_many_fields", "body", f"Send a form of at most {MAX_FIELDS} fields")
        return name


def read_form(content_type: str, body: bytes | bytearray) -> Form:
    """Parse a form in memory.

    Args:
        content_type: the header, with the boundary.
        body: the whole body.

    Raises:
        RequestError: 422, it is not a form, or a field is too large or there twice.

    Example:
        >>> lines = ["--x", 'Content-Disposition: form-data; name="detThreshold"', "", "0.5", "--x--", ""]
        >>> content = bytes([13, 10]).join(line.encode() for line in lines)
        >>> read_form("multipart/form-data; boundary=x", content).texts
        {'detThreshold': '0.5'}
    """
    form = Form()
    kind, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        raise wrong("form_invalid", "header.content-type", "No boundary; let the HTTP library set this header")
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
