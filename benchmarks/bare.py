"""The bare runtime: a session's model, fed with ready tensors, and nothing of this project around it."""

from __future__ import annotations

from collections.abc import Callable

from hpi.backends.base import Feeds, ModelFiles, Session, cut, size_of
from hpi.backends.onnxruntime import session_options
from hpi.backends.openvino import PROFILES, compile_settings, take_uint8_images, with_batch
from hpi.errors import ConfigError


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

    settings = session_options(ort, session.info.threads)
    bare = ort.InferenceSession(str(session.info.loaded_path), settings, providers=["CPUExecutionProvider"])
    parts = list(cut(feeds, session.split(size_of(feeds))))
    return lambda: [bare.run(None, part) for part in parts]


def _openvino(session: Session, files: ModelFiles, feeds: Feeds) -> Callable[[], object]:
    import openvino as ov

    core, variant = ov.Core(), session.info.variant
    batching, sizes = PROFILES[variant.profile], session.split(size_of(feeds))
    streams = batching.streams and len(sizes) > 1
    threads = session.info.threads
    settings = compile_settings(variant.precision, threads, threads if streams else 1)
    model = take_uint8_images(core.read_model(str(session.info.loaded_path)), files.normalization)
    compiled = {
        size: core.compile_model(with_batch(model, size if batching.static else None), "CPU", settings)
        for size in set(sizes)
    }
    parts = list(cut(feeds, sizes))
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
