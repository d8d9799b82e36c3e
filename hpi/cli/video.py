"""``hpi predict`` on videos, cameras and streams: one annotated video and one file of results for each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from hpi.cli.errors import Reported
from hpi.errors import InputError
from hpi.instances import Instances
from hpi.saving import save_streams
from hpi.sinks.formats import DEFAULT_FORMATS, open_sinks, result_path, resume_point
from hpi.sinks.lines import read_lines
from hpi.sinks.stream import NOTHING, StreamSink
from hpi.sources.opening import has_no_end, open_stream, stream_names
from hpi.sources.streams import ResumedStream, Stream
from hpi.streaming import OnError
from hpi.tracking.base import UNTRACKED

if TYPE_CHECKING:
    from hpi.cli.predict import Output, StreamSettings
    from hpi.predictor import Predictor
    from hpi.results import Result

MOST_SIDE_BY_SIDE = 8
"""Streams that are read and written at a time: each has a decoder, an encoder and frames that wait."""


def follow(predictor: Predictor, sources: Sequence[str], output: Output, settings: StreamSettings) -> bool:
    """Follow people through streams; save and print what was found.

    Returns:
        Whether every stream could be opened, and every frame be used.

    Raises:
        InputError: results cannot be saved.
        HpiError: as of :meth:`hpi.predictor.Predictor.stream`.
    """
    report = Reported()
    named = [*zip(sources, stream_names(sources), strict=True)]
    named.sort(key=lambda one: has_no_end(one[0]))  # else those after it might wait for ever
    for first in range(0, len(named), MOST_SIDE_BY_SIDE):
        with ExitStack() as stack:
            opened = []
            for source, name in named[first : first + MOST_SIDE_BY_SIDE]:
                try:
                    stream = stack.enter_context(closing(open_stream(source, settings.options, name=name)))
                    opened.append(_Opened(stream, output.folder, settings))
                except InputError as error:
                    report(error)
            _follow(predictor, opened, output, settings, report, sources)
    return not report.count


def _follow(
    predictor: Predictor,
    opened: Sequence[_Opened],
    output: Output,
    settings: StreamSettings,
    report: OnError,
    inputs: Sequence[str],
) -> None:
    """Follow people through streams side by side."""
    by_name = {one.stream.name: one for one in opened}
    with _progress(output) as progress:
        tasks = {one.stream.name: progress.add_task(one.stream.name, total=one.stream.count) for one in opened}
        results = predictor.stream(
            [one.stream for one in opened],
            earlier={one.stream.name: one.earlier for one in opened},
            on_error=report,
            **settings.arguments,
        )
        for one in opened:  # only now: arguments that are wrong leave the files of earlier commands as they are
            one.open_sinks(inputs)
        with closing(save_streams(results, {one.stream.name: one.sinks for one in opened})) as saved:
            for result in saved:
                if output.as_json:
                    print(json.dumps(result.json["res"]), flush=True)  # noqa: T201
                name = str(result.frame.stream)
                by_name[name].count(result)
                progress.advance(tasks[name])
    for one in opened:
        if not output.quiet:
            print(one.summary(), file=sys.stderr if output.as_json else sys.stdout)
        output.show_saved([sink.path for sink in one.sinks if sink.path.exists()])


class _Opened:
    """A stream, its files, and what was found in it so far."""

    def __init__(self, stream: Stream, folder: Path | None, settings: StreamSettings) -> None:
        self.stream = stream
        self.sinks: list[StreamSink] = []
        self.earlier: Iterable[tuple[float, Instances]] = ()
        self._source, self._folder = stream, folder
        self._formats, self._smoothed = settings.formats or DEFAULT_FORMATS, settings.smoothed
        self._kept = NOTHING
        self._frames = 0
        self._ids = {UNTRACKED}
        self._start = time.perf_counter()
        if folder is not None and settings.resume:
            self._kept = resume_point(folder, stream.name, self._formats)
        if folder is not None and self._kept.frames:
            self.stream = ResumedStream(stream, self._kept.next_index)
            lines = read_lines(result_path(folder, stream.name, "jsonl"))
            self.earlier = ((time_s, people) for _, time_s, people in islice(lines, self._kept.frames))

    def open_sinks(self, inputs: Sequence[str]) -> None:
        """Open the files that are written, none of which is an input."""
        if self._folder is not None:
            self.sinks = open_sinks(
                self._source, self._folder, self._formats, smoothed=self._smoothed, inputs=inputs, kept=self._kept
            )

    def count(self, result: Result) -> None:
        """Take a result into the summary."""
        self._frames += 1
        self._ids.update(result.track_ids.tolist())

    def summary(self) -> str:
        """Such as ``clip.mp4: 795 frames in 31.2 s, 25.5 a second; 12 people followed``."""
        seconds = time.perf_counter() - self._start
        dropped = f"; {self.stream.dropped} frames dropped" if self.stream.dropped else ""
        return (
            f"{self.stream.path}: {self._frames} frames in {seconds:.1f} s, {self._frames / seconds:.1f} a second; "
            f"{len(self._ids) - 1} people followed{dropped}"
        )


class _Rate(TextColumn):
    """Frames a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} frames/s")


def _progress(output: Output) -> Progress:
    """A bar for each stream, on a terminal."""
    hidden = output.quiet or not sys.stderr.isatty() or (output.as_json and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden)
