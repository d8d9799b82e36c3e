"""Paddle Inference on CPU, with oneDNN."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import (
    Array,
    Backend,
    Feeds,
    ModelFiles,
    PaddleFiles,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    Variant,
    import_runtime,
)
from hpi.backends.messages import essence
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

Shapes = dict[str, tuple[int | None, ...]]

_SHAPE_CACHE = 16
"""oneDNN primitives are cached for this many input shapes: one per batch size in use."""


class Paddle(Backend):
    """Paddle Inference, the runtime that the models were exported for."""

    name = "paddle"
    package = "paddle"
    trust = 2
    install = 'pip install "hpi-pose[paddle]"'

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return None if files.paddle else "the model has only an ONNX file, no Paddle program"

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        if files.paddle is None:
            raise BackendError(f"{files.name}: {self.cannot_read(files)}")
        return PaddleSession(files.paddle, options.thread_count)


class PaddleSession(Session):
    """One predictor, used by one caller at a time."""

    def __init__(self, files: PaddleFiles, threads: int) -> None:
        version = import_runtime(Paddle.package, Paddle.install).__version__
        inference = import_runtime("paddle.inference", Paddle.install)
        shapes = _input_shapes(files.program)
        self._lock = threading.Lock()
        self._predictor, note = _start(inference, files, threads, shapes)
        super().__init__(
            SessionInfo(
                backend=Paddle.name,
                version=version,
                device="cpu",
                variant=Variant(),
                threads=threads,
                model_path=files.program,
                inputs=tuple(
                    TensorSpec(name, np.dtype(np.float32), shapes[name]) for name in self._predictor.get_input_names()
                ),
                outputs=tuple(self._predictor.get_output_names()),
                notes=(note,),
            )
        )

    def _run(self, feeds: Feeds) -> list[Array]:
        with self._lock:
            return _run_predictor(self._predictor, feeds)

    def _release(self) -> None:
        with self._lock:
            self._predictor = None


def _start(inference: Any, files: PaddleFiles, threads: int, shapes: Shapes) -> tuple[Any, str]:
    """A predictor that has run once, and what it runs on.

    Some Paddle releases fail at the first run of a model under oneDNN, not when they load it; then plain Paddle takes
    over, with a warning.
    """
    try:
        return _create_predictor(inference, files, threads, shapes, onednn=True), "oneDNN"
    except Exception as error:  # noqa: BLE001 - Paddle raises RuntimeError, OSError, ValueError and others
        under_onednn = essence(str(error))
    try:
        predictor = _create_predictor(inference, files, threads, shapes, onednn=False)
    except Exception as error:
        raise BackendError(f"paddle cannot run {files.program}: {essence(str(error))}") from error
    logger.warning(
        "%s fails under oneDNN and runs on plain Paddle, several times slower: %s", files.program, under_onednn
    )
    return predictor, "plain: it failed under oneDNN"


def _create_predictor(inference: Any, files: PaddleFiles, threads: int, shapes: Shapes, *, onednn: bool) -> Any:
    config = inference.Config(str(files.program), str(files.params))
    is_paddle_3 = files.program.suffix == ".json"
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.enable_memory_optim()
    config.enable_new_ir(is_paddle_3)
    config.enable_new_executor()
    if onednn:
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(_SHAPE_CACHE)
        if is_paddle_3:
            # In Paddle 3.2 this pass, which moves operators of a Paddle 3 program that no oneDNN fusion took, makes
            # PP-TinyPose's heatmaps wrong by up to 0.4 without any error. Without it they agree with plain Paddle to
            # 1e-6, and the fused convolutions, which are most of the gain, stay.
            config.delete_pass("onednn_placement_pass")
    else:
        config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    sizes = {name: [batch or 1, *(side or 0 for side in sides)] for name, (batch, *sides) in shapes.items()}
    if all(all(size) for size in sizes.values()):  # with free sides there is nothing to try it on
        # Ones keep divisors like scale_factor finite.
        _run_predictor(predictor, {name: np.ones(size, np.float32) for name, size in sizes.items()})
    return predictor


def _run_predictor(predictor: Any, feeds: Feeds) -> list[Array]:
    for name, array in feeds.items():
        predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def _input_shapes(program: Path) -> Shapes:
    """Declared input shapes, which a predictor does not tell: from the program file."""
    try:
        declared = _pir_shapes(program) if program.suffix == ".json" else _program_desc_shapes(program)
    except Exception as error:
        raise BackendError(f"{program}: not a Paddle program: {essence(str(error))}") from error
    return {name: tuple(size if size > 0 else None for size in shape) for name, shape in declared.items()}


def _pir_shapes(program: Path) -> dict[str, list[int]]:
    operators = json.loads(program.read_bytes())["program"]["regions"][0]["blocks"][0]["ops"]
    attributes = [
        {attribute["N"]: attribute["AT"]["D"] for attribute in operator["A"]}
        for operator in operators
        if operator["#"] == "1.data"
    ]
    return {of_input["name"]: of_input["shape"] for of_input in attributes}


def _program_desc_shapes(program: Path) -> dict[str, list[int]]:
    from paddle.base import core

    description = core.ProgramDesc(program.read_bytes())  # owns what the lines below point into
    block = description.block(0)
    operators = [block.op(index) for index in range(block.op_size())]
    names = [operator.output_arg_names()[0] for operator in operators if operator.type() == "feed"]
    return {name: block.find_var(name.encode()).shape() for name in names}
