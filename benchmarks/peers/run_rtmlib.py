"""A class of rtmlib on an ONNX file. Run with the Python that has ``rtmlib``, ``onnxruntime`` and ``openvino``."""

import json
import sys
import time

import cv2
import numpy as np
import rtmlib
from loop import serve, times

config = json.loads(sys.argv[1])


class UdpViTPose(rtmlib.ViTPose):
    """rtmlib's reading of heatmaps on crops by UDP, which it is for."""

    def preprocess(self, image, box):
        """The crop, normalised, with its centre and size."""
        _, center, scale = super().preprocess(image, box)
        width, height = self.model_input_size
        factor = (np.array([width, height]) - 1) / scale
        matrix = np.column_stack([np.diag(factor), factor * (scale / 2 - center)]).astype(np.float32)
        crop = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        return (crop - np.array(self.mean)) / np.array(self.std), center, scale


def opened():
    """The model, on as many threads as asked for."""
    kind = UdpViTPose if config.get("udp") else getattr(rtmlib, config.get("class", "ViTPose"))
    size, runtime, threads = tuple(config["size"]), config.get("runtime", "onnxruntime"), config.get("threads")
    model = kind(config["onnx"], model_input_size=size, backend=runtime, device="cpu")
    if threads and runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        model.session = onnxruntime.InferenceSession(config["onnx"], options, ["CPUExecutionProvider"])
    elif threads:
        import openvino

        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        model.compiled_model = core.compile_model(core.read_model(config["onnx"]), "CPU", hints)
        model.input_layer = model.compiled_model.input(0)
        model._ov_outputs = list(model.compiled_model.outputs)
    return model


model = opened()


def answer(path, seconds=0, boxes=None, swapped=False, parts=False):
    """What it finds in an image, and times of it; ``swapped`` gives it RGB where it expects BGR."""
    image = cv2.imread(path)
    if swapped:
        image = image[..., ::-1].copy()
    arguments = {} if boxes is None else {"bboxes": boxes}
    found = model(image, **arguments)
    arrays = found if isinstance(found, tuple) else (found,)
    taken = times(lambda: model(image, **arguments), seconds)
    answered = {"people": len(arrays[0]), "found": [np.asarray(one).tolist() for one in arrays], "ms": taken}
    return {**answered, "parts": parts_of(image, boxes)} if parts else answered


def parts_of(image, boxes):
    """Milliseconds of its three steps, over all people of an image."""
    taken = dict.fromkeys(("prepare", "infer", "decode"), 0.0)
    for box in boxes:
        start = time.perf_counter()
        crop, center, scale = model.preprocess(image, box)
        cropped = time.perf_counter()
        outputs = model.inference(crop)
        inferred = time.perf_counter()
        model.postprocess(outputs, center, scale)
        steps = zip(taken, (cropped - start, inferred - cropped, time.perf_counter() - inferred), strict=True)
        for step, seconds in steps:
            taken[step] += 1000 * seconds
    return taken


serve(["rtmlib", "onnxruntime", "openvino", "numpy"], answer, opencv=cv2.__version__)
