"""Helpers for the protobuf messages of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpi.backends.base import import_runtime
from hpi.backends.gpu import INSTALL
from hpi.errors import BackendError


def import_onnx() -> Any:
    """The onnx package.

    Raises:
        BackendError: it is not installed.
    """
    return import_runtime("onnx", INSTALL)


def number(constants: Mapping[str, Any], name: str) -> float:
    """The value of a constant that is a single number.

    Raises:
        BackendError: it is none.
    """
    onnx = import_onnx()
    value = onnx.numpy_helper.to_array(constants[name]) if name in constants else np.empty(0)
    if value.size != 1:
        raise BackendError(f"the graph's NMS takes {name!r}, which is not a constant number")
    return float(value.reshape(()))


def sizes_of(value: Any) -> list[int]:
    """The dimensions of an input or output; 0 where one is free."""
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


def set_sizes(value: Any, sizes: Sequence[int | str]) -> None:
    """Set the dimensions of an input or output; a string names a free one."""
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for size in sizes:
        shape.dim.add(**({"dim_param": size} if isinstance(size, str) else {"dim_value": size}))


def retain(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Keep only the wanted items of a protobuf list, without copying them."""
    for index in reversed([index for index, item in enumerate(items) if not wanted(item)]):
        del items[index]
