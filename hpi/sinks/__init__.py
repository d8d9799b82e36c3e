"""Where results go: one file for each kind of output. A new sink needs its file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpi.sinks.json_file import save_json
from hpi.sinks.picture import save_picture

if TYPE_CHECKING:
    from hpi.results import Result

Sink = Callable[["Result", Path], Path]
"""Saves a result into a folder, or as the file that is named, and gives the file written."""

SINKS: dict[str, Sink] = {"json": save_json, "picture": save_picture}
"""By the names that :meth:`hpi.results.Result.save` takes, in the order in which they are written."""
