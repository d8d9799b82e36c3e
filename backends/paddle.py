"""Paddle Inference: on the CPU with oneDNN, on NVIDIA GPUs, and on other accelerators that it is built for."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

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
    device_index,
    device_kind,
    import_runtime,
    with_batch_of,
)
from hpi.backends.batches import CROPS
from hpi.backends.file_checks import check_weights
from hpi.backends.gpu import INSTALL as INSTALL_FOR_GPU
from hpi.backends.messages import summarize
from hpi.backends.passthrough import refused_value, unknown_option
from hpi.errors import BackendError

logger = logging.getLogger(__name__)

Shapes = dict[str, tuple[int | None, ...]]
Declared = tuple[dict[str, list[int]], list[list[int]]]
"""The shapes of inputs, by name, and of outputs."""

_SHAPE_CACHE = 16
"""oneDNN primitives are cached for this many input shapes: one per batch size in use."""
_WRONG_PASSES = ("onednn_placement_pass",)
"""In Paddle 3.2 this pass, which moves operators that no oneDNN fusion took, silently makes the heatmaps of Lite-HRNet
and PP-TinyPose wrong by up to 0.4. Without it they agree with plain Paddle to 1e-5 of their height, and the fused
convolutions, which bring most of the speed, stay. The parity gate decides for each model."""
_GPU_POOL_MB = 256
"""GPU memory that Paddle takes at once; it grows."""
WITHOUT_ONEDNN = "without onednn"
"""The profile of plain Paddle on the CPU."""
_TRIAL_TIMEOUT_S = 600
# The working folder is not on the path, so that no file in it is taken for a module.
_TRIAL = """
import sys
sys.path = [folder for folder in sys.path if folder]
from paddle import inference
config = inference.Config(*sys.argv[1:])
config.disable_gpu()
config.disable_glog_info()
inference.create_predictor(config)
"""
_SWITCH = re.compile(r"(enable|disable|switch|set|delete|exp)_")
_NO_ARGUMENT = re.compile(r"\(self: [\w.]+\) ->")
_SET_BY = {
    "device=": (
        "enable_use_gpu",
        "disable_gpu",
        "enable_xpu",
        "set_xpu_device_id",
        "enable_custom_device",
        "enable_ipu",
    ),
    "threads=": ("set_cpu_math_library_num_threads",),
    "precision=": (
        "enable_mkldnn_bfloat16",
        "enable_mkldnn_int8",
        "enable_onednn_bfloat16",
        "enable_onednn_int8",
        "enable_low_precision_io",
    ),
    "backend=": ("enable_tensorrt_engine", "enable_openvino_engine", "enable_onnxruntime"),
    "the model": ("set_model", "set_model_buffer", "set_prog_file", "set_params_file"),
}


class Paddle(Backend):
    """Paddle Inference, the runtime that the models were exported for.

    Its options are methods of ``paddle.inference.Config`` with their argument, such as ``switch_ir_optim: False`` and
    ``delete_pass: "conv_bn_fuse_pass"``; those without an argument take True, such as ``enable_profile: True``.

    Example:
        >>> Paddle().cannot_read(ModelFiles("mine", onnx=Path("mine.onnx")))
        'the model has only an ONNX file, no Paddle program'
    """

    name = "paddle"
    package = "paddle"
    trust: ClassVar[int | None] = 2
    reference: ClassVar[Variant] = Variant(profile=WITHOUT_ONEDNN)
    install = 'pip install "hpi-pose[paddle]"'
    devices: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "dcu", "npu", "xpu", "mlu", "gcu")
    relative_load_time: ClassVar[float] = 30.0  # most of it for the import
    runs_side_by_side = False
    """With oneDNN its predictors fail when they run in several threads at the same time, clones or not."""
    takes_options = True
    reserved_options: ClassVar[Mapping[str, str]] = {name: by for by, names in _SET_BY.items() for name in names}

    def variants(self, device: str = "cpu") -> tuple[Variant, ...]:
        """On the CPU with oneDNN, and without, which is several times slower."""
        return (Variant(), self.reference) if device_kind(device) == "cpu" else (Variant(),)

    def is_doubtful(self, variant: Variant, device: str) -> bool:
        """With oneDNN: its passes have made heatmaps of Lite-HRNet silently wrong."""
        return device_kind(device) == "cpu" and variant != self.reference

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        return None if files.paddle else "the model has only an ONNX file, no Paddle program"

    def load(self, files: ModelFiles, options: SessionOptions) -> Session:  # noqa: D102
        self.check_options(options)
        return PaddleSession(self, files, options)

    def start(self, start: _Start) -> tuple[Any, str]:
        """A new predictor, and a note on how it runs."""
        return start.on_device()


class PlainPaddle(Paddle):
    """Paddle Inference on the CPU without oneDNN: several times slower, but the reference of the benchmarks.

    Example:
        >>> PlainPaddle().name, PlainPaddle().devices
        ('paddle_plain', ('cpu',))
    """

    name = "paddle_plain"
    devices = ("cpu",)

    def start(self, start: _Start) -> tuple[Any, str]:  # noqa: D102
        return start.plain(), "without oneDNN"


class PaddleTensorRt(Paddle):
    """Paddle Inference with those parts of a program on TensorRT that TensorRT takes; for Paddle 2 programs only.

    Example:
        >>> files = ModelFiles("mine", PaddleFiles(Path("inference.pdmodel"), Path("inference.pdiparams")))
        >>> PaddleTensorRt().cannot_read(files) is None, [str(variant) for variant in PaddleTensorRt().variants()]
        (True, ['fp32', 'fp16'])
    """

    name = "paddle_tensorrt"
    trust = None
    devices = ("gpu",)

    def cannot_read(self, files: ModelFiles) -> str | None:  # noqa: D102
        if files.paddle is not None and files.paddle.program.suffix == ".json":
            return "Paddle Inference runs only programs of Paddle 2 (.pdmodel) on TensorRT, and this is one of Paddle 3"
        return super().cannot_read(files)

    def start(self, start: _Start) -> tuple[Any, str]:  # noqa: D102
        return start.on_tensorrt(), "TensorRT"

    def variants(self, device: str = "gpu") -> tuple[Variant, ...]:  # noqa: D102
        return Variant("fp32"), Variant("fp16")


class PaddleSession(Session):
    """One predictor, used by one caller at a time."""

    def __init__(self, backend: Paddle, files: ModelFiles, options: SessionOptions) -> None:
        if files.paddle is None:
            raise BackendError(f"{files.name}: {backend.cannot_read(files)}")
        paddle = import_runtime(Paddle.package, Paddle.install)
        check_built_for(paddle, options.device)
        check_weights(files.paddle.params)
        if files.paddle.program.suffix == ".pdmodel":
            key = {"model": files.name, "content": files.content, "paddle": paddle.__version__}
            options.artifacts.get(Paddle.name, key, "loads.txt", partial(_try_elsewhere, files.paddle))
        inference = import_runtime("paddle.inference", Paddle.install)
        self._lock = threading.Lock()
        start = _Start(inference, files.paddle, options, _input_shapes(files.paddle.program))
        self._predictor, note = backend.start(start)
        names = self._predictor.get_input_names()
        if not start.shapes.keys() >= set(names):
            raise BackendError(f"{files.paddle.program}: takes {names}, but declares {[*start.shapes]}; is it damaged?")
        super().__init__(
            SessionInfo(
                backend=backend.name,
                version=paddle.__version__,
                device=options.device,
                variant=options.variant,
                threads=options.thread_count,
                model_path=files.paddle.program,
                inputs=tuple(TensorSpec(name, np.dtype(np.float32), start.shapes[name]) for name in names),
                outputs=tuple(self._predictor.get_output_names()),
                notes=(*((note,) if note else ()), *options.notes),
            )
        )

    def _run(self, feeds: Feeds) -> list[Array]:
        with self._lock:
            return _run_predictor(self._predictor, feeds)

    def _release(self) -> None:
        with self._lock:
            self._predictor = None


def _try_elsewhere(files: PaddleFiles, target: Path) -> None:
    """Load a program in a separate process first: a damaged one of Paddle 2 crashes the process.

    Raises:
        BackendError: Paddle does not load it.
    """
    command = [sys.executable, "-W", "ignore", "-c", _TRIAL, str(files.program), str(files.params)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TRIAL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{files.program}: Paddle did not load it within {_TRIAL_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise BackendError(
            f"{files.program}: Paddle cannot load it: {summarize(done.stdout + done.stderr)} (exit code "
            f"{done.returncode}). Check the model's files, or fetch them again"
        )
    target.write_text(f"Paddle loads {files.program}.\n", encoding="utf-8")


def check_built_for(paddle: Any, device: str) -> None:
    """Check that the installed Paddle can use a device.

    Raises:
        BackendError: it is not built for that kind of device.
    """
    kind = device_kind(device)
    built = {
        "cpu": lambda: True,
        "gpu": paddle.device.is_compiled_with_cuda,
        "dcu": paddle.device.is_compiled_with_rocm,
        "xpu": paddle.device.is_compiled_with_xpu,
    }.get(kind, lambda: paddle.device.is_compiled_with_custom_device(kind))
    if not built():
        raise BackendError(
            f"the installed Paddle {paddle.__version__} is not built for {kind}; install the one that is, from "
            "Paddle's own package index (see the installation guide on paddlepaddle.org.cn)"
        )


@dataclass(frozen=True)
class _Start:
    """Starts a predictor on a program, in one way or another."""

    inference: Any
    files: PaddleFiles
    options: SessionOptions
    shapes: Shapes

    def on_device(self) -> tuple[Any, str]:
        """A predictor on the device, and a note on how it runs."""
        if self.options.variant.profile == WITHOUT_ONEDNN:
            return self.plain(), "without oneDNN"
        if device_kind(self.options.device) == "cpu":
            return self._on_cpu()
        return self._try(self._with_options(self._config())), ""

    def on_tensorrt(self) -> Any:
        """A predictor with TensorRT."""
        if self.inference.get_trt_compile_version() == (0, 0, 0):
            raise BackendError(f"the installed Paddle is built without TensorRT; use it directly: {INSTALL_FOR_GPU}")
        config, precision = self._config(), self.inference.PrecisionType
        is_half = self.options.variant.precision == "fp16"
        config.enable_tensorrt_engine(
            workspace_size=1 << 30,
            max_batch_size=CROPS.most,
            min_subgraph_size=3,
            precision_mode=precision.Half if is_half else precision.Float32,
            use_static=False,
            use_calib_mode=False,
        )
        config.set_trt_dynamic_shape_info(*map(self._sizes, (CROPS.least, CROPS.most, CROPS.best)))
        return self._try(self._with_options(config))

    def plain(self) -> Any:
        """A predictor on the CPU without oneDNN."""
        return self._try(self._config_of_cpu(onednn=False))

    def _on_cpu(self) -> tuple[Any, str]:
        """With oneDNN, else without.

        Some Paddle releases fail under oneDNN, and only at the first run of a model; then plain Paddle takes over, with
        a warning.
        """
        config = self._config_of_cpu(onednn=True)
        if not config.mkldnn_enabled():
            return self._try(config), "without oneDNN"
        try:
            return self._create(config), "oneDNN"
        except Exception as error:  # noqa: BLE001 - Paddle raises RuntimeError, OSError, ValueError and others
            under_onednn = summarize(str(error))
        predictor = self.plain()
        logger.warning(
            "%s fails under oneDNN and runs on plain Paddle, several times slower: %s",
            self.files.program,
            under_onednn,
        )
        return predictor, "plain: it failed under oneDNN"

    def _try(self, config: Any) -> Any:
        try:
            return self._create(config)
        except Exception as error:
            raise BackendError(
                f"paddle cannot run {self.files.program}{self.options.with_options}: {summarize(str(error))}"
            ) from error

    def _config(self) -> Any:
        config = self.inference.Config(str(self.files.program), str(self.files.params))
        config.disable_glog_info()
        config.enable_memory_optim()
        config.enable_new_ir(self._is_paddle_3)
        config.enable_new_executor()
        _use_device(config, self.options.device)
        return config

    def _config_of_cpu(self, *, onednn: bool) -> Any:
        config = self._config()
        config.set_cpu_math_library_num_threads(self.options.thread_count)
        if onednn:
            config.enable_mkldnn()
            config.set_mkldnn_cache_capacity(_SHAPE_CACHE)
            if self._is_paddle_3:
                for name in _WRONG_PASSES:
                    config.delete_pass(name)
        else:
            config.disable_mkldnn()
        return self._with_options(config)

    def _with_options(self, config: Any) -> Any:
        """The finished configuration: with the caller's options, which come last."""
        apply_switches(config, self.options.backend_options)
        return config

    def _create(self, config: Any) -> Any:
        """A predictor that has run once."""
        predictor = self.inference.create_predictor(config)
        sizes = self._sizes(1)
        if all(all(size) for size in sizes.values()):  # with free sides there is no shape to try
            # Ones keep divisors like scale_factor finite.
            _run_predictor(predictor, {name: np.ones(size, np.float32) for name, size in sizes.items()})
        return predictor

    def _sizes(self, batch: int) -> dict[str, list[int]]:
        """Shapes of the inputs for a batch size; free sides are 0."""
        return {name: [free or batch, *(side or 0 for side in sides)] for name, (free, *sides) in self.shapes.items()}

    @property
    def _is_paddle_3(self) -> bool:
        return self.files.program.suffix == ".json"


def apply_switches(config: Any, options: Mapping[str, Any]) -> None:
    """Call methods of a ``paddle.inference.Config``.

    Args:
        config: the configuration.
        options: for each method its argument; True for a method without one.

    Raises:
        BackendError: there is no such method, or it does not take the argument.
    """
    for name, value in options.items():
        if name not in (known := [method for method in dir(config) if _SWITCH.match(method)]):
            raise unknown_option("paddle", name, known)
        switch = getattr(config, name)
        arguments = () if _NO_ARGUMENT.search(switch.__doc__ or "") else (value,)
        if not arguments and value is not True:
            raise refused_value("paddle", name, value, "it takes no argument; set it to True, or leave it out")
        try:
            switch(*arguments)
        except Exception as error:
            raise refused_value("paddle", name, value, error) from error


def _use_device(config: Any, device: str) -> None:
    kind, index = device_kind(device), device_index(device)
    if kind == "cpu":
        config.disable_gpu()
    elif kind in {"gpu", "dcu"}:  # a DCU uses the same calls
        config.enable_use_gpu(_GPU_POOL_MB, index)
    elif kind == "xpu":
        config.enable_xpu()
        config.set_xpu_device_id(index)
    else:
        config.enable_custom_device(kind, index)


def _run_predictor(predictor: Any, feeds: Feeds) -> list[Array]:
    for name, array in feeds.items():
        predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def _input_shapes(program: Path) -> Shapes:
    """Declared input shapes, read from the program file because a predictor does not tell them."""
    try:
        declared, outputs = _pir_shapes(program) if program.suffix == ".json" else _program_desc_shapes(program)
    except Exception as error:
        raise BackendError(f"{program}: not a Paddle program: {summarize(str(error))}") from error
    inputs = [TensorSpec(name, np.dtype(np.float32), _shape(sizes)) for name, sizes in declared.items()]
    return {spec.name: spec.shape for spec in with_batch_of(map(_shape, outputs), inputs)}


def _shape(sizes: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(size if size > 0 else None for size in sizes)


def _pir_shapes(program: Path) -> Declared:
    operators = json.loads(program.read_bytes())["program"]["regions"][0]["blocks"][0]["ops"]
    attributes = [
        {attribute["N"]: attribute["AT"]["D"] for attribute in operator["A"]}
        for operator in operators
        if operator["#"] == "1.data"
    ]
    outputs = [operator["O"][0]["TT"]["D"][1] for operator in operators if operator["#"] == "1.fetch"]
    return {of_input["name"]: of_input["shape"] for of_input in attributes}, outputs


def _program_desc_shapes(program: Path) -> Declared:
    from paddle.base import core

    description = core.ProgramDesc(program.read_bytes())  # owns the memory used below
    block = description.block(0)
    operators = [block.op(index) for index in range(block.op_size())]
    inputs = [operator.output_arg_names()[0] for operator in operators if operator.type() == "feed"]
    outputs = [operator.input_arg_names()[0] for operator in operators if operator.type() == "fetch"]
    shapes = {name: block.find_var(name.encode()).shape() for name in {*inputs, *outputs}}
    return {name: shapes[name] for name in inputs}, [shapes[name] for name in outputs]
