"""Reading annotation files, whose content is not trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hpi.errors import InputError

Pixels = Annotated[float, Field(ge=-1e5, le=1e5)]
Size = Annotated[int, Field(ge=1, le=100_000)]
MANY = 10
"""From this many people on, a problem that most of them have is one of the whole file."""


def leads_out(name: str) -> bool:
    """Whether the name of a file leads out of the folder that it is relative to.

    Example:
        >>> leads_out("train/a.png"), leads_out("../a.png"), leads_out("/a.png")
        (False, True, True)
    """
    path = Path(name)
    return bool(path.anchor) or ".." in path.parts


def _inside(name: str) -> str:
    if leads_out(name):
        raise ValueError("leads out of the folder of images; give it relative to that")
    return Path(name).as_posix()


FileName = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_inside)]
"""Name of a file in the folder of images, one spelling for each: ``a.png`` for ``./a.png``."""


class Entry(BaseModel):
    """An entry of an annotation file; fields that are not named here are ignored.

    Example:
        >>> class Size(Entry):
        ...     width: int
        >>> Size.model_validate({"width": 640, "licence": "unknown"})
        Size(width=640)
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


def read_json(path: Path, if_missing: str = "", if_broken: str = "") -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        if_missing: what to do if it cannot be read, for the message.
        if_broken: what to do if it is not JSON, for the message.

    Raises:
        InputError: it cannot be read, or is not JSON.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.json")
        ...     _ = path.write_text('{"images": []}')
        ...     read_json(path)
        {'images': []}
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}{if_missing}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}{if_broken}") from error


def to_json(content: Any, indent: int | None = None) -> bytes:
    """Content as JSON in UTF-8, without escapes.

    Example:
        >>> to_json({"id": 1, "name": "person"})
        b'{"id": 1, "name": "person"}'
    """
    return json.dumps(content, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def existing(images: Path, names: Iterable[str]) -> set[str]:
    """The names for which there is a file in the folder of images.

    Raises:
        InputError: there is none.

    Example:
        >>> existing(Path("examples"), ["basketball.png", "nobody.png"])
        {'basketball.png'}
    """
    names = list(names)
    there = {name for name in names if is_file(images / name)}
    if not there:
        raise InputError(f"{images}: none of the {len(names)} annotated images is in this folder, such as {names[0]}")
    return there


def is_file(path: Path) -> bool:
    """Whether the file exists; False also for a name that no file can have.

    Example:
        >>> is_file(Path("examples/basketball.png")), is_file(Path("a" * 10_000))
        (True, False)
    """
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL
        return False
