"""What PaddleDetection's deployment scripts do with a video or a camera: one annotated video, and a result file."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field

from hpi.cli.errors import Reported
from hpi.compat.paddledetection.smoothing import make_smoother
from hpi.compat.paddlex.results import KeypointResult
from hpi.errors import ConfigError
from hpi.io.validation import parse, read_yaml
from hpi.saving import save_streams
from hpi.sinks.formats import file_of
from hpi.sinks.stream import StreamSink
from hpi.sinks.target import refuse_inputs
from hpi.sinks.video import VideoSink
from hpi.sources.opening import open_stream
from hpi.sources.streams import Stream
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from hpi.compat.paddledetection.scripts import Saved
    from hpi.predictor import Predictor

CAMERA_NAME = "output"
"""What the video of a camera is called."""


class ByteTrackSection(BaseModel):
    """The fields of ``JDETracker`` in ``tracker_config.yml`` that are used, with the values of PaddleDetection's file.

    Example:
        >>> ByteTrackSection().conf_thres
        0.6
    """

    model_config = ConfigDict(frozen=True)
    use_byte: Literal[True] = True
    conf_thres: Annotated[float, Field(ge=0, le=1)] = 0.6


class TrackerConfig(BaseModel):
    """``tracker_config.yml``: the tracker of a detector without embeddings.

    Example:
        >>> TrackerConfig().section.conf_thres
        0.6
    """

    model_config = ConfigDict(frozen=True)
    type: Literal["JDETracker"] = "JDETracker"
    section: Annotated[ByteTrackSection, Field(alias="JDETracker")] = ByteTrackSection()


def read_tracker_config(path: str | None) -> TrackerConfig:
    """Read ``--tracker_config``; None: as PaddleDetection's own file is.

    Raises:
        ConfigError: it cannot be read, or asks for another tracker than ByteTrack.

    Example:
        >>> read_tracker_config(None).type
        'JDETracker'
    """
    return TrackerConfig() if path is None else parse(TrackerConfig, read_yaml(Path(path)), path)


def is_video_asked(flags: Mapping[str, Any]) -> bool:
    """Whether ``--video_file`` or ``--camera_id`` is given; they outrank images.

    Example:
        >>> is_video_asked({"video_file": None, "camera_id": -1})
        False
    """
    return flags["video_file"] is not None or flags["camera_id"] != -1


def run_video(
    predictor: Predictor,
    flags: Mapping[str, Any],
    saved: Saved,
    *,
    filter_type: str | None = None,
    **arguments: Any,
) -> None:
    """Find people in a video or before a camera, and write what was found.

    A camera is read until Ctrl-C.

    Args:
        predictor: finds them.
        flags: with ``video_file``, ``camera_id`` and ``output_dir``.
        saved: takes the results.
        filter_type: smooth the keypoints of whoever is alone, by a filter of PaddleDetection; None: smooth nothing.
        arguments: of :meth:`hpi.predictor.Predictor.stream`.

    Raises:
        HpiError: the video cannot be read, or the results cannot be saved.
        typer.Exit: with code 1, at the end, if a frame could not be used.
    """
    report = Reported()
    stream = _open(flags)
    results = _taken(predictor.stream([stream], on_error=report, **arguments), saved, filter_type)
    sinks = _sinks(saved.video(stream.name), stream)
    count, ids = 0, set()
    with closing(save_streams(results, {stream.name: sinks})) as written:
        try:
            for result in written:
                count += 1
                ids.update(result.track_ids.tolist())
        except KeyboardInterrupt:
            if not stream.is_live:
                raise
    people = f", {len(ids - {UNTRACKED})} people followed" if arguments.get("tracker") else ""
    print(f"{stream.path}: {count} frames{people}")  # noqa: T201
    for file in (*(sink.path for sink in sinks if count), saved.write(0)):
        if file is not None:
            print(f"saved {file}")  # noqa: T201
    if report.count:
        raise typer.Exit(1)


def _open(flags: Mapping[str, Any]) -> Stream:
    camera, video = flags["camera_id"], flags["video_file"]
    if camera != -1:
        if camera < 0:
            raise ConfigError(f"--camera_id {camera}: give the number of a camera, 0 for the first")
        return open_stream(camera, name=CAMERA_NAME)
    return open_stream(video)


def _sinks(target: Path | None, stream: Stream) -> list[StreamSink]:
    """The annotated video, if one is saved."""
    if target is None:
        return []
    refuse_inputs(target, [stream.path])
    return [VideoSink(target, rate=stream.rate, audio=file_of(stream))]


def _taken(results: Iterator[Any], saved: Saved, filter_type: str | None) -> Generator[KeypointResult]:
    """The results, smoothed and ready to be drawn."""
    smoother, alone = None, 0
    for result in results:
        assert isinstance(result, KeypointResult)  # the commands refuse a detector in its place
        if filter_type is not None and len(result.instances) == 1:
            height, width = result.image.shape[:2]
            smoother = smoother or make_smoother(filter_type, (width, height))
            alone += 1
            person = smoother.update(result.instances.replaced(track_ids=[0]), alone)
            result.smoothed = person.replaced(track_ids=None)
        saved.add(result)
        yield result
