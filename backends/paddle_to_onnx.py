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
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import (
    Backend,
    ModelFiles,
    PaddleFiles,
    Session,
    SessionInfo,
    SessionOptions,
    import_runtime,
    is_installed,
)
from hpi.backends.file_checks import check_weights
from hpi.backends.graph.batch import TRIED_SIDE, free_batch, is_for_one_item
from hpi.backends.graph.boxes import count_boxes
from hpi.backends.graph.protobuf import import_onnx
from hpi.backends.graph.reading import inputs_of, read_graph
from hpi.backends.graph.rewrites import RewrittenGraph, rewritten
from hpi.backends.messages import summarize
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

OPSET = 13
TIMEOUT_S = 600
INSTALL = 'pip install "hpi-pose[paddle]"'

# No optimiser: paddle2onnx's default (polygraphy) takes 25 s for PP-TinyPose and may call pip, and the runtimes fold
# the same constants when they load the graph. Its own check of the graph only prints.
# The working folder is not on the path, so that no file in it is taken for a module.
_SCRIPT = """
import sys
sys.path = [folder for folder in sys.path if folder]
import onnx
import paddle2onnx
from hpi.backends.paddle_to_onnx import settle
program, params, target, opset = sys.argv[1:]
paddle2onnx.export(program, params, target, opset_version=int(opset), enable_onnx_checker=False, optimize_tool="None")
settle(target)
onnx.checker.check_model(target)
"""
_SCRIPT_VERSION = "5"


class ReadsOnnx(Backend):
    """A runtime that loads ONNX graphs; Paddle models are converted for it.

    Example:
        >>> from hpi.backends import BACKENDS
        >>> isinstance(BACKENDS["onnxruntime"], ReadsOnnx), isinstance(BACKENDS["paddle"], ReadsOnnx)
        (True, False)
    """

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return cannot_obtain_onnx(files)

    def prepare(self, files: ModelFiles, options: SessionOptions) -> None:  # noqa: D102
        ensure_onnx(files, options.artifacts)

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        self.check_options(options)
        graph = ensure_onnx(files, options.artifacts)
        wanted = () if options.as_exported else self.rewrites(options.device)
        prepared = rewritten(files, graph, wanted, options.artifacts)
        if not prepared.rewrites:
            return self.open(files, graph, options)
        try:
            session = self.open(files, prepared.path, options)
        except BackendError as error:
            logger.warning(
                "%s: %s cannot load the rewritten graph, so it runs as exported: %s", files.name, self.name, error
            )
            return self.open(files, graph, options)
        session.info = _of_rewritten(session.info, graph, prepared)
        return session

    def rewrites(self, device: str) -> tuple[str, ...]:
        """Names of the :data:`hpi.backends.graph.rewrites.REWRITES` with which it is faster on a device."""
        return ()

    @abstractmethod
    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:
        """Load a model from its ONNX graph; errors as :meth:`load`."""


def _of_rewritten(info: SessionInfo, graph: Path, prepared: RewrittenGraph) -> SessionInfo:
    """What a session of a rewritten graph says: the model's own file, and what was rewritten."""
    places = ", ".join(f"{name} x {count}" for name, count in prepared.rewrites.items())
    return replace(
        info,
        model_path=graph,
        notes=(*info.notes, f"rewritten: {places}"),
        rewrites=prepared.rewrites,
        rewritten_path=prepared.path,
    )


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


def settle(path: str) -> None:
    """Correct a graph that paddle2onnx has written.

    It declares a free batch even where it converts NMS for a single image, and where the program reshapes to a batch of
    1. The batch is freed where that changes no result, else declared to be 1. And after NMS it looks scores up wrongly,
    where the number of boxes depends on the image.
    """
    onnx = import_onnx()
    model = onnx.load(path)
    if any(node.op_type == "NonMaxSuppression" for node in model.graph.node):
        settled = _of_one_item(count_boxes(read_graph(Path(path))))
    elif is_for_one_item(model):
        freed = free_batch(read_graph(Path(path)))
        settled = freed if freed is not None and _passes_trial(freed) else _of_one_item(model)
    else:
        return
    onnx.save(settled, path)


def _of_one_item(model: Any) -> Any:
    """The graph, declared to take a batch of 1."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _passes_trial(model: Any) -> bool:
    """Whether the graph runs on noise, with the same results in a batch and alone."""
    try:
        return _same_together(model)
    except Exception as error:  # noqa: BLE001 - the runtime's own; a graph that cannot be tried stays as it is
        logger.info("the batch of the graph stays 1, since it could not be tried: %s", error)
        return False


def _same_together(model: Any) -> bool:
    """Whether noise has the same results in a batch and alone; whole numbers exactly."""
    ort = import_runtime("onnxruntime", "pip install onnxruntime")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0)
    feeds = {
        spec.name: _noise(noise, (2, *(size or TRIED_SIDE for size in spec.shape[1:])), spec.dtype)
        for spec in inputs_of(model)
    }
    alone = [session.run(None, {name: array[item : item + 1] for name, array in feeds.items()}) for item in range(2)]
    for order in (1, -1):  # a result that hangs on the first item alone shows in one of them
        together = session.run(None, {name: array[::order] for name, array in feeds.items()})
        if not all(_alike(both, np.concatenate(parts)) for both, *parts in zip(together, *alone[::order], strict=True)):
            return False
    return True


def _noise(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    return np.allclose(one, other, rtol=1e-4, atol=1e-4) if one.dtype.kind == "f" else np.array_equal(one, other)
