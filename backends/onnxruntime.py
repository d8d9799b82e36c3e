"""ONNX Runtime: the default, and on the CPU the reference that other runtimes are compared with."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hpi.backends.artifacts import content_hash
from hpi.backends.base import (
    Array,
    Feeds,
    ModelFiles,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    Variant,
    device_index,
    device_kind,
    import_runtime,
    is_installed,
    onnx_files,
    with_batch_of,
)
from hpi.backends.batches import CROPS
from hpi.backends.gpu import INSTALL as INSTALL_FOR_GPU
from hpi.backends.gpu import INSTALL_ONNXRUNTIME, gpu_of
from hpi.backends.gpu import PACKAGE as GPU_PACKAGE
from hpi.backends.graph.rewrites import MATRIX_VECTOR, UNREAD_OUTPUTS
from hpi.backends.messages import summarize
from hpi.backends.paddle_to_onnx import ReadsOnnx
from hpi.backends.passthrough import attributes_of, set_attributes, unknown_option
from hpi.errors import BackendError

Provider = tuple[str, dict[str, str]]
Pointers = Mapping[str, tuple[np.dtype[Any], tuple[int, ...], int]]

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
_CPU: Provider = ("CPUExecutionProvider", {})
_LIBRARIES = (".so", ".dll", ".dylib", ".pyd")
_CONFIG_KEY = re.compile(rb"\0((?:session|optimization|ep|mlas|memory)\.[a-z0-9_.]*[a-z0-9])(?=\0)")


class OnnxRuntime(ReadsOnnx):
    """Microsoft's ONNX Runtime with its CPU or CUDA execution provider.

    Its options are attributes of ``onnxruntime.SessionOptions``, such as ``graph_optimization_level``, and entries of
    its session configuration, such as ``session.intra_op.allow_spinning``.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> options = SessionOptions(ArtifactCache(Path("artifacts")), backend_options={"intra_op_num_threads": 2})
        >>> OnnxRuntime().unavailable(ModelFiles("mine", onnx=Path("mine.onnx")), options)
        "its option 'intra_op_num_threads' is set by threads="
    """

    name = "onnxruntime"
    package = "onnxruntime"
    install = "pip install onnxruntime"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "gpu")
    trust: ClassVar[int | None] = 1
    relative_load_time: ClassVar[float] = 1.0
    takes_options = True
    reserved_options: ClassVar[Mapping[str, str]] = {"intra_op_num_threads": "threads="}

    def unavailable(self, files: ModelFiles, options: SessionOptions) -> str | None:  # noqa: D102
        return super().unavailable(files, options) or _lacks_gpu(options.device)

    def rewrites(self, device: str) -> tuple[str, ...]:  # noqa: D102
        return (UNREAD_OUTPUTS, MATRIX_VECTOR) if device_kind(device) == "cpu" else ()

    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        return OnnxRuntimeSession(self.name, graph, options, providers_of(options.device))


class OnnxRuntimeTensorRt(OnnxRuntime):
    """ONNX Runtime with its TensorRT execution provider; what TensorRT cannot run goes to CUDA.

    Example:
        >>> [str(variant) for variant in OnnxRuntimeTensorRt().variants()]
        ['fp32', 'fp16']
    """

    name = "onnxruntime_tensorrt"
    install = INSTALL_ONNXRUNTIME
    devices = ("gpu",)
    trust = None

    def variants(self, device: str = "gpu") -> tuple[Variant, ...]:  # noqa: D102
        return Variant("fp32"), Variant("fp16")

    def open(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Session:  # noqa: D102
        settings = tensorrt_settings(graph, options, self._engine_folder(files, graph, options))
        providers = [("TensorrtExecutionProvider", settings), *providers_of(options.device)]
        return OnnxRuntimeSession(self.name, graph, options, providers)

    def _engine_folder(self, files: ModelFiles, graph: Path, options: SessionOptions) -> Path:
        """Where the provider keeps its engines, which it names by the graph's structure but not by its weights."""
        ort = import_runtime(self.package, self.install)
        key = {
            "model": files.name,
            "content": content_hash(onnx_files(graph)),
            "onnxruntime": ort.__version__,
            "precision": options.variant.precision,
            "batches": str(CROPS),
            "device": str(gpu_of(options.device)),
            **options.key,
        }
        what = "Engines built by ONNX Runtime's TensorRT provider.\n"
        note = options.artifacts.get(self.name, key, "README", lambda target: _write(target, what))
        return note.parent


class OnnxRuntimeSession(Session):
    """A graph in ONNX Runtime, which any number of threads may call at once.

    Callers share one ``InferenceSession`` where each of them is a thread by itself. Where each has a pool of threads,
    there is an ``InferenceSession`` for each: in a shared pool they would wait for each other.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> graph, options = zoo.find("PicoDet-S_person_416").files.onnx, SessionOptions(ArtifactCache(zoo.artifacts))
        >>> with OnnxRuntimeSession("onnxruntime", graph, options, providers_of("cpu")) as session:
        ...     [(spec.name, spec.shape) for spec in session.info.inputs]
        [('image', (1, 3, 416, 416)), ('scale_factor', (1, 2))]
    """

    accepts_gpu_arrays = True

    def __init__(self, backend: str, path: Path, options: SessionOptions, providers: Sequence[Provider]) -> None:
        """Load a graph.

        Args:
            backend: name of the runtime, for messages.
            path: the graph.
            options: device, variant, threads and the runtime's own options.
            providers: execution providers by preference, with their settings; all must engage.
        """
        ort = import_runtime(OnnxRuntime.package, OnnxRuntime.install)
        threads = options.thread_count
        if device_kind(options.device) == "gpu":
            _find_libraries(ort)
        settings = session_options(ort, threads)
        apply_options(ort, settings, options.backend_options)
        pools = options.workers if threads > 1 else 1
        try:
            sessions = [ort.InferenceSession(str(path), settings, providers=list(providers)) for _ in range(pools)]
        except Exception as error:
            raise BackendError(
                f"{backend} cannot load {path}{options.with_options}: {summarize(str(error))}"
            ) from error
        engaged, wanted = sessions[0].get_providers(), [name for name, _ in providers]
        if engaged[: len(wanted)] != wanted:
            raise BackendError(f"{backend} engaged {engaged} for {path.name} instead of {wanted}")
        outputs = sessions[0].get_outputs()
        super().__init__(
            SessionInfo(
                backend=backend,
                version=ort.__version__,
                device=options.device,
                variant=options.variant,
                threads=threads,
                model_path=path,
                inputs=with_batch_of(map(_shape, outputs), [_spec(path, value) for value in sessions[0].get_inputs()]),
                outputs=tuple(value.name for value in outputs),
                notes=options.notes,
                workers=options.workers,
            )
        )
        self._sessions = sessions
        self._idle = deque(sessions)

    def _run(self, feeds: Feeds) -> list[Array]:
        try:
            session = self._idle.pop()
        except IndexError:  # there are more callers than sessions
            return self._run_on(self._sessions[0], feeds)
        try:
            return self._run_on(session, feeds)
        finally:
            if not self._closed:
                self._idle.append(session)

    def _run_on(self, session: Any, feeds: Feeds) -> list[Array]:
        if all(isinstance(array, np.ndarray) for array in feeds.values()):
            outputs: list[Array] = session.run(None, dict(feeds))
            return outputs
        return self._run_on_gpu(session, feeds)

    def _run_on_gpu(self, session: Any, feeds: Feeds) -> list[Array]:
        """Run on CuPy arrays, which stay on the GPU."""
        cupy = import_runtime(GPU_PACKAGE, INSTALL_FOR_GPU)
        arrays: dict[str, Any] = dict(feeds)
        pointers = {name: (array.dtype, array.shape, array.data.ptr) for name, array in arrays.items()}
        cupy.cuda.get_current_stream().synchronize()  # ONNX Runtime works on its own stream
        values = run_bound(session, pointers, "cuda", device_index(self.info.device))
        return [_as_gpu_array(cupy, value) for value in values]

    def _release(self) -> None:
        self._sessions = []
        self._idle.clear()


def _find_libraries(ort: Any) -> None:
    """Let the providers find CUDA, cuDNN and TensorRT where these are installed as Python packages."""
    if hasattr(ort, "preload_dlls"):  # from 1.21 on; older ones find only system libraries
        ort.preload_dlls()
    if is_installed("tensorrt"):
        import_runtime("tensorrt", INSTALL_FOR_GPU)


def run_bound(session: Any, inputs: Pointers, device: str, index: int) -> list[Any]:
    """Run a session on the memory of a device.

    Args:
        session: an ``InferenceSession``.
        inputs: for each input its dtype, shape and address.
        device: ``"cuda"`` or ``"cpu"``, where the inputs are and the outputs go.
        index: number of the device.

    Returns:
        The finished outputs, as ``OrtValue``.
    """
    binding = session.io_binding()
    for name, (dtype, shape, pointer) in inputs.items():
        binding.bind_input(name, device, index, dtype.type, shape, pointer)
    for output in session.get_outputs():
        binding.bind_output(output.name, device, index)
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    outputs: list[Any] = binding.get_outputs()
    return outputs


def _as_gpu_array(cupy: Any, value: Any) -> Any:
    """An ``OrtValue`` on a GPU as a CuPy array over the same memory, which it keeps alive."""
    dtype, shape = np.dtype(_DTYPES[value.data_type()]), tuple(value.shape())
    size = dtype.itemsize * int(np.prod(shape))
    if size == 0:  # has no address
        return cupy.empty(shape, dtype)
    memory = cupy.cuda.UnownedMemory(value.data_ptr(), size, value)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))


def session_options(ort: Any, threads: int) -> Any:
    """ONNX Runtime's ``SessionOptions`` for a number of threads.

    Example:
        >>> import onnxruntime
        >>> session_options(onnxruntime, threads=2).intra_op_num_threads
        2
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised too
    # Its threads may spin for work between the operators of a run, but not after it: there they would take the cores
    # from the next model (another runtime's pose model after this one's detector ran at half the speed).
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def apply_options(ort: Any, settings: Any, options: Mapping[str, Any]) -> None:
    """Set a caller's options: attributes of ``SessionOptions`` by name, configuration entries by their dotted key.

    Raises:
        BackendError: the installed ONNX Runtime does not know one, or does not take its value.

    Example:
        >>> import onnxruntime
        >>> settings = session_options(onnxruntime, threads=2)
        >>> apply_options(onnxruntime, settings, {"enable_profiling": True, "session.intra_op.allow_spinning": False})
        >>> settings.enable_profiling, settings.get_session_config_entry("session.intra_op.allow_spinning")
        (True, '0')
    """
    entries = {name: value for name, value in options.items() if "." in name}
    set_attributes("onnxruntime", settings, {name: value for name, value in options.items() if name not in entries})
    known = config_keys(Path(ort.__file__).parent) if entries else set()
    for name, value in entries.items():
        attribute = name.rpartition(".")[2]
        if attribute in attributes_of(settings):  # the entries of these names are internal
            raise BackendError(f"onnxruntime has no option {name!r}; write it as {attribute!r}")
        if name not in known:
            raise unknown_option("onnxruntime", name, known)
        settings.add_session_config_entry(name, str(int(value) if isinstance(value, bool) else value))


def config_keys(package: Path) -> set[str]:
    """The keys of session configuration entries that an installed ONNX Runtime reads.

    It accepts any key silently and offers no list. So these are the strings in its libraries that look like a key.

    Args:
        package: the folder of the Python package.

    Example:
        >>> import onnxruntime
        >>> "session.intra_op.allow_spinning" in config_keys(Path(onnxruntime.__file__).parent)
        True
    """
    libraries = [file for file in (package / "capi").iterdir() if file.suffix in _LIBRARIES]
    core = [library for library in libraries if "providers" not in library.name]  # providers have hundreds of MB
    return {key.decode() for library in core for key in _CONFIG_KEY.findall(library.read_bytes())}


def providers_of(device: str) -> list[Provider]:
    """The execution providers for a device, by preference, with their settings.

    Example:
        >>> providers_of("cpu")
        [('CPUExecutionProvider', {})]
        >>> [name for name, _ in providers_of("gpu:1")]
        ['CUDAExecutionProvider', 'CPUExecutionProvider']
    """
    if device_kind(device) == "cpu":
        return [_CPU]
    cuda = {
        "device_id": str(device_index(device)),
        "use_tf32": "0",  # FP32 means FP32
        "cudnn_conv_algo_search": "HEURISTIC",  # the default benchmarks every algorithm for every batch size
    }
    return [("CUDAExecutionProvider", cuda), _CPU]


def tensorrt_settings(graph: Path, options: SessionOptions, engines: Path) -> dict[str, str]:
    """Settings of the TensorRT provider: one engine for all batch sizes, kept in a folder.

    Example:
        >>> from hpi.backends.artifacts import ArtifactCache
        >>> from hpi.zoo import Zoo
        >>> graph = Zoo.default().find("MoveNet-Thunder_256x256").files.onnx
        >>> options = SessionOptions(ArtifactCache(Path("artifacts")), "gpu:1", Variant("fp16"))
        >>> settings = tensorrt_settings(graph, options, Path("engines"))
        >>> settings["trt_fp16_enable"], settings["trt_profile_max_shapes"]
        ('True', 'image:32x3x256x256')
    """
    settings = {
        "device_id": str(device_index(options.device)),
        "trt_fp16_enable": str(options.variant.precision == "fp16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(engines),
    }
    free = [of_input for of_input in read_inputs(graph) if of_input.shape[0] is None]
    for bound in ("min", "opt", "max") if free else ():
        shapes = ((of_input.name, CROPS.shapes(of_input.shape[1:])[bound]) for of_input in free)
        settings[f"trt_profile_{bound}_shapes"] = ",".join(
            f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes
        )
    return settings


def read_inputs(graph: Path) -> list[TensorSpec]:
    """The inputs that a graph declares. It is read on the CPU, without being optimised.

    Raises:
        BackendError: it cannot be read.

    Example:
        >>> from hpi.zoo import Zoo
        >>> read_inputs(Zoo.default().find("MoveNet-Thunder_256x256").files.onnx)
        [TensorSpec(name='image', dtype=dtype('float32'), shape=(None, 3, 256, 256))]
    """
    ort = import_runtime(OnnxRuntime.package, OnnxRuntime.install)
    options = session_options(ort, 1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(graph), options, providers=[_CPU[0]])
    except Exception as error:
        raise BackendError(f"onnxruntime cannot load {graph}: {summarize(str(error))}") from error
    return [_spec(graph, value) for value in session.get_inputs()]


def _lacks_gpu(device: str) -> str | None:
    """Why the installed ONNX Runtime has no CUDA provider; None if it has one or needs none."""
    if device_kind(device) == "cpu":
        return None
    if not is_installed(GPU_PACKAGE):
        return f"{GPU_PACKAGE} is not installed: {INSTALL_FOR_GPU}"
    if not _is_distributed("onnxruntime-gpu"):
        return f"the package for CPUs is installed: {INSTALL_ONNXRUNTIME}"
    if _is_distributed("onnxruntime"):
        return f"onnxruntime and onnxruntime-gpu have overwritten each other: {INSTALL_ONNXRUNTIME}"
    return None


def _is_distributed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _write(target: Path, text: str) -> None:
    target.write_text(text, encoding="utf-8")


def _spec(path: Path, value: object) -> TensorSpec:
    name, kind = value.name, value.type  # type: ignore[attr-defined]
    if kind not in _DTYPES:
        raise BackendError(f"{path}: input {name!r} is of type {kind}; known are {', '.join(_DTYPES)}")
    return TensorSpec(name, np.dtype(_DTYPES[kind]), _shape(value))


def _shape(value: object) -> tuple[int | None, ...]:
    """Of an input or output; None where a dimension is free."""
    return tuple(size if isinstance(size, int) else None for size in value.shape)  # type: ignore[attr-defined]
