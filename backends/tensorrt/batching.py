"""Batch sizes and shapes of an engine, decided without TensorRT."""

from __future__ import annotations

from collections.abc import Sequence

from hpi.backends.base import TensorSpec
from hpi.backends.batches import CROPS, BatchRange
from hpi.errors import BackendError

Shape = tuple[int, ...]

IMAGES = BatchRange(1, 1, 8)
"""For a detector with a free batch: its inputs are larger, and a single image is the usual case."""

ONE = BatchRange(1, 1, 1)
"""For a model with a fixed batch of 1."""


def batch_range(inputs: Sequence[TensorSpec], *, has_nms: bool) -> BatchRange:
    """The batch sizes to build a graph's engine for.

    Raises:
        BackendError: an input has a free dimension besides the batch.

    Example:
        >>> import numpy as np
        >>> batch_range([TensorSpec("image", np.dtype("float32"), (None, 3, 416, 416))], has_nms=True)
        BatchRange(least=1, best=1, most=8)
    """
    for spec in inputs:
        if None in spec.shape[1:]:
            raise BackendError(
                f"TensorRT needs fixed dimensions besides the batch, and input {spec.name!r} has {spec.shape}; "
                "export the model with fixed ones"
            )
    if any(spec.shape[0] is not None for spec in inputs):
        return ONE
    return IMAGES if has_nms else CROPS


def bounds(inputs: Sequence[TensorSpec], batches: BatchRange) -> dict[str, tuple[Shape, Shape, Shape]]:
    """For each input with a free batch its smallest, best and largest shape.

    Example:
        >>> import numpy as np
        >>> bounds([TensorSpec("image", np.dtype("float32"), (None, 3, 416, 416))], IMAGES)
        {'image': ((1, 3, 416, 416), (1, 3, 416, 416), (8, 3, 416, 416))}
    """
    return {
        spec.name: tuple(batches.shapes(spec.shape[1:]).values())  # type: ignore[misc]
        for spec in inputs
        if spec.shape[0] is None
    }


def split_batch(count: int, most: int) -> list[int]:
    """Sizes of the runs of a batch: as many of the largest as fit, then the rest.

    Example:
        >>> split_batch(70, 32)
        [32, 32, 6]
    """
    whole, left = divmod(count, most)
    return [most] * whole + ([left] if left else [])


def bucket_of(count: int) -> int:
    """The power of two that a batch is padded to.

    Example:
        >>> [bucket_of(count) for count in (1, 3, 8, 9)]
        [1, 4, 8, 16]
    """
    return 1 << (count - 1).bit_length()


def checked_shape(name: str, shape: Shape, batch: int) -> Shape:
    """The shape of a buffer.

    Raises:
        BackendError: a dimension is unknown before the run, or the batch does not come first.

    Example:
        >>> checked_shape("boxes", (2, 100, 4), batch=2)
        (2, 100, 4)
    """
    if -1 in shape or shape[:1] != (batch,):
        raise BackendError(
            f"{name!r} has the shape {shape} in a batch of {batch}; every dimension must be known, the batch first"
        )
    return shape
