"""Files that hold a model, but in a form that no reader takes: what to do instead."""

from __future__ import annotations

from pathlib import Path

_CHECKPOINT = (
    "it holds weights of PyTorch without a graph; export it to ONNX first, such as with yolo export format=onnx, or "
    "with tools/deploy.py of mmdeploy"
)
_ARCHIVE = "it is an archive; unpack it, and give the folder, or the .onnx file in it"
_COMPILED = "it is a model of {}, made from another file; give the ONNX file instead"
_WHAT = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _CHECKPOINT),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".xz"), _ARCHIVE),
    **dict.fromkeys((".engine", ".plan", ".trt"), _COMPILED.format("TensorRT")),
    **dict.fromkeys((".xml", ".bin"), _COMPILED.format("OpenVINO")),
    ".tflite": _COMPILED.format("TensorFlow Lite"),
    ".mlmodel": _COMPILED.format("Core ML"),
}


def what_to_do(file: Path) -> str:
    """What to do with a file that is no model that can be read.

    Example:
        >>> what_to_do(Path("rtmpose.zip"))
        'it is an archive; unpack it, and give the folder, or the .onnx file in it'
        >>> what_to_do(Path("notes.txt"))
        'it is no model; give an .onnx file, or the folder of a model'
    """
    return _WHAT.get(file.suffix.lower(), "it is no model; give an .onnx file, or the folder of a model")
