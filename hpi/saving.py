"""Saving results while the next ones are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from hpi.errors import InputError
from hpi.io.files import check_folder
from hpi.results import Result
from hpi.sinks.stream import StreamSink
from hpi.streaming import side_by_side

SAVING_THREADS = 2
RESULTS_WAITING = 8
"""Most results of a stream that wait to be written."""


def check_save_path(folder: Path) -> None:
    """Create the folder for results, so that an unusable one is reported before any work is done.

    Raises:
        InputError: files cannot be written to it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_save_path(Path(folder) / "results")
        ...     (Path(folder) / "results").is_dir()
        True
    """
    check_folder(folder, InputError)


def save_all(results: Iterable[Result], folder: Path | None) -> Iterator[list[Path] | InputError]:
    """Save a JSON file and a picture of each result, while the next results are computed.

    Args:
        results: what to save.
        folder: where to save them; None: nowhere.

    Returns:
        An iterator: for each result, in order, its files, or the error if they cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), Instances.empty(), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [[file.name for file in saved] for saved in save_all([result], Path(folder))]
        [['a_res.json', 'a_res.jpg']]
    """
    return save_each(results, partial(_save, folder=folder))


def save_each(results: Iterable[Result], save: Callable[[Result], list[Path]]) -> Iterator[list[Path] | InputError]:
    """Save results by a function of your own, while the next results are computed.

    Args:
        results: what to save.
        save: saves one, and returns its files.

    Yields:
        For each result, in order, its files, or the error if they cannot be written.

    Example:
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), Instances.empty(), ())
        >>> list(save_each([result], lambda result: [Path(result.name)])) == [[Path("a.jpg")]]
        True
    """
    for _, saved in side_by_side(save, results, SAVING_THREADS):
        try:
            yield saved.result()
        except InputError as error:
            yield error


def save_streams(results: Generator[Result], sinks: Mapping[str, Sequence[StreamSink]]) -> Generator[Result]:
    """Write the results of streams while the next ones are computed; at the end, however it comes, close the files.

    Args:
        results: of one or several streams, those of each in order; closed at the end.
        sinks: by the name of the stream.

    Yields:
        Each result; it may not have been written yet.

    Raises:
        InputError: a result could not be written, or a file not be finished.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(results))
        writers = {name: stack.enter_context(_Writer(those)) for name, those in sinks.items()}
        for result in results:
            if writer := writers.get(str(result.frame.stream)):
                writer.add(result)
            yield result


class _Writer:
    """A thread that draws and writes the results of a stream."""

    def __init__(self, sinks: Sequence[StreamSink]) -> None:
        self._sinks = sinks
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hpi-write")
        self._waiting: deque[Future[None]] = deque()

    def add(self, result: Result) -> None:
        if len(self._waiting) == RESULTS_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, result))

    def _write(self, result: Result) -> None:
        for sink in self._sinks:
            sink.add(result)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.callback(sink.close)
            if kind is None:
                for written in self._waiting:
                    written.result()


def _save(result: Result, folder: Path | None) -> list[Path]:
    return [] if folder is None else result.save(folder)
