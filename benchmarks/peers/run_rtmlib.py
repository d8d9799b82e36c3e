"""rtmlib's loop over people on the same ONNX file. Run with the Python that has ``rtmlib`` and ``onnxruntime``."""

import json
import sys

import cv2
from loop import serve, times
from rtmlib import ViTPose  # its class for models that return heatmaps

config = json.loads(sys.argv[1])
model = ViTPose(config["onnx"], model_input_size=tuple(config["size"]), backend="onnxruntime", device="cpu")


def answer(seconds, path, boxes):
    """Times of all people of an image."""
    image = cv2.imread(path)
    return {"people": len(boxes), "ms": times(lambda: model(image, bboxes=boxes), seconds)}


serve(["rtmlib", "onnxruntime", "numpy"], answer)
