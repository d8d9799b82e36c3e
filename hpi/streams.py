"""Streams through one pipeline: read ahead side by side, people followed, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Lock, Semaphore, Thread

from hpi.errors import ConfigError, InputError
from hpi.instances import Frame, Instances, Skeleton
from hpi.pipelines.tracked import TrackedPipeline
from hpi.sources.streams import Stream
from hpi.streaming import MAX_BYTES, UNDER_WAY
from hpi.tracking.gaps import GapFiller
from hpi.tracking.smoothing import Smoother

AHEAD = 4
"""Frames of a file that are decoded before they are asked for, beyond a batch."""
MAX_FILL_GAPS = 100
"""Longest gap that can be filled: so many images wait while somebody is missing."""


@dataclass(frozen=True)
class Followed:
    """The people of a frame of a stream.

    Attributes:
        frame: as it was read.
        people: as they were found.
        smoothed: the same people with steadier keypoints; None where nothing is smoothed.
    """

    frame: Frame
    people: Instances
    smoothed: Instances | None


def follow(
    pipeline: TrackedPipeline,
    streams: Sequence[Stream],
    *,
    batch_size: int,
    workers: int = 1,
    threshold: float | None = None,
    smooth: str | None = None,
    fill_gaps: int = 0,
    earlier: Mapping[str, Iterable[tuple[float, Instances]]] | None = None,
) -> Generator[Followed | InputError]:
    """Follow people through streams that share a pipeline; arguments are checked at once.

    Args:
        pipeline: knows who was where in each stream; forgets a stream that ends.
        streams: are read side by side, and closed at the end.
        batch_size: frames that go through the models together. Frames of a live stream do not wait for others.
        workers: batches that go through the models side by side, as far as no frame needs the one before in its stream.
        threshold: keep people that score above it; None: the detector's own.
        smooth: the filter of ``smoothed``, as :class:`Smoother` takes it; None: none.
        fill_gaps: longest gap in a track that is filled, in frames. The frames of a stream come as much later.
        earlier: to continue streams: by the name of a stream, time and people of each frame so far. They are followed,
            but not yielded.

    Returns:
        A generator of the frames of each stream in order, with what was wrong between them; several streams take
        turns.

    Raises:
        ConfigError: an argument is wrong; the streams are closed.
    """
    with ExitStack() as unused:
        for stream in streams:
            unused.callback(stream.close)
        states = {stream.name: _State(smooth, fill_gaps, pipeline.skeleton) for stream in streams}
        for name, frames_before in (earlier or {}).items():
            for time_s, people in frames_before:
                found = people if people.interpolated is None else people[~people.interpolated]
                pipeline.recall(name, found, time_s, threshold)
                states[name].recall(found, time_s)
        unused.pop_all()
    return _follow(pipeline, streams, states, batch_size, workers, threshold)


def _follow(
    pipeline: TrackedPipeline,
    streams: Sequence[Stream],
    states: Mapping[str, _State],
    batch_size: int,
    workers: int,
    threshold: float | None,
) -> Generator[Followed | InputError]:
    def start(parts: list[Part]) -> Job:
        parts = [(source, _checked(part, pipeline)) for source, part in parts]
        find = pipeline.start([part for _, part in parts if isinstance(part, Frame)], threshold=threshold)
        return lambda: (parts, find())

    batch_bytes = MAX_BYTES // (UNDER_WAY * workers)
    reader = _Reader(streams, AHEAD + batch_size, batch_bytes, one_at_a_time=pipeline.is_one_at_a_time)
    with closing(reader), closing(_side_by_side(reader, start, batch_size, workers)) as results:
        for parts, people in results:
            found = iter(people)
            for source, part in parts:
                name = source.stream.name
                if isinstance(part, Frame):
                    yield from states[name].add(part, next(found))
                elif isinstance(part, InputError):
                    yield part
                elif part is not None:
                    raise part
                else:
                    pipeline.end(name)
                    yield from states[name].end()
            reader.go_on(parts, live=True)


def _side_by_side(
    reader: _Reader, start: Callable[[list[Part]], Job], batch_size: int, workers: int
) -> Generator[Outcome]:
    """What the models find, in the order of reading; each thread takes the next batch when it is free."""
    taking, room = Lock(), Semaphore(UNDER_WAY * workers)
    taken: SimpleQueue[Future[Outcome] | None] = SimpleQueue()

    def run_next() -> bool:
        """Run the next batch; False where there is none."""
        future: Future[Outcome] = Future()
        parts: list[Part] = []
        try:
            with taking:
                parts = reader.take(batch_size)
                taken.put(future if parts else None)
                job = start(parts)
            future.set_result(job())
        except Exception as error:  # noqa: BLE001 - raised where the batch would have come
            future.set_exception(error)
        reader.go_on(parts, live=False)
        return bool(parts)

    def run() -> None:
        while room.acquire() and run_next():
            pass

    # Daemons, since a generator that is left as it is must not keep the program from ending.
    threads = [Thread(target=run, name="hpi-models", daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        while (future := taken.get()) is not None:
            yield future.result()
            room.release()
    finally:
        reader.close()
        room.release(workers)
        for thread in threads:
            thread.join()


def _checked(part: Frame | Exception | None, pipeline: TrackedPipeline) -> Frame | Exception | None:
    """A frame that the models can take, or why they cannot."""
    try:
        if isinstance(part, Frame):
            pipeline.check(part)
    except InputError as error:
        return error
    return part


class _State:
    """What comes after the models, of one stream."""

    def __init__(self, smooth: str | None, fill_gaps: int, skeleton: Skeleton | None) -> None:
        if not isinstance(fill_gaps, int) or not 0 <= fill_gaps <= MAX_FILL_GAPS:
            raise ConfigError(f"fill_gaps is {fill_gaps!r}: give a number of frames, 0 for none to {MAX_FILL_GAPS}")
        visible_above = 0.0 if skeleton is None else skeleton.visible_above
        self._smoother = Smoother(smooth, lowest_score=visible_above) if smooth else None
        self._gaps = GapFiller(fill_gaps) if fill_gaps else None
        self._waiting: deque[tuple[Frame | None, float]] = deque()

    def recall(self, people: Instances, time_s: float) -> None:
        """Take what was found in a frame that an earlier run has yielded."""
        for _ in self._add(None, people, time_s):
            pass

    def add(self, frame: Frame, people: Instances) -> Iterator[Followed]:
        assert frame.time_s is not None  # streams tell it
        return self._add(frame, people, frame.time_s)

    def end(self) -> Iterator[Followed]:
        return self._finish([] if self._gaps is None else self._gaps.flush())

    def _add(self, frame: Frame | None, people: Instances, time_s: float) -> Iterator[Followed]:
        self._waiting.append((frame, time_s))
        return self._finish([people] if self._gaps is None else self._gaps.add(people, time_s))

    def _finish(self, final: Sequence[Instances]) -> Iterator[Followed]:
        for people in final:
            frame, time_s = self._waiting.popleft()
            smoothed = self._smoother.update(people, time_s) if self._smoother else None
            if frame is not None:
                yield Followed(frame, people, smoothed)


class _Source:
    """A stream, and what was read of it and waits.

    Attributes:
        stream: read by a thread of its own.
        waiting: frames, problems, and None at the end.
        size: of the waiting frames, bytes.
        is_held: one of its parts is on its way, and where that matters the next one waits for it.
        has_ended: its end was taken.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.waiting: deque[Frame | Exception | None] = deque()
        self.size = 0
        self.is_held = self.has_ended = False

    def put(self, part: Frame | Exception | None) -> None:
        self.waiting.append(part)
        self.size += _size(part)

    def take(self) -> Frame | Exception | None:
        part = self.waiting.popleft()
        self.size -= _size(part)
        self.is_held, self.has_ended = True, part is None
        return part


def _size(part: Frame | Exception | None) -> int:
    return part.image.nbytes if isinstance(part, Frame) else 0


Part = tuple[_Source, Frame | Exception | None]
Outcome = tuple[list[Part], list[Instances]]
"""The parts of a batch, and the people of its frames."""
Job = Callable[[], Outcome]
"""Runs the models on a batch."""


class _Reader:
    """A thread for each stream; frames that were read wait until they are taken.

    Args:
        streams: files are read ahead; a live one keeps its newest frame itself, where it does not grow old.
        depth: most frames of a file that wait.
        batch_bytes: a batch of frames that take as much is full.
        one_at_a_time: each frame of a stream needs the one before, so no two of them are on their way.
    """

    def __init__(self, streams: Sequence[Stream], depth: int, batch_bytes: int, *, one_at_a_time: bool) -> None:
        self._sources = deque(map(_Source, streams))
        self._depth = depth
        self._batch_bytes = batch_bytes
        self._most_bytes = MAX_BYTES // max(len(streams), 1)  # so much of all streams together waits
        self._one_at_a_time = one_at_a_time
        self._any_live = any(stream.is_live for stream in streams)
        self._is_closed = False
        self._news = Condition()
        for source in self._sources:
            Thread(target=self._run, args=(source,), name="hpi-stream", daemon=True).start()

    def take(self, count: int) -> list[Part]:
        """At most so many parts; waits for one, or for all where no stream is live. Empty when all have ended."""
        parts: list[Part] = []
        size = 0
        with self._news:
            while len(parts) < count and size < self._batch_bytes and (source := self._wait(some=bool(parts))):
                parts.append((source, source.take()))
                size += _size(parts[-1][1])
                self._sources.remove(source)  # the others take their turns
                self._sources.append(source)
                self._news.notify_all()
        return parts

    def go_on(self, parts: Sequence[Part], *, live: bool) -> None:
        """Let the streams of parts go on, those that are live or those that are not."""
        with self._news:
            for source, _ in parts:
                source.is_held &= source.stream.is_live != live
            self._news.notify_all()

    def close(self) -> None:
        with self._news:
            self._is_closed = True
            self._news.notify_all()
        for source in self._sources:  # no part is taken from now on, so their order stays
            source.stream.close()

    def _wait(self, *, some: bool) -> _Source | None:
        """The source of the next part; None where none comes, or none that is worth the wait if there are some."""
        self._news.wait_for(lambda: self._next() or not self._may_come(some))
        return None if self._is_closed else self._next()

    def _next(self) -> _Source | None:
        return next((source for source in self._sources if source.waiting and not self._is_blocked(source)), None)

    def _may_come(self, some: bool) -> bool:
        if self._is_closed or (some and self._any_live):
            return False
        return any(not source.has_ended and not (some and self._is_blocked(source)) for source in self._sources)

    def _is_blocked(self, source: _Source) -> bool:
        return self._one_at_a_time and source.is_held

    # In the thread of a stream.

    def _run(self, source: _Source) -> None:
        try:
            items = iter(source.stream)
            while self._wait_for_room(source) and (item := next(items, None)) is not None:
                self._put(source, item)
        except Exception as error:  # noqa: BLE001 - raised where the frame would have come
            self._put(source, error)
        finally:
            self._put(source, None)

    def _wait_for_room(self, source: _Source) -> bool:
        """Whether to read on."""

        def has_room() -> bool:
            if source.stream.is_live:
                return not source.waiting and not source.is_held
            return len(source.waiting) < self._depth and source.size < self._most_bytes

        with self._news:
            self._news.wait_for(lambda: has_room() or self._is_closed)
        return not self._is_closed

    def _put(self, source: _Source, part: Frame | Exception | None) -> None:
        with self._news:
            source.put(part)
            self._news.notify_all()
