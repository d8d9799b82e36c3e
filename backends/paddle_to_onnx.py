"""Paddle programs as ONNX graphs, converted by paddle2onnx in a separate process.

paddle2onnx imports all of Paddle, prints, and may crash on an unknown program; none of that should reach the caller's
process. The graph goes to the artifact cache, never beside the model.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from abc import abstractmethod
from importlib.metadata import version
from pathlib import Path

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import Backend, ModelFiles, PaddleFiles, Session, SessionOptions, is_installed
from hpi.backends.file_checks import check_weights
from hpi.backends.messages import summarize
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

OPSET = 13
TIMEOUT_S = 600
INSTALL = 'pip install "hpi-pose[paddle]"'

# No optimiser: paddle2onnx's default (polygraphy) takes 25 s for PP-TinyPose and may call pip, and the runtimes fold
# the same constants when they load the graph. Its own check of the graph only prints.
# It converts NMS for a single image but still declares a free batch; the script corrects the declaration.
# The working folder is not on the path, so that no file in it is taken for a module.
_SCRIPT = """
import sys
sys.path = [folder for folder in sys.path if folder]
import onnx
import paddle2onnx
program, params, target, opset = sys.argv[1:]
paddle2onnx.export(program, params, target, opset_version=int(opset), enable_onnx_checker=False, optimize_tool="None")
model = onnx.load(target)
if any(node.op_type == "NonMaxSuppression" for node in model.graph.node):
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, target)
onnx.checker.check_model(target)
"""
_SCRIPT_VERSION = "2"


class ReadsOnnx(Backend):
    """A runtime that loads ONNX graphs; Paddle models are converted for it.

    Example:
        >>> from hpi.backends import BACKENDS
        >>> isinstance(BACKENDS["onnxruntime"], ReadsOnnx), isinstance(BACKENDS["paddle"], ReadsOnnx)
        (True, False)
    """

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return cannot_obtain_onnx(files)

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        self.check_options(options)
        return self.open(files, ensure_onnx(files, options.artifacts), options)

    @abstractmethod
    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:
        """Load a model from its ONNX graph; errors as :meth:`load`."""


def cannot_obtain_onnx(files: ModelFiles) -> str | None:
    """Why the model has no ONNX graph and none can be made; None if there is a way.

    Example:
        >>> cannot_obtain_onnx(ModelFiles("mine"))
        'the model has neither an ONNX file nor a Paddle program'
    """
    if files.onnx is not None:
        return None
    if files.paddle is None:
        return "the model has neither an ONNX file nor a Paddle program"
    if is_installed("paddle2onnx"):
        return None
    return f"the model has no ONNX file, and paddle2onnx is not installed to make one: {INSTALL}"


def ensure_onnx(files: ModelFiles, artifacts: ArtifactCache) -> Path:
    """The model's ONNX graph: its own file, or a converted one from the cache.

    Raises:
        BackendError: the conversion failed, with the end of what paddle2onnx said.

    Example:
        >>> ensure_onnx(ModelFiles("mine", onnx=Path("mine.onnx")), ArtifactCache(Path("artifacts"))).name
        'mine.onnx'
    """
    if files.onnx is not None:
        return files.onnx
    paddle = files.paddle
    if (reason := cannot_obtain_onnx(files)) or paddle is None:
        raise BackendError(f"{files.name}: {reason}")
    key = {
        "model": files.name,
        "content": files.content,
        "paddle2onnx": version("paddle2onnx"),
        "opset": str(OPSET),
        "script": _SCRIPT_VERSION,
    }
    return artifacts.get("onnx", key, "model.onnx", lambda target: convert(files.name, paddle, target))


def convert(name: str, paddle: PaddleFiles, target: Path, opset: int = OPSET) -> None:
    """Convert a Paddle program in a separate process.

    Args:
        name: the model's name, for errors.
        paddle: the program.
        target: the file to write.
        opset: of the ONNX graph; paddle2onnx raises it where an operator needs a later one.

    Raises:
        BackendError: paddle2onnx is not installed or failed, with the end of what it said.
    """
    if not is_installed("paddle2onnx"):
        raise BackendError(f"{name}: paddle2onnx is not installed: {INSTALL}")
    check_weights(paddle.params)
    logger.info("converting %s to ONNX (once)", name)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        _SCRIPT,
        str(paddle.program),
        str(paddle.params),
        str(target),
        str(opset),
    ]
    environment = {**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{name}: paddle2onnx did not finish within {TIMEOUT_S} s on {paddle.program}") from error
    if done.returncode != 0 or not target.is_file():
        raise BackendError(
            f"{name}: paddle2onnx could not convert {paddle.program}: {summarize(done.stdout + done.stderr)} "
            f"(exit code {done.returncode}). Check that the model's files are complete; if they are, use "
            "backend='paddle'"
        )
