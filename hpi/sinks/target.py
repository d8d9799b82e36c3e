"""The file that a result is saved in."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from pathlib import Path

from hpi.errors import InputError
from hpi.io.files import save


def target_file(path: Path, kind: str, name: str) -> Path:
    """The path itself where it names a file of a kind (``"image/"``), else a file in that folder.

    Example:
        >>> target_file(Path("out"), "image/", "a_res.png").as_posix()
        'out/a_res.png'
        >>> target_file(Path("out/b.jpg"), "image/", "a_res.png").as_posix()
        'out/b.jpg'
    """
    guessed = mimetypes.guess_type(path.name)[0] or ""
    return path if guessed.startswith(kind) and not path.is_dir() else path / name


def write(target: Path, data: bytes, source: str | None) -> Path:
    """Write a file whole, but never over the input.

    Raises:
        InputError: it cannot be written, or is the input itself.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder) / "a_res.json", b"{}", source="a.jpg").read_bytes()
        b'{}'
    """
    refuse_inputs(target, [source])
    save(target, data, InputError)
    return target


def refuse_inputs(target: Path, sources: Iterable[str | None]) -> None:
    """Check that a file to write is none of those that are read.

    Raises:
        InputError: it is the input itself.

    Example:
        >>> refuse_inputs(Path("a_res.mp4"), ["a.mp4"])
    """
    if any(_is_same_file(target, source) for source in sources):
        raise InputError(f"{target}: is the input itself, which is not overwritten; save to another place")


def _is_same_file(target: Path, source: str | None) -> bool:
    try:
        return source is not None and target.samefile(source)
    except (OSError, ValueError):  # one of them is no file
        return False
