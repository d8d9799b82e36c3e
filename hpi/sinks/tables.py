"""Tables of a stream: a row for each person in each frame."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpi.errors import InputError
from hpi.io.files import written_whole
from hpi.sinks.line_file import GrowingSink, part_of
from hpi.sinks.stream import NOTHING, Kept
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from hpi.results import Result

_TYPES = {"frame_index": "int64", "time_s": "double", "track_id": "int64", "interpolated": "bool", "label": "string"}
"""Arrow's types; the other columns are float32."""
_FIRST = ("frame_index", "time_s", "track_id", "interpolated", "score", "x1", "y1", "x2", "y2")
_GROUP_BYTES = 1 << 24


class CsvSink(GrowingSink):
    """Writes CSV: columns ``frame_index``, ``time_s``, ``track_id``, ``interpolated``, ``score``, ``x1`` to ``y2``.

    Then ``label`` of a detector, or ``nose_x``, ``nose_y``, ``nose_score`` and so on. What is not known is empty.

    Args:
        path: the file.
        smoothed: also write ``nose_smoothed_x``, ``nose_smoothed_y`` and so on.
        kept: what stays of the file of an interrupted run.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from hpi import DetectionResult, Frame, Instances
        >>> found = Instances([0.5], boxes=[[0, 0, 8, 8]], track_ids=[3])
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), index=7, time_s=0.28)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = CsvSink(Path(folder) / "a_res.csv")
        ...     sink.add(DetectionResult(frame, found, ("person",)))
        ...     sink.close()
        ...     print(sink.path.read_text(), end="")
        frame_index,time_s,track_id,interpolated,score,x1,y1,x2,y2,label
        7,0.28,3,false,0.5,0.0,0.0,8.0,8.0,person
    """

    def __init__(self, path: Path, *, smoothed: bool = False, kept: Kept = NOTHING, lines: Path | None = None) -> None:
        self._smoothed = smoothed
        self._kept_names: list[str] | None = None
        super().__init__(path, kept, lines)

    def text(self, result: Result) -> str:
        """The rows of a frame; before the first, the names of the columns."""
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        names = _names(result, self._smoothed)
        if not self._lines.size:
            writer.writerow(names)
        elif self._kept_names not in (None, names):
            raise InputError(f"{self.path}: has other columns: resume with the same model and options, or start anew")
        columns, nothing = _columns(result, self._smoothed), [""] * len(result.instances)
        writer.writerows(zip(*(columns.get(name, nothing) for name in names), strict=True))
        return rows.getvalue()

    def frame_of(self, line: bytes) -> int:
        """Index of the frame of a row."""
        first = line.partition(b",")[0]
        if first == b"frame_index":
            self._kept_names = next(csv.reader([line.decode(errors="replace")]))
            return -1
        try:
            return int(first)
        except ValueError as error:
            raise InputError(f"{self.path}: is damaged; start anew, into another folder or without resuming") from error


class ParquetSink(CsvSink):
    """Writes Parquet, with the columns of :class:`CsvSink`.

    A Parquet file cannot be read before its end is written. Until the sink is closed, the rows are a CSV file beside
    it, with ``.part`` after its name.

    Args:
        path: the file.
        smoothed: as of :class:`CsvSink`.
        kept: what stays of an interrupted run.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from hpi import DetectionResult, Frame, Instances
        >>> frame = Frame(np.zeros((8, 8, 3), np.uint8), index=7, time_s=0.28)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = ParquetSink(Path(folder) / "a_res.parquet")
        ...     sink.add(DetectionResult(frame, Instances([0.5], boxes=[[0, 0, 8, 8]]), ("person",)))
        ...     sink.close()
        ...     import pyarrow.parquet
        ...     pyarrow.parquet.read_table(sink.path).to_pylist()[0]["label"]
        'person'
    """

    def __init__(self, path: Path, *, smoothed: bool = False, kept: Kept = NOTHING) -> None:
        try:
            import pyarrow.csv
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(f'{path}: writing Parquet needs pyarrow: pip install "hpi-pose[table]"') from error
        self._part = part_of(path)
        try:
            if kept.frames and not self._part.exists() and path.exists():
                with written_whole(self._part) as part:
                    _to_csv(path, part)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: cannot be continued: {error}; start anew") from error
        super().__init__(path, smoothed=smoothed, kept=kept, lines=self._part)

    def close(self) -> None:
        """Make a Parquet file of the rows."""
        import pyarrow

        super().close()
        if not self._lines.size or not self._part.exists():  # nothing was added, or it is closed already
            return
        try:
            with written_whole(self.path) as whole:
                _to_parquet(self._part, whole)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(
                f"{self.path}: cannot be written: {error}; its rows are in {self._part}, as CSV"
            ) from error
        self._part.unlink()


def _names(result: Result, smoothed: bool) -> list[str]:
    """The columns, the same for all frames of a stream."""
    names = [*_FIRST, *(["label"] if result.skeleton is None else [])]
    names += [f"{name}_{part}" for name in result.keypoint_names for part in ("x", "y", "score")]
    if smoothed:
        names += [f"{name}_smoothed_{part}" for name in result.keypoint_names for part in ("x", "y")]
    return names


def _columns(result: Result, smoothed: bool) -> dict[str, list[str]]:
    """Texts of the columns that are known; of float32 the shortest that reads back as the same."""
    count = len(result.instances)
    columns: dict[str, Any] = result.columns()
    if smoothed and result.smoothed is not None:
        for index, name in enumerate(result.keypoint_names):
            x, y = result.smoothed.points[:, index, :2].T
            columns |= {f"{name}_smoothed_x": x, f"{name}_smoothed_y": y}
    texts = {name: np.asarray(values).astype(str).tolist() for name, values in columns.items()}
    unseen = result.instances.interpolated
    return texts | {
        "frame_index": [f"{result.frame.index}"] * count,
        "time_s": [f"{result.frame.time_s}"] * count,
        "track_id": ["" if track_id == UNTRACKED else f"{track_id}" for track_id in result.track_ids],
        "interpolated": ["false"] * count if unseen is None else [f"{one}".lower() for one in unseen],
    }


def _to_parquet(source: Path, target: Path) -> None:
    """By groups of rows, so that memory stays flat."""
    import pyarrow.csv
    import pyarrow.parquet

    with source.open(encoding="utf-8", newline="") as file:
        types = {name: _TYPES.get(name, "float32") for name in next(csv.reader(file))}
    rows = pyarrow.csv.open_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(block_size=_GROUP_BYTES, use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={n: pyarrow.type_for_alias(t) for n, t in types.items()}
        ),
    )
    with pyarrow.parquet.ParquetWriter(target, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def _to_csv(source: Path, target: Path) -> None:
    """The way back."""
    import pyarrow.csv
    import pyarrow.parquet

    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    with pyarrow.parquet.ParquetFile(source) as file, target.open("wb") as part:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(file.schema_arrow.names)
        part.write(header.getvalue().encode())
        with pyarrow.csv.CSVWriter(part, file.schema_arrow, write_options=options) as writer:
            for batch in file.iter_batches():
                writer.write_batch(batch)
