"""The bare runtime: the model that a session has loaded, fed with ready tensors, with nothing of ours round it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import ModelFiles, Session
from hpi.backends.openvino import compile_settings, split_batch, take_uint8_images, with_batch
from hpi.errors import ConfigError

Feeds = Mapping[str, NDArray[Any]]


def bare_run(session: Session, files: ModelFiles, feeds: Feeds) -> Callable[[], object]:
    """A call that runs the session's model on these inputs, on the same runtime, split like the session splits.

    Raises:
        ConfigError: the session is none of ONNX Runtime or OpenVINO.
    """
    if session.info.backend == "onnxruntime":
        return _onnxruntime(session, feeds)
    if session.info.backend == "openvino":
        return _openvino(session, files, feeds)
    raise ConfigError(f"no bare run for {session.info.backend}; choose --backend onnxruntime or openvino")


def _onnxruntime(session: Session, feeds: Feeds) -> Callable[[], object]:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = session.info.threads
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    bare = ort.InferenceSession(str(session.info.model_path), settings, providers=["CPUExecutionProvider"])
    count = len(next(iter(feeds.values())))
    parts = _parts(feeds, [count] if session.batch_size is None else [1] * count)
    return lambda: [bare.run(None, part) for part in parts]


def _openvino(session: Session, files: ModelFiles, feeds: Feeds) -> Callable[[], object]:
    import openvino as ov

    core, count, variant = ov.Core(), len(next(iter(feeds.values()))), session.info.variant
    streams = variant.streams and count > 1
    if session.batch_size is not None:
        sizes = [1] * count
    else:
        sizes = split_batch(count, session.info.threads if streams else 1) if variant.static_batch else [count]
    settings = compile_settings(variant.precision, session.info.threads, streams=streams)
    compiled = {}
    for size in set(sizes):
        model = take_uint8_images(core.read_model(str(session.info.model_path)), files.normalization)
        compiled[size] = core.compile_model(with_batch(model, size if variant.static_batch else None), "CPU", settings)
    parts = _parts(feeds, sizes)
    requests = [compiled[size].create_infer_request() for size in sizes]

    def run() -> None:
        if streams:
            for request, part in zip(requests, parts, strict=True):
                request.start_async(part, share_inputs=True)
            for request in requests:
                request.wait()
        else:
            for request, part in zip(requests, parts, strict=True):
                request.infer(part, share_inputs=True, share_outputs=True)

    return run


def _parts(feeds: Feeds, sizes: list[int]) -> list[dict[str, NDArray[Any]]]:
    ends = np.cumsum(sizes)
    return [
        {name: array[end - size : end] for name, array in feeds.items()} for size, end in zip(sizes, ends, strict=True)
    ]
