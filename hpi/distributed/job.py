"""What a batch is: where files come from, what is done with them, where results go; and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from os import fspath
from typing import TYPE_CHECKING, Any, Literal

from hpi.distributed.addresses import absolute
from hpi.errors import ConfigError
from hpi.sources.streams import StreamOptions

if TYPE_CHECKING:
    from hpi.predictor import Predictor

PART_SIZE = 1000
"""Most images of a part: as much is done again after a kill, and there are as many files in a shard."""

_HOW_FAST = {
    "device", "backend", "objective", "max_p99_ms", "batches", "threads", "workers", "backend_options", "batch_size",
    "calibrate",
}  # fmt: skip
"""Arguments of a Predictor that do not change what it finds, so that a batch can go on with others, and elsewhere."""


@dataclass(frozen=True)
class Job:
    """A batch. It can be pickled: each process and each node opens its own predictor.

    Attributes:
        sources: folders, files, patterns (``images/**/*.jpg``), lists (``@list.txt``), and URLs of these; see
            :func:`hpi.distributed.inputs.list_files`. Paths become absolute.
        output: folder or URL of the results.
        predictor: opens the models; called with other ``threads``, ``device`` and so on where a worker has a share.
        threshold: keep people that score above it; None: as the models say.
        batch_size: images that go through the models together; None: as many as measure best.
        part_size: most images of a part.
        tracker: how people are followed through videos, as :meth:`hpi.Predictor.stream` takes it.
        det_every: how often the detector runs in videos, likewise.
        network: how videos on servers are opened, and whether they may be.
        processes: of this machine, each with its share of the cores; None: as many as suit it.
        ray: address of a Ray cluster, ``"auto"`` for the one that this machine is part of; None: no Ray.

    Raises:
        ConfigError: no source is given, or processes for a Ray cluster.

    Example:
        >>> from hpi import Predictor
        >>> job = Job(("/data/images",), "/data/poses", partial(Predictor, "human_keypoint_detection_lite", threads=1))
        >>> job.identity["sources"], job.identity["models"]
        (['/data/images'], {'Predictor': ['human_keypoint_detection_lite']})
    """

    sources: tuple[str, ...]
    output: str
    predictor: partial[Predictor]
    threshold: float | None = None
    batch_size: int | None = None
    part_size: int = PART_SIZE
    tracker: str | None = "auto"
    det_every: int | Literal["auto"] = 1
    network: StreamOptions = field(default_factory=StreamOptions)
    processes: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("no source is given: give folders, files, patterns, @LIST or URLs")
        if self.ray is not None and self.processes is not None:
            raise ConfigError("--processes are of this machine; a Ray cluster has as many actors as there is room for")
        object.__setattr__(self, "sources", tuple(map(absolute, self.sources)))
        object.__setattr__(self, "output", absolute(self.output))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the rows of the results, as JSON has it. A batch goes on only where all of it is the same."""
        call = self.predictor
        options = {name: _plain(value) for name, value in call.keywords.items() if name not in _HOW_FAST}
        return {
            "sources": list(self.sources),
            "models": {call.func.__name__: [*map(_plain, call.args)]},
            "options": {name: value for name, value in sorted(options.items()) if value is not None},
            "threshold": self.threshold,
            "tracker": self.tracker,
            "det_every": self.det_every,
            "part_size": self.part_size,
        }


@dataclass(frozen=True)
class Part:
    """The unit of work: some images, or one video, or one tar of images.

    Attributes:
        number: from 0.
        files: absolute paths, and URLs.

    Example:
        >>> Part(12, ("/data/a.jpg",)).name
        'part-00012.parquet'
    """

    number: int
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its two files."""
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True)
class PartDone:
    """What came of a part.

    Attributes:
        number: of the part.
        files: how many it has.
        images: rows of the manifest.
        people: rows of the table.
        errors: images that cannot be used.
        first_error: what is wrong with the first of these.
        failure: why the part was given up; then it has no results. None: it is done.
        seconds: how long its worker worked on it.

    Example:
        >>> PartDone(0, files=2, failure="its process was killed").images
        0
    """

    number: int
    files: int
    images: int = 0
    people: int = 0
    errors: int = 0
    first_error: str | None = None
    failure: str | None = None
    seconds: float = 0.0


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return fspath(value)
    except TypeError:
        return repr(value)
