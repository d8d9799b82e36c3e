"""PaddleX's pipeline and its own crop and decode. Run with the Python that has ``paddlex[cv]`` and ``paddlepaddle``."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml
from loop import serve, times
from paddlex import create_pipeline
from paddlex.inference.models.keypoint_detection.processors import KptPostProcess, TopDownAffine
from paddlex.inference.models.object_detection.processors import ReadImage

config = json.loads(sys.argv[1])
ACCEPTED = {"PP-YOLOE-S_human", "PP-YOLOE-L_human"}


def _under_an_accepted_name(module, folder):
    """PaddleX's pipeline takes only detectors of these names; another runs as the same kind of model under one."""
    if module["model_name"] not in ACCEPTED:
        shutil.copytree(module["model_dir"], folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        yml = yaml.safe_load((folder / "inference.yml").read_text())
        module["model_name"] = "PP-YOLOE-S_human"
        yml["Global"] = {"model_name": module["model_name"]}
        (folder / "inference.yml").write_text(yaml.safe_dump(yml, sort_keys=False))
        module["model_dir"] = str(folder)


copies = tempfile.TemporaryDirectory()
_under_an_accepted_name(config["pipeline"]["SubModules"]["ObjectDetection"], Path(copies.name))
pipeline = create_pipeline(config=config["pipeline"], device="cpu")


def answer(seconds, photos=None, kernels=None):
    """Times of the pipeline on photos, or of the kernels on arrays kept in a file."""
    return _pipeline(photos, seconds) if kernels is None else _kernels(np.load(kernels), seconds)


def _pipeline(photos, seconds):
    images = [cv2.imread(photo) for photo in photos]
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
