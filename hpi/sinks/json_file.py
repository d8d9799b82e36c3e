"""JSON files of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpi.sinks.target import target_file, write

if TYPE_CHECKING:
    from hpi.results import Result


def save_json(result: Result, path: Path, indent: int = 4, ensure_ascii: bool = False, **options: Any) -> Path:
    """Save a result as JSON.

    Args:
        result: what to save.
        path: a file ending in ``.json``, or a folder to save ``<name>_res.json`` in.
        indent: spaces a level.
        ensure_ascii: escape other characters.
        options: others of :func:`json.dumps`, such as ``sort_keys``.

    Returns:
        The file written.

    Raises:
        InputError: it cannot be written, or is the input itself.

    Example:
        >>> import tempfile
        >>> from hpi import DetectionResult, Frame, Instances
        >>> import numpy as np
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), Instances.empty(), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_json(result, Path(folder)).name
        'a_res.json'
    """
    target = target_file(path, "application/json", f"{Path(result.name).stem}_res.json")
    text = json.dumps(result.json["res"], indent=indent, ensure_ascii=ensure_ascii, **options)
    # A file name that is not UTF-8 has lone surrogates; escaped, they are valid JSON.
    return write(target, text.encode("utf-8", "backslashreplace"), result.path)
