"""Which skeleton a model of so many keypoints has."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from hpi.errors import ConfigError, ModelError
from hpi.io.validation import is_yaml
from hpi.models.readers.reading import Hints
from hpi.skeletons import load_skeleton, skeleton_names

Named = tuple[str | None, str]
"""What a description says of the skeleton, and why."""


def skeletons_of(count: int) -> tuple[str, ...]:
    """The skeletons of the package with so many keypoints, which is the number in their names.

    Example:
        >>> skeletons_of(17), skeletons_of(26), skeletons_of(5)
        (('ap10k17', 'coco17'), ('halpe26',), ())
    """
    return tuple(name for name in skeleton_names() if re.search(rf"[a-z]{count}(_[a-z]+)?$", name))


def skeleton_of(count: int | None, hints: Hints, source: Path, known: Collection[str] = ()) -> Named:
    """The skeleton of a model.

    Args:
        count: its keypoints; None where its files do not say.
        hints: the skeleton that somebody names.
        source: the file that says how many there are, for messages.
        known: skeletons that something else in the files speaks for.

    Raises:
        ModelError: several may be meant, or the one that is asked for has another number of keypoints.

    Example:
        >>> skeleton_of(26, Hints(), Path("model.onnx"))
        ('halpe26', 'halpe26 is the only known skeleton of 26 keypoints')
        >>> skeleton_of(17, Hints(), Path("model.onnx"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hpi.errors.ModelError: model.onnx: its 17 keypoints may be ap10k17 or coco17; ...
    """
    if hints.skeleton is not None:
        return _asked_for(hints.skeleton, count, source), f"the skeleton {hints.skeleton} was asked for"
    if count is None:
        return None, "nothing says how many keypoints there are, so they have numbers"
    names = skeletons_of(count)
    if not names:
        return None, f"no skeleton of {count} keypoints is known, so they have numbers"
    if len(names) == 1:
        return names[0], f"{names[0]} is the only known skeleton of {count} keypoints"
    spoken_for = [name for name in names if name in known] or [name for name in names if name in hints.usual]
    if len(spoken_for) == 1:
        return spoken_for[0], f"{count} keypoints of {' or '.join(names)}, and {source.name} speaks for {spoken_for[0]}"
    raise ModelError(
        f"{source}: its {count} keypoints may be {' or '.join(names)}; say which: skeleton={names[-1]!r}, "
        f"--skeleton {names[-1]}, or once and for all hpi inspect {source} --skeleton {names[-1]} --write"
    )


def _asked_for(name: str, count: int | None, source: Path) -> str:
    """The skeleton that somebody names, where it has as many keypoints as the model."""
    try:
        skeleton = load_skeleton(name)
    except ConfigError as error:
        raise ModelError(f"{source}: skeleton: {error}") from error
    if count is not None and len(skeleton) != count:
        others = skeletons_of(count)
        raise ModelError(
            f"{source}: the skeleton {name} has {len(skeleton)} keypoints, but the model finds {count}; "
            + (f"known of {count} are {', '.join(others)}" if others else f"give the YAML file of one of {count}")
        )
    return stated(name)


def stated(name: str) -> str:
    """A skeleton that somebody names, as a description has it: that of a file by its whole path.

    Example:
        >>> stated("coco17"), Path(stated("mine.yaml")).is_absolute()
        ('coco17', True)
    """
    return str(Path(name).absolute()) if is_yaml(name) else name
