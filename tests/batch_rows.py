"""Running a batch in a process; the rows that it has written, and those that the same files should have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hpi import Predictor
from hpi.distributed.output import Output
from hpi.distributed.shards import IMAGES, PEOPLE
from hpi.results import Result

from support import BOX_ROUNDING, assert_same_keypoints

Row = dict[str, Any]


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start ``hpi batch``."""
    command = [sys.executable, "-m", "hpi", "batch", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(output: Path) -> dict[str, int]:
    """The names of the parts that are done, with their times."""
    return {file.name: file.stat().st_mtime_ns for file in (output / "images").glob("part-*.parquet")}


def shared_pictures(shared: Path) -> list[Path]:
    """The shared pictures, of both kinds."""
    return sorted(shared.glob("data/coco_val/images/*.jpg")) + sorted(shared.glob("data/photos/*.jpg"))


def rows_of(output: str | Path, table: str) -> list[Row]:
    """The rows of a table, by file, page, frame; those of one image in their order."""
    rows = Output(str(output)).dataset(table).to_table().to_pylist()
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[str, int, int]:
    return row["file"], row["page"] or 0, -1 if row["frame_index"] is None else row["frame_index"]


def expected_rows(results: Iterable[Result]) -> list[Row]:
    """The rows of people in results of a predictor."""
    rows = []
    for result in results:
        frame = result.frame
        where = {"file": frame.path, "page": frame.page, "frame_index": frame.index, "time_s": frame.time_s}
        columns = {name: np.asarray(values).tolist() for name, values in result.columns().items()}
        rows += [where | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return sorted(rows, key=_place)


def assert_same_rows(output: str | Path, results: Iterable[Result]) -> None:
    """Assert that a batch has found what a predictor finds, row for row: everybody once, at most rounding apart."""
    results = list(results)
    found, expected = rows_of(output, PEOPLE), expected_rows(results)
    assert [_place(row) for row in found] == [_place(row) for row in expected]
    images = rows_of(output, IMAGES)
    assert [_place(row) for row in images if row["status"] == "ok"] == sorted(
        _place({"file": one.frame.path, "page": one.frame.page, "frame_index": one.frame.index}) for one in results
    )
    assert sum(row["people"] for row in images) == len(found)
    for name in ("time_s", "track_id"):
        assert [row[name] for row in found] == [_known(row.get(name)) for row in expected]
    for name in ("score", "x1", "y1", "x2", "y2"):
        off = np.array([row[name] for row in found]) - [row[name] for row in expected]
        assert np.abs(off).max(initial=0) < BOX_ROUNDING
    names = [name.removesuffix("_score") for name in found[0] if name.endswith("_score")]
    points = [
        [[[row[f"{name}_{axis}"] for axis in ("x", "y", "score")] for name in names] for row in rows]
        for rows in (found, expected)
    ]
    assert_same_keypoints(*points, cell=4)


def _known(track_id: Any) -> Any:
    return None if track_id == -1 else track_id


def deadly(**_: Any) -> Predictor:
    """Kills its process in the place of a predictor, as where the memory is too small for the models."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def deadly_with_images(name: str, **options: Any) -> Predictor:
    """A predictor that kills its process when it sees images."""
    predictor = Predictor(name, **options)
    predictor.side_by_side = deadly  # type: ignore[method-assign, assignment]
    return predictor


def failing_with_images(name: str, **options: Any) -> Predictor:
    """A predictor that fails when it sees images."""
    predictor = Predictor(name, **options)
    predictor.side_by_side = None  # type: ignore[method-assign, assignment]
    return predictor
