"""What every model, pipeline and result speaks: :class:`Instances`, :class:`Skeleton` and :class:`Frame`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Color = tuple[int, int, int]

_SHAPES: dict[str, tuple[type[np.generic], tuple[str | int, ...]]] = {
    "scores": (np.float32, ("M",)),
    "boxes": (np.float32, ("M", 4)),
    "class_ids": (np.int64, ("M",)),
    "keypoints": (np.float32, ("M", "K", 2)),
    "keypoint_scores": (np.float32, ("M", "K")),
    "track_ids": (np.int64, ("M",)),
    "embeddings": (np.float32, ("M", "D")),
    "interpolated": (np.bool_, ("M",)),
}


@dataclass(frozen=True, eq=False, repr=False)
class Instances:
    """The people, or other objects, of one image: one row each, in arrays.

    Has a length, can be indexed by a row, a slice, row numbers or a mask, and iterated over row by row; each gives
    ``Instances`` again. Coordinates are pixels of the image.

    Attributes:
        scores: ``[M]`` float32: the detector's score, or the keypoint model's own where there was no detector.
        boxes: ``[M, 4]`` float32 (x1, y1, x2, y2).
        class_ids: ``[M]`` int64.
        keypoints: ``[M, K, 2]`` float32 (x, y).
        keypoint_scores: ``[M, K]`` float32.
        track_ids: ``[M]`` int64: who is who over the frames of a stream.
        embeddings: ``[M, D]`` float32: what somebody looks like.
        interpolated: ``[M]`` bool: not seen in this frame.
        boxes_derived: whether the boxes come from the keypoints, not from a detector.

    Raises:
        ValueError: an array does not have its shape, or keypoints come without scores.

    Example:
        >>> people = Instances(scores=[0.9, 0.4], boxes=[[0, 0, 10, 20], [5, 5, 9, 9]])
        >>> len(people)
        2
        >>> people[people.scores > 0.5].boxes
        array([[ 0.,  0., 10., 20.]], dtype=float32)
    """

    scores: Float32
    boxes: Float32 | None = None
    class_ids: Int64 | None = None
    keypoints: Float32 | None = None
    keypoint_scores: Float32 | None = None
    track_ids: Int64 | None = None
    embeddings: Float32 | None = None
    interpolated: NDArray[np.bool_] | None = None
    boxes_derived: bool = False

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, (dtype, dimensions) in _SHAPES.items():
            given = getattr(self, name)
            if given is None:
                continue
            array = np.asarray(given, dtype)
            if not _agrees(array.shape, dimensions, with_these := dict(sizes)):
                shape = ", ".join(str(sizes.get(str(size), size)) for size in dimensions)
                raise ValueError(f"Instances.{name}: [{shape}] expected, got {list(array.shape)}")
            sizes = with_these
            object.__setattr__(self, name, array)
        if (self.keypoints is None) != (self.keypoint_scores is None):
            raise ValueError("Instances: give keypoints and keypoint_scores together")

    @classmethod
    def empty(cls, keypoints: int | None = None, *, boxes: bool = True) -> Instances:
        """Nobody; with arrays for ``keypoints`` keypoints each, and for boxes."""
        return cls(
            np.empty(0, np.float32),
            boxes=np.empty((0, 4), np.float32) if boxes else None,
            keypoints=None if keypoints is None else np.empty((0, keypoints, 2), np.float32),
            keypoint_scores=None if keypoints is None else np.empty((0, keypoints), np.float32),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Instances]) -> Instances:
        """The rows of several, in their order; all must have the same arrays.

        Raises:
            ValueError: there are none, an array is missing in one of them, or has another number of keypoints.
        """
        if not parts:
            raise ValueError("Instances.concatenate: nothing to concatenate; use Instances.empty()")
        if len(parts) == 1:
            return parts[0]
        first, arrays = parts[0], [part._arrays() for part in parts]
        if any(one.keys() != arrays[0].keys() for one in arrays):
            missing = {name for one in arrays for name in one if not all(name in other for other in arrays)}
            raise ValueError(f"Instances.concatenate: only some have {', '.join(sorted(missing))}")
        if any(part.boxes_derived != first.boxes_derived for part in parts):
            raise ValueError("Instances.concatenate: only some have boxes that come from keypoints")
        for name, array in arrays[0].items():
            unlike = next((one[name] for one in arrays if one[name].shape[1:] != array.shape[1:]), None)
            if unlike is not None:
                raise ValueError(f"Instances.concatenate: {name} of {list(array.shape)} and {list(unlike.shape)}")
        return first.replaced(**{name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]})

    @property
    def points(self) -> Float32:
        """``[M, K, 3]`` float32: x, y, score of each keypoint, as PaddleX writes them."""
        if self.keypoints is None or self.keypoint_scores is None:
            raise ValueError("Instances.points: there are no keypoints; these are detections")
        return np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1)

    def replaced(self, **arrays: Any) -> Instances:
        """A copy in which some arrays are others."""
        return Instances(**self.__dict__ | arrays)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: array for name in _SHAPES if (array := getattr(self, name)) is not None}

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: int | slice | ArrayLike) -> Instances:
        index: Any = rows
        if not isinstance(rows, slice):
            index = np.atleast_1d(rows) if not isinstance(rows, (bool, np.bool_)) else np.asarray(rows)
            if index.ndim != 1 or (index.dtype == np.bool_ and len(index) != len(self)):
                raise IndexError(f"Instances: {rows!r} is neither row numbers nor a mask of {len(self)} rows")
            index = index.astype(np.int64) if index.size == 0 and index.dtype != np.bool_ else index
        chosen = object.__new__(Instances)  # rows of what was checked need no check
        chosen.__dict__.update(self.__dict__)
        chosen.__dict__.update({name: array[index] for name, array in self._arrays().items()})
        return chosen

    def __iter__(self) -> Iterator[Instances]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        has = [name for name in self._arrays() if name != "scores"]
        keypoints = "" if self.keypoints is None else f", {self.keypoints.shape[1]} keypoints each"
        return f"Instances({len(self)}{keypoints}: scores{''.join(f', {name}' for name in has)})"


def _agrees(shape: tuple[int, ...], dimensions: tuple[str | int, ...], sizes: dict[str, int]) -> bool:
    """Whether a shape has these dimensions; those with a name get their size where it is not in ``sizes`` yet."""
    if len(shape) != len(dimensions):
        return False
    for size, dimension in zip(shape, dimensions, strict=True):
        if size != (dimension if isinstance(dimension, int) else sizes.setdefault(dimension, size)):
            return False
    return True


OPENPOSE_PARTS = ("pose", "face", "hand_left", "hand_right")
"""The parts of a person in OpenPose's files."""


@dataclass(frozen=True)
class Bone:
    """A line between two keypoints, given by their indices; its group has a colour.

    Example:
        >>> Bone(start=5, end=7, group="left")
        Bone(start=5, end=7, group='left')
    """

    start: int
    end: int
    group: str


@dataclass(frozen=True)
class Skeleton:
    """The keypoints of a model and what is known about them.

    Attributes:
        name: such as ``"coco17"``.
        keypoints: names, in the order of the model's output.
        bones: lines to draw.
        colors: RGB of each group of bones.
        fine: groups of bones that lie close together, as those of the hands of a whole body; they are drawn thinner.
        swaps: pairs of keypoints, by index, that change places in a mirror image.
        sigmas: of OKS, one a keypoint; None where nobody has measured them.
        head: the two keypoints whose distance PCKh is relative to.
        visible_above: keypoints that score more are drawn.
        openpose: of each part of OpenPose's files (:data:`OPENPOSE_PARTS`) its keypoints, in OpenPose's order: the
            indices of those whose middle each is, none where it is missing. Empty: these have no place in such files;
            None: nobody has said it.
        coco: of each field of COCO's results format, such as COCO-WholeBody's ``foot_kpts``, the first of its keypoints
            and the one after the last; without it, all are ``keypoints``.

    Raises:
        ValueError: an index is not that of a keypoint, or something is of another length.

    Example:
        >>> Skeleton.numbered(3).keypoints
        ('0', '1', '2')
    """

    name: str
    keypoints: tuple[str, ...]
    bones: tuple[Bone, ...] = ()
    colors: Mapping[str, Color] = field(default_factory=dict, hash=False)
    swaps: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] | None = None
    head: tuple[str, str] | None = None
    visible_above: float = 0.2
    fine: tuple[str, ...] = ()
    openpose: Mapping[str, tuple[tuple[int, ...], ...]] | None = field(default=None, hash=False)
    coco: Mapping[str, tuple[int, int]] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        count, where = len(self.keypoints), f"skeleton {self.name}"
        if len(set(self.keypoints)) != count or not count:
            raise ValueError(f"{where}: keypoints must have names, each its own")
        parts = (self.openpose or {}).values()
        groups = [
            *((bone.start, bone.end) for bone in self.bones),
            *self.swaps,
            *(one for part in parts for one in part),
        ]
        if wrong := [index for group in groups for index in group if not 0 <= index < count]:
            raise ValueError(f"{where}: {wrong[0]} is not the index of one of its {count} keypoints")
        if self.coco and [index for part in self.coco.values() for index in range(*part)] != list(range(count)):
            raise ValueError(f"{where}: coco: its fields must have the {count} keypoints in their order, each once")
        swapped = [index for pair in self.swaps for index in pair]
        if len(set(swapped)) != len(swapped):
            raise ValueError(f"{where}: a keypoint is in two pairs of swaps")
        if self.sigmas is not None and len(self.sigmas) != count:
            raise ValueError(f"{where}: {len(self.sigmas)} sigmas for {count} keypoints")
        if missing := {bone.group for bone in self.bones} - set(self.colors):
            raise ValueError(f"{where}: no color for the bones of {', '.join(sorted(missing))}")
        if unknown := set(self.fine) - set(self.colors):
            raise ValueError(f"{where}: fine: no bones are called {', '.join(sorted(unknown))}")
        if wrong_names := set(self.head or ()) - set(self.keypoints):
            raise ValueError(f"{where}: head: no keypoint is called {', '.join(sorted(wrong_names))}")

    @classmethod
    def numbered(cls, count: int) -> Skeleton:
        """Of a model that names no skeleton: ``count`` numbered keypoints, no bones."""
        return cls("", tuple(map(str, range(count))))

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def mirrored(self) -> Int64:
        """``[K]`` int64: which keypoint is where in a mirror image."""
        order = np.arange(len(self), dtype=np.int64)
        for left, right in self.swaps:
            order[left], order[right] = right, left
        return order


@dataclass(frozen=True, eq=False)
class Frame:
    """An image, and where it comes from.

    Attributes:
        image: ``[H, W, 3]`` uint8 BGR.
        path: file or URL; None for one in memory.
        page: of a document, from 0.
        index: of a video's frame, from 0.
        time_s: of a video's frame, seconds from its beginning.
        stream: which stream it belongs to, where several are read at once.

    Example:
        >>> frame = Frame(np.zeros((480, 640, 3), np.uint8), path="match.mp4", index=7)
        >>> frame.image.shape, frame.index
        ((480, 640, 3), 7)
    """

    image: Image
    path: str | None = None
    page: int | None = None
    index: int | None = None
    time_s: float | None = None
    stream: str | None = None
