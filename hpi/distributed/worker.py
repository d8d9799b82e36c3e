"""What does the parts of a batch: a process, or an actor, with models of its own."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import Any

from hpi.distributed.addresses import is_remote
from hpi.distributed.growth import BatchSize
from hpi.distributed.inputs import suffix_of
from hpi.distributed.job import Job, Part, PartDone
from hpi.distributed.output import Output
from hpi.distributed.reading import open_remote_video, read_images
from hpi.distributed.shards import Shard, open_shard
from hpi.errors import BackendError, ConfigError, InputError
from hpi.io.fetch import is_url, shown
from hpi.sources import VIDEO_SUFFIXES, Stream
from hpi.streaming import Unusable, ahead, run_items

logger = logging.getLogger(__name__)

MOST_AHEAD = 32
"""Images that are decoded before the models take them."""


class Worker:
    """Does parts of a job, one after the other. Opens the models once; close it, or use it in a ``with`` statement.

    Args:
        job: the batch.
        threads: its share of the cores; None: all of them, or as the job says.
        device: its share of the devices; None: as the job says.

    Raises:
        HpiError: as :class:`hpi.Predictor`.

    Example:
        >>> import os, tempfile
        >>> from functools import partial
        >>> from hpi import Predictor
        >>> image = os.path.abspath("examples/basketball.png")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     job = Job((image,), folder, partial(Predictor, "human_keypoint_detection_lite"))
        ...     with Worker(job) as worker:
        ...         done = worker.run(Part(0, (image,)))
        >>> done.images, done.people, done.errors
        (1, 2, 0)
    """

    def __init__(self, job: Job, *, threads: int | None = None, device: str | None = None) -> None:
        given = job.predictor.keywords
        arguments: dict[str, Any] = {}
        if threads is not None and given.get("threads") is None:  # with a number of workers, these are of each
            arguments["threads"] = max(1, threads // (given.get("workers") or 1))
        if device is not None:  # one of those that the job names
            arguments["device"] = device
        if given.get("objective") in {None, "auto"}:
            arguments["objective"] = "throughput"
        self._job = job
        self._output = Output(job.output)
        # Several workers would disturb each other's measurements.
        self._predictor = job.predictor(**arguments, calibrate=False)
        self._predictor.warmup()
        self._batch = BatchSize(job.batch_size)

    def run(self, part: Part) -> PartDone:
        """Do a part: read, predict, write its two files.

        Raises:
            BackendError: a runtime failed.
            InputError: the results cannot be written.
        """
        start, pipeline = time.perf_counter(), self._predictor.pipelines[0]
        is_video = suffix_of(part.files[0]) in VIDEO_SUFFIXES
        try:
            with open_shard(self._output, part, pipeline.skeleton, pipeline.labels) as shard:
                if is_video:
                    self._follow(part.files[0], shard)
                else:
                    self._predict(part, shard)
        except (BackendError, MemoryError) as error:
            if is_video or not self._batch.retreat():
                raise
            logger.warning("batches have %d images from now on, since more have failed: %s", self._batch.now, error)
            return self.run(part)
        seconds = time.perf_counter() - start
        if not is_video:
            self._batch.ran(shard.images, seconds)
        counts = (shard.images, shard.people, shard.errors)
        return PartDone(part.number, len(part.files), *counts, shard.first_error, seconds=seconds)

    def attempt(self, part: Part) -> PartDone:
        """Do a part. One that fails is no reason to end the batch: then its ``failure`` says why.

        Raises:
            ConfigError: an argument is wrong, for other parts too.
            InputError: the results cannot be written, those of other parts neither.
        """
        try:
            return self.run(part)
        except (ConfigError, InputError):
            raise
        except Exception as error:
            logger.exception("part %d", part.number)
            return PartDone(part.number, len(part.files), failure=f"{type(error).__name__}: {error}")

    def _predict(self, part: Part, shard: Shard) -> None:
        """Images, each by itself."""
        pipelines, size = self._predictor.side_by_side(), self._batch.now
        threshold = self._predictor.threshold if self._job.threshold is None else self._job.threshold
        items = read_images(part.files)
        if len(pipelines) == 1:  # several take their batches ahead
            items = ahead(items, depth=min(size, MOST_AHEAD))
        with closing(run_items(pipelines, items, None, size, threshold)) as running:
            for batch, results in running:
                if isinstance(batch, Unusable):
                    item = batch.item
                    shard.add(str(item.path), batch.error, page=item.page, frame_index=item.frame, time_s=item.time_s)
                    continue
                for frame, found in zip(batch.frames, results(), strict=True):
                    shard.add(str(frame.path), found, page=frame.page, frame_index=frame.index, time_s=frame.time_s)

    def _follow(self, video: str, shard: Shard) -> None:
        """The people of a video, frame by frame."""

        def report(error: InputError) -> None:
            shard.add(shown(video), error)

        job = self._job
        try:
            results = self._predictor.stream(
                self._opened(video),
                tracker=job.tracker,
                det_every=job.det_every,
                batch_size=job.batch_size,
                threshold=job.threshold,
                options=job.network,
                on_error=report,
            )
        except InputError as error:
            report(error)
            return
        with closing(results):
            for result in results:
                frame = result.frame
                shard.add(shown(video), result.instances, frame_index=frame.index, time_s=frame.time_s)

    @staticmethod
    def _opened(video: str) -> str | Stream:
        return open_remote_video(video, "video") if is_remote(video) and not is_url(video) else video

    def close(self) -> None:
        """Unload the models. Closing twice is harmless."""
        self._predictor.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
