"""What every task checks when it is given a session."""

from __future__ import annotations

from hpi.backends.base import Session
from hpi.errors import ModelError
from hpi.model_files import ModelSpec


def check_image_input(spec: ModelSpec, session: Session) -> None:
    """Check that the graph takes images of the size that the yml states.

    Raises:
        ModelError: it has no input "image", or takes it in another shape.
    """
    width, height = spec.input_size
    expected = (3, height, width)
    shapes = [of_input.shape for of_input in session.info.inputs if of_input.name == "image"]
    for shape in shapes:
        if len(shape) == 4 and all(have in {None, want} for have, want in zip(shape[1:], expected, strict=True)):
            return
    raise ModelError(
        f"{session.info.model_path}: takes 'image' as {shapes or 'nothing'}, but the yml in {spec.folder} makes "
        f"[N, 3, {height}, {width}]"
    )
