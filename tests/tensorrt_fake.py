"""TensorRT and CuPy as they are documented, without a GPU: an engine is its ONNX graph on ONNX Runtime's CPU.

As on a GPU, what is enqueued on a stream happens later: when someone waits for the stream, or for a later event on it.
Code that forgets to wait reads the previous content.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import itertools
import types

import numpy as np


class FakeGpu:
    """What there is of each: the streams by handle, and what TensorRT was asked for."""

    def __init__(self):
        self.streams = {}
        self.current = self.stream()
        self.built = []
        self.launched = []
        self.refuses = lambda _: False
        self.fails = {}

    def stream(self):
        made = Stream(self)
        self.streams[made.ptr] = made
        return made


class Stream:
    _handles = itertools.count(1000)

    def __init__(self, gpu):
        self.gpu = gpu
        self.ptr = next(self._handles)
        self.waiting = []
        self.done = 0
        self.recording = None

    def enqueue(self, work):
        (self.waiting if self.recording is None else self.recording).append(work)

    def run_until(self, position):
        while self.done < position:
            self.waiting[self.done]()
            self.done += 1

    def synchronize(self):
        assert self.recording is None, "a stream that records cannot be waited for"
        self.run_until(len(self.waiting))

    def record(self):
        return types.SimpleNamespace(stream=self, position=len(self.waiting))

    def wait_event(self, event):
        self.enqueue(lambda: event.stream.run_until(event.position))

    def begin_capture(self):
        if "begin_capture" in self.gpu.fails:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: not here")
        self.recording = []

    def end_capture(self):
        recorded, self.recording = self.recording, None
        if "end_capture" in self.gpu.fails:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated: something else was called")
        return Graph(self.gpu, recorded)

    def __enter__(self):
        self.before, self.gpu.current = self.gpu.current, self
        return self

    def __exit__(self, *_):
        self.gpu.current = self.before


class Graph:
    def __init__(self, gpu, recorded):
        self.gpu, self.recorded = gpu, recorded

    def launch(self, stream):
        self.gpu.launched.append(self)
        for work in self.recorded:
            stream.enqueue(work)


class GpuArray:
    """A CuPy array: no NumPy array, though its memory is the host's here."""

    def __init__(self, gpu, memory):
        self.gpu, self.memory = gpu, memory
        self.dtype, self.shape = memory.dtype, memory.shape
        self.data = types.SimpleNamespace(ptr=memory.ctypes.data)

    def __len__(self):
        return len(self.memory)

    def __getitem__(self, items):
        return GpuArray(self.gpu, self.memory[items])

    def __setitem__(self, items, value):
        assert isinstance(value, GpuArray)
        target = self.memory[items]
        self.gpu.current.enqueue(lambda: np.copyto(target, value.memory))

    def set(self, array, stream):
        assert isinstance(array, np.ndarray) and array.flags.c_contiguous and array.shape == self.shape
        stream.enqueue(lambda: np.copyto(self.memory, array))

    def get(self, stream=None, out=None, blocking=True):
        if out is None:
            self.gpu.current.synchronize()
            return self.memory.copy()
        assert out.shape == self.shape and out.flags.c_contiguous
        stream.enqueue(lambda: np.copyto(out, self.memory))
        if blocking:
            stream.synchronize()
        return out


def make_cupy(gpu):
    """The module ``cupy``."""

    def empty(shape, dtype):
        return GpuArray(gpu, np.full(shape, 77, dtype))

    def zeros(shape, dtype):
        array = empty(shape, dtype)
        gpu.current.enqueue(lambda: array.memory.fill(0))
        return array

    return types.SimpleNamespace(
        empty=empty,
        zeros=zeros,
        asarray=lambda array: GpuArray(gpu, np.array(array)),
        cuda=types.SimpleNamespace(
            Device=contextlib.nullcontext,
            Stream=lambda non_blocking: gpu.stream(),
            get_current_stream=lambda: gpu.current,
        ),
    )


def make_cupyx():
    """The module ``cupyx``."""
    return types.SimpleNamespace(empty_pinned=lambda shape, dtype: np.full(shape, 55, dtype))


def make_tensorrt(gpu):
    """The module ``tensorrt``."""
    trt = types.SimpleNamespace(
        __version__="11.0.0",
        ILogger=type("ILogger", (), {"Severity": types.SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)}),
        IProgressMonitor=type("IProgressMonitor", (), {}),
        NetworkDefinitionCreationFlag=types.SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=types.SimpleNamespace(TF32="tf32"),
        TensorIOMode=types.SimpleNamespace(INPUT="in", OUTPUT="out"),
        nptype=lambda dtype: np.dtype(dtype).type,
    )
    trt.Builder = lambda log: Builder(gpu, log)
    trt.OnnxParser = Parser
    trt.Runtime = lambda log: Runtime(gpu, trt, log)
    return trt


class Builder:
    def __init__(self, gpu, log):
        self.gpu, self.log = gpu, log

    def create_network(self, flags):
        assert flags == 2
        return types.SimpleNamespace(graph=None)

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Optimization()

    def build_serialized_network(self, network, config):
        if "build" in self.gpu.fails:
            self.log.log(1, "Error Code 2: OutOfMemory (no memory for the tactics)")
            return None
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        for step in range(2):
            assert monitor.step_complete("Building", step)
        monitor.phase_finish("Building")
        self.gpu.built.append((network.graph, config))
        return memoryview(b"ENGINE" + network.graph)


class Verbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 1


class Config:
    """As TensorRT's: a level that is out of range is logged and ignored."""

    def __init__(self):
        self.cleared, self.profiles, self.progress_monitor = [], [], None
        self.profiling_verbosity = Verbosity.LAYER_NAMES_ONLY
        self._level = 3

    @property
    def builder_optimization_level(self):
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level):
        if not isinstance(level, int):
            raise TypeError("incompatible function arguments")
        if 0 <= level <= 5:
            self._level = level

    def clear_flag(self, flag):
        self.cleared.append(flag)

    def add_optimization_profile(self, optimization):
        self.profiles.append(optimization.shapes)

    def create_timing_cache(self, saved):
        return types.SimpleNamespace(saved=saved, serialize=lambda: b"TIMINGS")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.timings = cache.saved
        return cache.saved in {b"", b"TIMINGS"}


class Optimization:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, least, best, most):
        self.shapes[name] = (least, best, most)


class Parser:
    def __init__(self, network, log):
        self.network = network
        self.problems = []

    def parse(self, graph):
        if not graph:
            self.problems = ["In node 0: UNSUPPORTED_NODE"]
        self.network.graph = graph
        return not self.problems

    @property
    def num_errors(self):
        return len(self.problems)

    def get_error(self, index):
        return types.SimpleNamespace(desc=lambda: self.problems[index])


class Runtime:
    def __init__(self, gpu, trt, log):
        self.gpu, self.trt, self.log = gpu, trt, log

    def deserialize_cuda_engine(self, serialized):
        if not serialized.startswith(b"ENGINE") or self.gpu.refuses(serialized):
            self.log.log(1, "Error Code 6: API Usage Error (the engine plan file is not compatible)")
            return None
        return Engine(self.gpu, self.trt, serialized[len(b"ENGINE") :], self.log)


class Engine:
    def __init__(self, gpu, trt, graph, log):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.gpu, self.trt, self.log = gpu, trt, log
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.tensors = {value.name: value for value in [*self.outputs, *self.inputs]}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        is_input = name in {value.name for value in self.inputs}
        return self.trt.TensorIOMode.INPUT if is_input else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return {"tensor(float)": np.float32, "tensor(int64)": np.int64}[self.tensors[name].type]

    def get_tensor_shape(self, name):
        return [size if isinstance(size, int) else -1 for size in self.tensors[name].shape]

    def create_execution_context(self):
        return None if "memory" in self.gpu.fails else Context(self)


class Context:
    def __init__(self, engine):
        self.engine = engine
        self.shapes, self.addresses = {}, {}
        self.has_run = False

    def set_input_shape(self, name, shape):
        declared = self.engine.get_tensor_shape(name)
        self.shapes[name] = shape
        return all(want in {-1, size} for want, size in zip(declared, shape, strict=True))

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        (batch,) = {shape[0] for shape in self.shapes.values()}
        declared = self.engine.get_tensor_shape(name)
        return (batch, *declared[1:]) if declared[0] == -1 else tuple(declared)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle):
        stream = self.engine.gpu.streams[handle]
        assert stream.recording is None or self.has_run, "a context must have run before it is recorded"
        if "execute" in self.engine.gpu.fails:
            self.engine.log.log(1, "Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
            return False
        self.has_run = True
        stream.enqueue(self._work)
        return True

    def _work(self):
        feeds = {value.name: self._at(value.name) for value in self.engine.inputs}
        names = [value.name for value in self.engine.outputs]
        for name, output in zip(names, self.engine.session.run(names, feeds), strict=True):
            np.copyto(self._at(name), output)

    def _at(self, name):
        shape, dtype = self.get_tensor_shape(name), np.dtype(self.engine.get_tensor_dtype(name))
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)
