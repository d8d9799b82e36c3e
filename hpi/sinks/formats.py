"""The sinks of a stream by the names of their formats, and what an interrupted run has left of their files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hpi.errors import ConfigError, InputError
from hpi.io.fetch import is_url
from hpi.io.files import check_folder
from hpi.sinks.coco import CocoSink
from hpi.sinks.line_file import part_of
from hpi.sinks.lines import LinesSink, read_lines
from hpi.sinks.openpose import OpenPoseSink
from hpi.sinks.stream import NOTHING, Kept, StreamSink
from hpi.sinks.tables import CsvSink, ParquetSink
from hpi.sinks.target import refuse_inputs
from hpi.sinks.trc import TrcSink
from hpi.sinks.video import VideoSink, aside, kept_frames

if TYPE_CHECKING:
    from hpi.sources.streams import Stream

FORMATS = {
    "video": ".mp4",
    "coco": ".coco.json",
    "csv": ".csv",
    "parquet": ".parquet",
    "openpose": ".openpose",
    "trc": "_trc",
    "jsonl": ".jsonl",
}
"""What follows ``<name>_res`` in file names. JSON lines are written last: what they have, the other files have too."""
DEFAULT_FORMATS = ("video", "jsonl")


def open_sinks(
    stream: Stream,
    folder: Path,
    formats: Collection[str] = DEFAULT_FORMATS,
    *,
    smoothed: bool = False,
    inputs: Iterable[str] = (),
    kept: Kept = NOTHING,
) -> list[StreamSink]:
    """Open the files of a stream: ``<name>_res.mp4``, ``<name>_res.jsonl`` and so on.

    Args:
        stream: whose name, frame rate and audio they get; no two streams of a call may have the same name.
        folder: is made where it does not exist.
        formats: of :data:`FORMATS`.
        smoothed: also write the smoothed keypoints, into JSON lines and tables; TRC files have them alone.
        inputs: all files that the call reads, which are not overwritten.
        kept: what stays of an interrupted run (:func:`resume_point`).

    Returns:
        The sinks, in the order in which a result is to be added.

    Raises:
        ConfigError: there is no such format.
        InputError: a file cannot be written, or is an input.
    """
    paths = {name: result_path(folder, stream.name, name) for name in FORMATS if name in _known(formats)}
    for path in paths.values():
        refuse_inputs(path, (stream.path, *inputs))
    check_folder(folder, InputError)
    opening: dict[str, Callable[[Path], StreamSink]] = {
        "video": lambda path: VideoSink(path, rate=stream.rate, audio=file_of(stream), kept=kept),
        "coco": lambda path: CocoSink(path, kept=kept),
        "csv": lambda path: CsvSink(path, smoothed=smoothed, kept=kept),
        "parquet": lambda path: ParquetSink(path, smoothed=smoothed, kept=kept),
        "openpose": lambda path: OpenPoseSink(path, stream.name, kept=kept),
        "trc": lambda path: TrcSink(path, stream.name, rate=stream.rate, smoothed=smoothed, kept=kept),
        "jsonl": lambda path: LinesSink(path, smoothed=smoothed, kept=kept),
    }
    return [opening[name](path) for name, path in paths.items()]


def file_of(stream: Stream) -> Path | None:
    """The file that a stream is read from, whose audio its annotated video gets; None for other sources.

    Example:
        >>> from hpi.sources import open_stream
        >>> file_of(open_stream("examples")) is None
        True
    """
    has_file = not (stream.is_live or is_url(stream.path)) and Path(stream.path).is_file()
    return Path(stream.path) if has_file else None


def resume_point(folder: Path, name: str, formats: Collection[str] = DEFAULT_FORMATS) -> Kept:
    """What an interrupted run has left: the results that all of its files have.

    Args:
        folder: of the files.
        name: of the stream.
        formats: of the files, with ``"jsonl"``.

    Raises:
        ConfigError: there is no such format, or ``"jsonl"`` is not among them.
        InputError: the files are of other formats, the JSON lines are damaged, or PyAV is not installed.

    Example:
        >>> resume_point(Path("output"), "clip")
        Kept(frames=0, next_index=0)
    """
    if "jsonl" not in _known(formats):
        raise ConfigError("an interrupted run is continued from its JSON lines: resume with jsonl among the formats")
    lines, video = result_path(folder, name, "jsonl"), result_path(folder, name, "video")
    indices = [index for index, _, _ in read_lines(lines)] if lines.exists() else []
    there = [one for one in FORMATS if _is_there(result_path(folder, name, one))]
    if {*there} != {*formats} and (indices or not lines.exists()) and there:
        raise InputError(
            f"{folder}: the interrupted run wrote {name} in the formats {', '.join(there)}, not in "
            f"{', '.join(formats)}; resume with the same formats, or remove its files and start anew"
        )
    frames = kept_frames(video, len(indices)) if "video" in formats else len(indices)
    return Kept(frames, indices[frames - 1] + 1) if frames else NOTHING


def result_path(folder: Path, name: str, kind: str) -> Path:
    """The file, or the folder, of a stream's results in a format.

    Example:
        >>> result_path(Path("output"), "clip", "video").as_posix()
        'output/clip_res.mp4'
    """
    return folder / f"{name}_res{FORMATS[kind]}"


def _is_there(path: Path) -> bool:
    """Whether a file is there, whole, as the lines it is made of, or set aside."""
    return any(one.exists() for one in (path, part_of(path), aside(path)))


def _known(formats: Collection[str]) -> set[str]:
    if unknown := set(formats) - set(FORMATS):
        raise ConfigError(f"unknown format {', '.join(sorted(unknown))}; known are {', '.join(FORMATS)}")
    return set(formats)
