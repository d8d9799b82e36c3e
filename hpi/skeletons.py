"""Skeletons as data: a YAML file of ``configs/skeletons`` becomes a :class:`hpi.instances.Skeleton`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hpi.errors import ConfigError
from hpi.instances import Bone, Skeleton
from hpi.io.validation import Record, nearest, parse, read_yaml

COCO = "coco17"

_Index = Annotated[int, Field(ge=0)]
_Part = Literal["pose", "face", "hand_left", "hand_right"]
_CocoField = Annotated[str, Field(pattern="^(keypoints|(foot|face|lefthand|righthand)_kpts)$")]
_Level = Annotated[int, Field(ge=0, le=255)]


class _SkeletonFile(Record):
    """One file of ``configs/skeletons``; see :class:`hpi.instances.Skeleton`."""

    keypoints: Annotated[list[str], Field(min_length=1, max_length=1000)]
    bones: dict[str, list[tuple[_Index, _Index]]] = Field({})
    colors: dict[str, tuple[_Level, _Level, _Level]] = Field({})
    fine: list[str] = Field([])
    swaps: list[tuple[_Index, _Index]] = Field([])
    sigmas: list[Annotated[float, Field(gt=0)]] | None = None
    head: tuple[str, str] | None = None
    visible_above: Annotated[float, Field(ge=0, le=1)] = 0.2
    coco: dict[_CocoField, tuple[_Index, _Index]] | None = None
    openpose: dict[_Part, list[_Index | list[_Index]]] | None = None


def skeleton_names() -> list[str]:
    """The skeletons that come with the package.

    Example:
        >>> skeleton_names()[:3]
        ['ap10k17', 'coco17', 'coco_wholebody133']
    """
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in (files("hpi.configs") / "skeletons").iterdir()
        if entry.name.endswith(".yaml")
    )


def load_skeleton(name: str) -> Skeleton:
    """A skeleton of the package by its name, or that of a YAML file.

    Args:
        name: such as ``"coco17"``, or the path of a file that ends in ``.yaml``.

    Raises:
        ConfigError: there is none, or the file is wrong.

    Example:
        >>> skeleton = load_skeleton("coco17")
        >>> skeleton.keypoints[0], len(skeleton), len(skeleton.bones)
        ('nose', 17, 16)
    """
    if name.endswith((".yaml", ".yml")):
        return read_skeleton(Path(name))
    if name not in skeleton_names():
        meant = nearest(name, skeleton_names())
        hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(skeleton_names())}."
        raise ConfigError(f"unknown skeleton {name!r}; {hint} One of your own: give the path of its YAML file")
    with as_file(files("hpi.configs") / "skeletons" / f"{name}.yaml") as path:
        return read_skeleton(path)


def read_skeleton(path: Path) -> Skeleton:
    """The skeleton of a YAML file, named after the file.

    Raises:
        ConfigError: the file is missing or wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "worm.yaml"
        ...     _ = file.write_text("{keypoints: [head, tail], bones: {body: [[0, 1]]}, colors: {body: [255, 0, 0]}}")
        ...     read_skeleton(file).bones
        (Bone(start=0, end=1, group='body'),)
    """
    content = parse(_SkeletonFile, read_yaml(path), str(path))
    try:
        return Skeleton(
            name=path.stem,
            keypoints=tuple(content.keypoints),
            bones=tuple(Bone(*pair, group) for group, pairs in content.bones.items() for pair in pairs),
            colors=content.colors,
            fine=tuple(content.fine),
            swaps=tuple(content.swaps),
            sigmas=None if content.sigmas is None else tuple(content.sigmas),
            head=content.head,
            visible_above=content.visible_above,
            coco=content.coco,
            openpose=None if content.openpose is None else _openpose(content.openpose),
        )
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _openpose(parts: Mapping[_Part, list[int | list[int]]]) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {
        part: tuple((one,) if isinstance(one, int) else tuple(one) for one in places) for part, places in parts.items()
    }
