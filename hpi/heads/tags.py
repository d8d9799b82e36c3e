"""People of a whole image from heatmaps and tags (HigherHRNet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.assignment import load_assign
from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances
from hpi.kernels.flip import fuse_flipped
from hpi.kernels.grouping import Assign, find_peaks, group, refine, salvage

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class TagsHead(Head):
    """Heatmaps ``[N, K, h, w]`` and tags ``[N, K, h, w, D]``; also peaks, where the graph finds them.

    The peaks are their heights ``[N, K, P]``, highest first, and their cells ``[N, K, P]``, as
    :func:`hpi.kernels.grouping.find_peaks` gives them. The score of a person is the mean height of the peaks, with 0
    for each keypoint without; keypoints that were salvaged do not count.

    Attributes:
        heat_threshold: lower peaks are no keypoints.
        tag_threshold: largest distance between the tag of a keypoint and the mean of its person's.
        max_people: peaks of each keypoint, where the graph finds none, and people that further keypoints may join.

    Example:
        >>> heatmaps, tags = np.zeros((1, 2, 64, 64), np.float32), np.zeros((1, 2, 64, 64, 1), np.float32)
        >>> heatmaps[0, :, 32, 24] = 0.75
        >>> people, items = TagsHead().decode([heatmaps, tags], 1, (64, 64))
        >>> people.keypoints.tolist(), people.scores
        ([[[24.25, 32.25], [24.25, 32.25]]], array([0.75], dtype=float32))
    """

    type: Literal["tags"] = "tags"
    heat_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    tag_threshold: Annotated[float, Field(gt=0)] = 1.0
    max_people: Annotated[int, Field(gt=0, le=1000)] = 30
    task: ClassVar[Task] = "keypoint_detection"
    reads: ClassVar[int] = 2
    reads_also: ClassVar[int] = 2

    def check_installed(self) -> None:  # noqa: D102
        _load_assign()

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        self._check(outputs, count)
        assign = _load_assign()
        found = [self._decode_one([output[item] for output in outputs], size, assign) for item in range(count)]
        return Instances.concatenate(found), np.repeat(np.arange(count), [len(people) for people in found])

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        heatmaps, tags, *_ = outputs
        if not (
            heatmaps.ndim == 4
            and tags.ndim == 5
            and tags.shape[:4] == heatmaps.shape
            and heatmaps.dtype == tags.dtype == np.float32
        ):
            raise ValueError(
                f"{heatmaps.dtype} {heatmaps.shape}, and the next, {tags.dtype} {tags.shape}, are not heatmaps "
                "[N, keypoints, height, width] and tags [N, keypoints, height, width, dimensions] in float32; export "
                "the model with the outputs heatmap, tagmap and, if it finds peaks, heat_k, inds_k, in this order"
            )
        return int(heatmaps.shape[1])

    def fuse_flip(  # noqa: D102
        self, outputs: Sequence[Any], mirrored: Sequence[Any], order: NDArray[np.int64]
    ) -> list[Any]:
        heatmaps = fuse_flipped(outputs[0], mirrored[0], order, shift=False)
        back = mirrored[1][:, order, :, ::-1]
        return [heatmaps, np.concatenate([outputs[1], back], axis=-1)]  # the peaks are those of the average

    def _check(self, outputs: Sequence[Any], count: int) -> None:
        heatmaps, _, *peaks = outputs
        self.keypoints_in(outputs)
        if len(heatmaps) != count:
            raise ValueError(f"{heatmaps.dtype} {heatmaps.shape}, is not heatmaps of {count} images")
        if not peaks:
            return
        heats, cells = peaks
        wanted = heatmaps.shape[:2]
        if not (
            heats.ndim == 3
            and heats.shape == cells.shape
            and heats.shape[:2] == wanted
            and heats.dtype == np.float32
            and cells.dtype.kind == "i"
            and bool(((cells >= 0) & (cells < heatmaps[0, 0].size)).all())
        ):
            raise ValueError(
                f"outputs {heats.dtype} {heats.shape} and {cells.dtype} {cells.shape} are not the heights and cells of "
                f"peaks [{wanted[0]}, {wanted[1]}, peaks] in maps of {heatmaps.shape[2]}x{heatmaps.shape[3]}"
            )

    def _decode_one(self, outputs: Sequence[Any], size: tuple[int, int], assign: Assign) -> Instances:
        """The people of one image."""
        heatmaps, tagmaps, *peaks = outputs
        if not (np.isfinite(heatmaps.sum()) and np.isfinite(tagmaps.sum())):
            return _nobody_knows(len(heatmaps))
        heats, cells = peaks or find_peaks(heatmaps, self.max_people)
        count, height, width = heatmaps.shape
        flat = tagmaps.reshape(count, height * width, -1)
        tags = np.take_along_axis(flat, cells[..., None], axis=1)
        people = group(heats, tags, assign, above=self.heat_threshold, near=self.tag_threshold, most=self.max_people)
        seen, keypoints = people.peaks >= 0, np.arange(count)
        peak_scores = np.where(seen, heats[keypoints, people.peaks], np.float32(0))
        at, scores = salvage(heatmaps, tagmaps, people.tags, ~seen)
        at = np.where(seen, cells[keypoints, people.peaks], at)
        scores = np.where(seen, peak_scores, scores)
        known = scores > 0
        places = np.zeros((*known.shape, 2))
        places[known] = refine(heatmaps, np.nonzero(known)[1], at[known])
        return Instances(peak_scores.mean(axis=1), keypoints=places * size / (width, height), keypoint_scores=scores)


def _nobody_knows(keypoints: int) -> Instances:
    """What NaN and infinity become: a person of NaN, which the model reports."""
    return Instances(
        np.full(1, np.nan),
        keypoints=np.full((1, keypoints, 2), np.nan),
        keypoint_scores=np.full((1, keypoints), np.nan),
    )


def _load_assign() -> Assign:
    return load_assign("to group keypoints to people", "cpu")
