"""The contract of what takes the results of a stream, frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpi.results import Result


class StreamSink(ABC):
    """Takes the results of one stream in order, and writes them as they come.

    What was written before a kill can be used.

    Attributes:
        path: file or folder that it writes.
    """

    path: Path

    @abstractmethod
    def add(self, result: Result) -> None:
        """Write a result.

        Raises:
            InputError: it cannot be written; what was written before stays.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the file. A second call is harmless.

        Raises:
            InputError: it cannot be finished.
        """


@dataclass(frozen=True)
class Kept:
    """What stays of the files of an interrupted run; by default nothing.

    Attributes:
        frames: number of results that stay.
        next_index: index of the first frame that is not among them.
    """

    frames: int = 0
    next_index: int = 0


NOTHING = Kept()
