"""The input ``image`` of a session, whichever form of it the session takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session
from hpi.errors import ModelError
from hpi.kernels.normalize import normalize
from hpi.model_files import ModelSpec


class ImageInput:
    """Brings uint8 images into the form that a session takes.

    That is as they are, where the session normalises them itself, or as the normalised float tensor.
    """

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        """Check that the graph takes images of the size that the yml states.

        Raises:
            ModelError: it has no input "image", or takes it in another shape.
        """
        width, height = spec.input_size
        forms = [(np.dtype(np.uint8), (height, width, 3)), (np.dtype(np.float32), (3, height, width))]
        taken = [of_input for of_input in session.info.inputs if of_input.name == "image"]
        fitting = [dtype for dtype, shape in forms for one in taken if one.dtype == dtype and _fits(one.shape, shape)]
        if not fitting:
            raise ModelError(
                f"{session.info.model_path}: takes 'image' as {[one.shape for one in taken] or 'nothing'}, but the yml "
                f"in {spec.folder} makes [N, 3, {height}, {width}]"
            )
        normalization = spec.files.normalization
        assert normalization is not None  # every model that was read from a folder has one
        self._normalization = normalization if fitting[0] == np.float32 else None

    def feeds(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Inputs with ``image`` as ``[N, H, W, 3]`` uint8 BGR, as the session takes them."""
        if self._normalization is None:
            return dict(inputs)
        image = normalize(inputs["image"], self._normalization.scale, self._normalization.shift)
        return {**inputs, "image": image}


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == 4 and all(have in {None, want} for have, want in zip(shape[1:], wanted, strict=True))
