"""``paddlex --paddle2onnx``: converting the folder of a Paddle model to that of an ONNX model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hpi.backends.paddle_to_onnx import OPSET
from hpi.backends.paddle_to_onnx import convert as convert_program
from hpi.errors import InputError, ModelNotFoundError
from hpi.io.files import check_folder, save
from hpi.models.readers import read_model

NAME = "inference.onnx"


def convert(model: Path, target: Path, opset: int | None = None) -> list[Path]:
    """Convert a model, and copy the yml that describes it.

    Args:
        model: folder of the Paddle model.
        target: folder to write to; may be the same, which already has the yml.
        opset: lowest opset of the ONNX graph; operators may need a higher one.

    Returns:
        The files written.

    Raises:
        ModelError: a file of the model is missing or unsupported.
        BackendError: paddle2onnx is not installed or failed.
        InputError: the folder cannot be written.
    """
    spec = read_model(model)
    if spec.files.paddle is None:
        raise ModelNotFoundError(f"{model}: no inference.json or *.pdmodel in this folder, only {spec.files.onnx}")
    check_folder(target, InputError)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / NAME
        convert_program(spec.name, spec.files.paddle, graph, opset or OPSET)
        save(target / NAME, graph.read_bytes(), InputError)
    if target.samefile(model):
        return [target / NAME]
    save(target / spec.yml.name, spec.yml.read_bytes(), InputError)
    return [target / NAME, target / spec.yml.name]
