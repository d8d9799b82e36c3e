"""Paddle Inference on CPU, with oneDNN."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends.base import Array, Backend, ModelFiles, Session, SessionInfo, SessionOptions, TensorSpec
from hpi.backends.messages import essence
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

_SHAPE_CACHE = 16
"""oneDNN primitives are cached for this many input shapes: one per batch size in use."""


class Paddle(Backend):
    """Paddle Inference, the runtime that the models were exported for."""

    name = "paddle"
    package = "paddle"
    install = 'pip install "hpi-pose[paddle]"'

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return None if files.program and files.params else "the model has only an ONNX file, no Paddle program"

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        if reason := self.cannot_read(files):
            raise BackendError(f"{files.name}: {reason}")
        assert files.program is not None and files.params is not None
        return PaddleSession(files.program, files.params, options.thread_count)


class PaddleSession(Session):
    """One predictor, used by one caller at a time.

    Some Paddle releases fail at the first run of a model under oneDNN, not when they load it. So a new session runs
    once; where that fails it goes on with plain Paddle, and says so in a warning and in its info.
    """

    def __init__(self, program: Path, params: Path, threads: int) -> None:
        version, inference = _import_paddle()
        shapes = _input_shapes(program)
        self._lock = threading.Lock()
        note = "oneDNN"
        try:
            self._predictor = _create_predictor(inference, program, params, threads, onednn=True)
            _try(self._predictor, shapes)
        except Exception as error:  # noqa: BLE001 - Paddle raises RuntimeError, OSError, ValueError and others
            note = "plain: it failed under oneDNN"
            try:
                self._predictor = _create_predictor(inference, program, params, threads, onednn=False)
                _try(self._predictor, shapes)
            except Exception as plain_error:
                raise BackendError(f"paddle cannot run {program}: {essence(str(plain_error))}") from plain_error
            logger.warning(
                "%s fails under oneDNN in Paddle %s and runs on plain Paddle, several times slower: %s",
                program, version, essence(str(error)),
            )  # fmt: skip
        super().__init__(
            SessionInfo(
                backend=Paddle.name,
                version=version,
                device="cpu",
                precision="fp32",
                threads=threads,
                model_path=program,
                inputs=tuple(
                    TensorSpec(name, np.dtype(np.float32), shapes[name]) for name in self._predictor.get_input_names()
                ),
                outputs=tuple(self._predictor.get_output_names()),
                notes=(note,),
            )
        )

    def _run(self, feeds: Mapping[str, Array]) -> list[Array]:
        try:
            with self._lock:
                return _run_predictor(self._predictor, feeds)
        except Exception as error:
            raise BackendError(f"paddle failed on {self.info.model_path}: {essence(str(error))}") from error

    def _release(self) -> None:
        with self._lock:
            del self._predictor


def _import_paddle() -> tuple[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing ccache, which nothing here compiles with
            import paddle
            from paddle import inference
    except ImportError as error:
        raise BackendError(f"paddle cannot be imported: {error}; {Paddle.install}") from error
    return paddle.__version__, inference


def _create_predictor(inference: Any, program: Path, params: Path, threads: int, *, onednn: bool) -> Any:  # noqa: ANN401
    config = inference.Config(str(program), str(params))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.enable_memory_optim()
    config.enable_new_ir(program.suffix == ".json")
    config.enable_new_executor()
    if onednn:
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(_SHAPE_CACHE)
        # In Paddle 3.0 to 3.2 this pass, which moves the operators that no oneDNN fusion took, makes PP-TinyPose's
        # heatmaps wrong by up to 0.4 without any error. Without it they agree with plain Paddle to 1e-6, and the
        # fused convolutions, which are most of the gain, stay.
        config.delete_pass("onednn_placement_pass")
    else:
        config.disable_mkldnn()
    return inference.create_predictor(config)


def _run_predictor(predictor: Any, feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ANN401
    for name, array in feeds.items():
        predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def _try(predictor: Any, shapes: Mapping[str, tuple[int | None, ...]]) -> None:  # noqa: ANN401
    """Run once on a batch of one; free dimensions count as 1, and ones keep divisors like scale_factor finite."""
    _run_predictor(
        predictor,
        {name: np.ones([size or 1 for size in shapes[name]], np.float32) for name in predictor.get_input_names()},
    )


def _input_shapes(program: Path) -> dict[str, tuple[int | None, ...]]:
    """Declared input shapes, which a predictor does not tell: from the program file."""
    try:
        declared = _pir_shapes(program) if program.suffix == ".json" else _program_desc_shapes(program)
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes the parsers raise
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

