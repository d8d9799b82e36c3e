"""What a check finds, and what that means for each use of the annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from hpi.evaluation.coco.file import Annotation, CocoFile, Image
from hpi.evaluation.messages import ids

Use = Literal["keypoints", "boxes", "training", "predictions"]
"""What annotations are for: the AP of keypoints, the AP of boxes, training, or only the images to predict."""
Kind = Literal["image", "annotation", "category"]


class Level(IntEnum):
    """What a finding is for a use.

    Example:
        >>> Level.WARN < Level.REFUSE
        True
    """

    NONE = 0
    WARN = 1
    REFUSE = 2


NONE, WARN, REFUSE = Level


@dataclass(frozen=True)
class Finding:
    """Something wrong, and what to do. Without an id it is about the file.

    Example:
        >>> Finding("bbox is missing", "annotation", 7).kind
        'annotation'
    """

    message: str
    kind: Kind | None = None
    id: int | None = None


Find = Callable[[CocoFile], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """What to look for, and what it is for each use.

    Example:
        >>> check = Check(lambda file: iter(()), keypoints=REFUSE, boxes=WARN, training=REFUSE)
        >>> check.level("boxes").name
        'WARN'
    """

    find: Find
    keypoints: Level
    boxes: Level
    training: Level
    predictions: Level = NONE

    def level(self, use: Use) -> Level:
        """What it is for one of them."""
        level: Level = getattr(self, use)
        return level


def sentence(findings: Sequence[Finding]) -> str:
    """What was found first, and the ids of the others.

    Example:
        >>> sentence([Finding("bbox is missing", "annotation", number) for number in (7, 8, 9)])
        'annotation id 7: bbox is missing (likewise annotation ids 8, 9)'
    """
    first, *others = findings
    if first.kind is None or first.id is None:
        return first.message
    text = f"{ids(first.kind, [first.id])}: {first.message}"
    numbers = [one.id for one in others if one.id is not None and one.id != first.id]
    return f"{text} (likewise {ids(first.kind, numbers)})" if numbers else text


def each(wrong: Callable[[Annotation, Image | None], str | None]) -> Find:
    """Look at each annotation and its image: ``wrong`` gives a sentence where something is wrong with it.

    Example:
        >>> from pathlib import Path
        >>> find = each(lambda one, _: None if one.bbox else "bbox is missing")
        >>> person = Annotation(id=7, image_id=1, category_id=1)
        >>> list(find(CocoFile(Path("a.json"), {}, [], [person], [])))
        [Finding(message='bbox is missing', kind='annotation', id=7)]
    """

    def find(file: CocoFile) -> Iterator[Finding]:
        for one in file.annotations:
            if message := wrong(one, file.image_of.get(one.image_id)):
                yield Finding(message, "annotation", one.id)

    return find
