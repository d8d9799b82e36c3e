"""Keypoints from SimCC vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hpi.heads.base import Head, Items, Task
from hpi.instances import Instances
from hpi.kernels.simcc import decode_simcc

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels


class SimccHead(Head):
    """One person an item, one vector along x and one along y a keypoint: RTMPose, RTMW, DWPose.

    A keypoint is at the largest bin over ``split_ratio``, in pixels of the input. One whose score is not positive is
    at ``-1 / split_ratio``, as in mmpose. See :func:`hpi.kernels.simcc.decode_simcc`.

    Attributes:
        split_ratio: bins a pixel of the input.
        score: of the maxima along x and y the smaller one, as in mmpose, or their mean, as in rtmlib. It may exceed 1.

    Example:
        >>> along_x, along_y = np.zeros((1, 1, 384), np.float32), np.zeros((1, 1, 512), np.float32)
        >>> along_x[0, 0, 101] = along_y[0, 0, 60] = 0.9
        >>> people, items = SimccHead().decode([along_x, along_y], 1, (192, 256))
        >>> people.keypoints, people.keypoint_scores
        (array([[[50.5, 30. ]]], dtype=float32), array([[0.9]], dtype=float32))
    """

    type: Literal["simcc"] = "simcc"
    split_ratio: Annotated[float, Field(gt=0, le=64)] = 2.0
    score: Literal["min", "mean"] = "min"
    task: ClassVar[Task] = "keypoint_detection"
    reads: ClassVar[int] = 2

    @property
    def resolution(self) -> float:  # noqa: D102
        return 1 / self.split_ratio

    def decode(  # noqa: D102
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        self.keypoints_in(outputs)
        bins = tuple(vectors.shape[2] for vectors in outputs)
        # Exporters round where a side times the ratio is not whole.
        if any(abs(there - side * self.split_ratio) >= 1 for there, side in zip(bins, size, strict=True)):
            width, height = (f"{side * self.split_ratio:g}" for side in size)
            raise ValueError(
                f"vectors of {bins[0]} and {bins[1]} bins, does not fit an input of {size[0]}x{size[1]} pixels, where "
                f"split_ratio {self.split_ratio:g} makes {width} along x and {height} along y: correct split_ratio or "
                "the order of outputs in the head"
            )
        found, scores = decode_simcc(*outputs, mean=self.score == "mean")
        people = Instances(
            scores=scores.mean(axis=1),
            keypoints=found / np.float32(self.split_ratio),
            keypoint_scores=scores,
        )
        return people, np.arange(len(people))

    def keypoints_in(self, outputs: Sequence[Any]) -> int:  # noqa: D102
        along_x, along_y = outputs
        if (
            not along_x.ndim == along_y.ndim == 3
            or along_x.shape[:2] != along_y.shape[:2]
            or not along_x.dtype == along_y.dtype == np.float32
        ):
            raise ValueError(
                f"{along_x.dtype} {along_x.shape} and {along_y.dtype} {along_y.shape}, is not SimCC vectors along x "
                "and y, [N, keypoints, bins] each, in float32"
            )
        return int(along_x.shape[1])

    def fuse_flip(  # noqa: D102
        self, outputs: Sequence[Any], mirrored: Sequence[Any], order: NDArray[np.int64]
    ) -> list[Any]:
        # As mmpose does it, without a shift, though a mirrored keypoint comes back one bin to the right.
        back = mirrored[0][:, order, ::-1], mirrored[1][:, order]
        return [(one + other) * np.float32(0.5) for one, other in zip(outputs, back, strict=True)]
