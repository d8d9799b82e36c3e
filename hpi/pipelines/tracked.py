"""People of streams, who are followed from frame to frame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from hpi.errors import ConfigError, InputError
from hpi.instances import Frame, Instances
from hpi.models.model import Threshold
from hpi.pipelines.base import Pipeline, Regions
from hpi.pipelines.topdown import TopDownPipeline, boxes_inside
from hpi.tracking.base import Clock, Tracker, Tracking
from hpi.tracking.carry import Carrier
from hpi.tracking.make import make_tracker
from hpi.tracking.turns import Turn, Turns


@dataclass
class StreamState:
    """What is known of one stream.

    Attributes:
        lowest_score: people who score less are of no use.
        tracker: gives people their ids; None: they get none.
        carrier: says when the detector runs; None: on every frame.
        clock: the stream's time.
        size: (width, height) of the last frame, pixels.
        turns: the order of the frames, for the steps in which each needs the one before.
    """

    lowest_score: float
    tracker: Tracker | None
    carrier: Carrier | None
    clock: Clock = field(default_factory=Clock)
    size: tuple[int, int] | None = None
    turns: Turns = field(default_factory=Turns)


def usual_tracker(pipeline: Pipeline, det_every: int | Literal["auto"] = 1) -> str | None:
    """The tracker that fits a pipeline best; None where each frame is one person, and there is nobody to tell apart.

    Embeddings come from the detector, so they need it on every frame.

    Example:
        >>> from hpi import Predictor
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     usual_tracker(predictor.pipelines[0])
        'oks'
    """
    if not pipeline.detects:
        return None
    if det_every == 1 and pipeline.models[0].spec.embeddings is not None:
        return "embedding"
    return "oks" if pipeline.models[-1].spec.head.finds_keypoints else "bytetrack"


class TrackedPipeline(Pipeline):
    """A pipeline whose frames belong to streams: people get ids, and the detector need not run on every frame.

    With a detector, people are followed by their boxes, and only those who count are looked at for keypoints. The
    tracker ``"oks"`` and models that find people together with their keypoints follow these.

    Frames of one stream come in order, with their times; a stream keeps the threshold of its first frame. Other streams
    may be in other threads, and so may be the next frames of a stream: :meth:`start` gives frames their places, and
    from there on they run side by side.

    Attributes:
        states: of each stream; pipelines on several devices may share them.

    Example:
        >>> from hpi import Predictor
        >>> import cv2
        >>> image = cv2.imread("examples/basketball.png")
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     pipeline = TrackedPipeline(predictor.pipelines[0], Tracking(det_every=5))
        ...     for number in range(3):
        ...         (people,) = pipeline.run([Frame(image, time_s=number / 25, stream="match.mp4")])
        ...     pipeline.end("match.mp4")
        >>> people.track_ids
        array([1, 2])
    """

    def __init__(
        self, pipeline: Pipeline, tracking: Tracking, states: dict[str | None, StreamState] | None = None
    ) -> None:
        """Follow the people that a pipeline finds.

        Args:
            pipeline: finds people; closing this one closes it.
            tracking: how they are followed.
            states: those of another one, on another device; None: its own.

        Raises:
            ConfigError: the pipeline does not find people itself, has no detector that could be left out, or a
                package is missing.
        """
        name = pipeline.models[0].spec.name
        if tracking.tracker is not None and not pipeline.detects:
            raise ConfigError(f"{name} looks only at people that it is given: put a detector before it to follow them")
        if tracking.det_every != 1 and not isinstance(pipeline, TopDownPipeline):
            raise ConfigError(f"det_every: {name} has no keypoint model after it that could do without it; give 1")
        self.models = pipeline.models
        self.states = {} if states is None else states
        self._pipeline = pipeline
        self._tracking = tracking
        self._knows_streams = tracking.tracker is not None or tracking.det_every != 1
        self._follows_boxes = isinstance(pipeline, TopDownPipeline) and tracking.tracker != "oks"
        self._new_state(None)

    @property
    def takes_regions(self) -> bool:  # noqa: D102
        return self._pipeline.takes_regions

    @property
    def is_one_at_a_time(self) -> bool:
        """Whether frames of a stream run one at a time, since the boxes of each are carried from the one before."""
        return self._tracking.det_every != 1

    def end(self, stream: str | None) -> None:
        """Forget a stream, which has ended."""
        self.states.pop(stream, None)

    def recall(self, stream: str | None, people: Instances, time_s: float, threshold: float | None = None) -> None:
        """Take the people that an earlier run found in a frame, so that they keep their ids.

        Args:
            stream: begins with it, or goes on.
            people: with boxes, keypoints or both.
            time_s: time of the frame, seconds.
            threshold: as of :meth:`run`.
        """
        state = self._state(stream, threshold)
        if state.tracker is not None:
            state.tracker.update(people, state.clock.advance(time_s))

    def start(
        self, frames: Sequence[Frame], *, regions: Regions = None, threshold: Threshold = None
    ) -> Callable[[], list[Instances]]:
        """Give frames their places in their streams, in the order of the calls.

        Args:
            frames: as of :meth:`run`, with regions and threshold.
            regions: only where the pipeline takes them.
            threshold: one value, or one for each frame.

        Returns:
            What :meth:`run` would, as a call that is to be made once, in any thread. Where a frame needs the one before
            in its stream, it waits for the call for that one.

        Raises:
            InputError: a frame has no time.
        """
        if not self._knows_streams:
            return partial(self._pipeline.run, frames, regions=regions, threshold=threshold)
        given = [None] * len(frames) if regions is None else regions
        thresholds = threshold if isinstance(threshold, Sequence) else [threshold] * len(frames)
        for frame in frames:
            _check_time(frame)
        placed = [
            _InStream(frame, self._state(frame.stream, of_frame), people)
            for frame, of_frame, people in zip(frames, thresholds, given, strict=True)
        ]
        return partial(self._follow_all, placed)

    def _run(self, frames: Sequence[Frame], regions: Regions, threshold: Threshold) -> list[Instances]:
        return self.start(frames, regions=regions, threshold=threshold)()

    def _follow_all(self, frames: Sequence[_InStream]) -> list[Instances]:
        found: dict[int, Instances] = {}
        try:
            for rows in self._rounds([one.frame for one in frames]):
                found.update(zip(rows, self._follow([frames[row] for row in rows]), strict=True))
        finally:  # also after an error the next frames have their turns
            for one in frames:
                one.turn.end()
        return [found[row] for row in range(len(frames))]

    def _rounds(self, frames: Sequence[Frame]) -> list[list[int]]:
        """Rows of frames that run together; where boxes are carried, a frame waits for that before in its stream."""
        if not self.is_one_at_a_time:
            return [list(range(len(frames)))]
        rounds: defaultdict[int, list[int]] = defaultdict(list)
        before: Counter[str | None] = Counter()
        for row, frame in enumerate(frames):
            rounds[before[frame.stream]].append(row)
            before[frame.stream] += 1
        return list(rounds.values())

    def _follow(self, frames: Sequence[_InStream]) -> list[Instances]:
        """The people of frames that run together."""
        images = [one.frame.image for one in frames]
        lowest = [one.state.lowest_score for one in frames]
        known = [one.known() for one in frames]
        inputs = [one.frame for one in frames]
        if self._follows_boxes:
            assert isinstance(self._pipeline, TopDownPipeline)
            people = self._pipeline.find_people(images, known, lowest)
            counted = [one.followed(of_frame) for one, of_frame in zip(frames, people, strict=True)]
            with_keypoints = self._pipeline.run(inputs, regions=counted)
            found = [one.inside(of_frame) for one, of_frame in zip(frames, with_keypoints, strict=True)]
        else:
            regions = known if self.takes_regions else None
            people = self._pipeline.run(inputs, regions=regions, threshold=lowest)
            found = [one.followed(of_frame) for one, of_frame in zip(frames, people, strict=True)]
        for one, of_frame in zip(frames, found, strict=True):
            one.remember(of_frame)
        return found

    def _state(self, stream: str | None, threshold: float | None) -> StreamState:
        state = self.states.get(stream)
        if state is None:
            state = self.states[stream] = self._new_state(threshold)
        return state

    def _new_state(self, threshold: float | None) -> StreamState:
        least = self.draw_threshold if threshold is None else threshold
        tracking, skeleton = self._tracking, self.skeleton
        embeddings = self.models[0].spec.embeddings
        tracker = None if tracking.tracker is None else make_tracker(tracking, skeleton, least, embeddings)
        carrier = None
        if tracking.det_every != 1:
            assert skeleton is not None  # of the keypoint model behind the detector
            carrier = Carrier(tracking.det_every, skeleton.visible_above)
        return StreamState(least if tracker is None else tracker.lowest_score, tracker, carrier)


def _check_time(frame: Frame) -> None:
    if frame.time_s is None:
        raise InputError(f"{frame.path or 'image'}: people are followed by the times of frames; give it a time_s")


class _InStream:
    """A frame on its way, with the state of its stream and the people that the caller gives."""

    def __init__(self, frame: Frame, state: StreamState, given: Instances | None) -> None:
        assert frame.time_s is not None  # checked
        self.frame = frame
        self.state = state
        self.turn: Turn = state.turns.next()
        self._given = given
        self._time_s = state.clock.advance(frame.time_s)
        self._detected = True

    def known(self) -> Instances | None:
        """The people where no detector is needed to find them: those that are given or carried."""
        if (carrier := self.state.carrier) is None:
            return self._given
        self.turn.begin()
        if self._given is not None:
            return self._given
        height, width = self.frame.image.shape[:2]
        if self.state.size != (width, height):
            carrier.forget()
        self.state.size = width, height
        carried = carrier.carried(self._time_s, (width, height))
        self._detected = carried is None
        return carried

    def followed(self, people: Instances) -> Instances:
        """Those who count, with their ids."""
        self.turn.begin()
        counted = people if self.state.tracker is None else self.state.tracker.update(people, self._time_s)
        if self.state.carrier is None:
            self.turn.end()
        return counted

    def inside(self, people: Instances) -> Instances:
        """With boxes as far as the border of the image, unless they are the caller's."""
        return people if self._given is not None else people.replaced(boxes=boxes_inside(people, self.frame.image))

    def remember(self, people: Instances) -> None:
        """Keep the people, with keypoints, for the next frame."""
        if self.state.carrier is not None:
            self.state.carrier.update(people, self._time_s, detected=self._detected)
            self.turn.end()
