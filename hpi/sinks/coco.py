"""COCO's results format, of a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hpi.errors import InputError
from hpi.io.files import written_whole
from hpi.sinks.line_file import GrowingSink, part_of, whole_lines
from hpi.sinks.stream import NOTHING, Kept

if TYPE_CHECKING:
    from hpi.results import Result


class CocoSink(GrowingSink):
    """Writes one JSON file of all entries: those of :meth:`hpi.results.Result.to_coco`, with the frame as ``image_id``.

    Until it is closed, the entries are lines of a file beside it, with ``.part`` after its name.

    Args:
        path: the file.
        kept: what stays of an interrupted run.

    Raises:
        InputError: the file cannot be written, or what stays is another program's.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]], track_ids=[3])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = CocoSink(Path(folder) / "a_res.coco.json")
        ...     sink.add(DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), index=7), found, ()))
        ...     sink.close()
        ...     entry = json.loads(sink.path.read_text())[0]
        >>> entry["image_id"], entry["bbox"], entry["track_id"]
        (7, [0.0, 0.0, 8.0, 8.0], 3)
    """

    def __init__(self, path: Path, *, kept: Kept = NOTHING) -> None:
        self._part = part_of(path)
        if kept.frames and not self._part.exists() and path.exists():
            with written_whole(self._part) as part:
                part.write_bytes(b"".join(line.strip(b",\n") + b"\n" for line in whole_lines(path) if line[:1] == b"{"))
        super().__init__(path, kept, self._part)

    def text(self, result: Result) -> str:
        """A line for each entry."""
        return "".join(f"{json.dumps(entry)}\n" for entry in result.to_coco(image_id=result.frame.index or 0))

    def frame_of(self, line: bytes) -> int:
        """Index of the frame of an entry."""
        try:
            return int(json.loads(line)["image_id"])
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise InputError(
                f"{self._part}: is damaged; start anew, into another folder or without resuming"
            ) from error

    def close(self) -> None:
        """Make one JSON file of the lines."""
        super().close()
        if not self._part.exists():  # closed before
            return
        try:
            with written_whole(self.path) as whole, whole.open("wb") as file:
                before = b"[\n"
                for line in whole_lines(self._part):
                    file.write(before + line.rstrip())
                    before = b",\n"
                file.write(b"[]\n" if before == b"[\n" else b"\n]\n")
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.path}: cannot be written: {reason}; its lines are in {self._part}") from error
        self._part.unlink()
