"""Pipelines that are no more than a detector and a keypoint model: the table ``configs/pairs.yaml``."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Annotated, Any

from pydantic import Field

from hpi.io.validation import Record, parse, read_yaml

Pair = tuple[str, str]
"""The names of a detector and of a keypoint model."""


class Pairs(Record):
    """One entry of the table.

    Attributes:
        threshold: the detector's boxes are kept above it.
        classes: indices of the detector's classes to find keypoints of; None: those that are people.
        light: the fastest pair.
        balanced: the pair in between.
        accurate: the most accurate pair.

    Example:
        >>> pairs = Pairs(threshold=0.3, light=("rtmdet-nano_hand", "rtmpose-m_hand"))
        >>> list(pairs.named("hand"))
        ['hand', 'hand-light']
    """

    threshold: Annotated[float, Field(ge=0, le=1)]
    classes: list[int] | None = None
    light: Pair
    balanced: Pair | None = None
    accurate: Pair | None = None

    def named(self, name: str) -> dict[str, dict[str, Any]]:
        """The content of a pipeline's YAML for each name."""
        pairs = {
            name: self.balanced or self.light,
            f"{name}-light": self.light,
            f"{name}-balanced": self.balanced,
            f"{name}-accurate": self.accurate,
        }
        return {one: self._content(one, *pair) for one, pair in pairs.items() if pair}

    def _content(self, name: str, detector: str, keypoint_model: str) -> dict[str, Any]:
        found: dict[str, Any] = {"model_name": detector, "threshold": self.threshold}
        if self.classes:
            found["classes"] = self.classes
        modules = {"ObjectDetection": found, "KeypointDetection": {"model_name": keypoint_model}}
        return {"pipeline_name": name, "SubModules": modules}


def paired() -> dict[str, dict[str, Any]]:
    """The content of a pipeline's YAML for each pipeline of the table, by name.

    Example:
        >>> paired()["body"]["SubModules"]["KeypointDetection"]
        {'model_name': 'rtmpose-m'}
    """
    with as_file(files("hpi.configs") / "pairs.yaml") as path:
        table = read_yaml(path)
        entries = {name: parse(Pairs, content, f"{path}: {name}") for name, content in table.items()}
    return {name: content for entry, pairs in entries.items() for name, content in pairs.named(entry).items()}
