"""PaddleX's pipeline and its own crop and decode. Run with the Python that has ``paddlex[cv]`` and ``paddlepaddle``."""

import json
import sys
import tempfile

import cv2
import numpy as np
from loop import serve, times
from paddlex import create_pipeline
from paddlex.inference.models.keypoint_detection.processors import KptPostProcess, TopDownAffine
from paddlex.inference.models.object_detection.processors import ReadImage
from paddlex_models import put_under_accepted_name

config = json.loads(sys.argv[1])
copies = tempfile.TemporaryDirectory()
put_under_accepted_name(config["pipeline"]["SubModules"]["ObjectDetection"], copies.name)
pipeline = create_pipeline(config=config["pipeline"], device="cpu")


def answer(seconds, paths=None, kernels=None):
    """Times of the pipeline on images, or of the kernels on arrays kept in a file."""
    return _pipeline(paths, seconds) if kernels is None else _kernels(np.load(kernels), seconds)


def _pipeline(paths, seconds):
    images = [cv2.imread(path) for path in paths]
    people = sum(len(result["boxes"]) for result in pipeline.predict(images))
    return {"people": people, "ms": times(lambda: list(pipeline.predict(images)), seconds)}


def _kernels(arrays, seconds):
    image, heatmaps, center, scale = (arrays[name] for name in ("image", "heatmaps", "center", "scale"))
    read, crop = ReadImage(format="RGB"), TopDownAffine(tuple(int(side) for side in arrays["size"]))
    decode = KptPostProcess(use_dark=True)
    datas = [{"center": of_one, "scale": size} for of_one, size in zip(center, scale, strict=True)]
    outputs = [{"heatmap": of_one} for of_one in heatmaps]
    return {
        "crop": times(lambda: [crop(read([{"img": image, **data}])) for data in datas], seconds),
        "affine": times(lambda: [crop.apply(image, **data) for data in datas], seconds),
        "decode": times(lambda: decode(outputs, datas), seconds),
    }


serve(["paddlex", "paddlepaddle", "opencv-contrib-python", "numpy"], answer)
