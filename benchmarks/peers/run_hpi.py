"""One version of this project. Run with the Python that it is installed in; an earlier version must run this too."""

import json
import subprocess
from pathlib import Path

import cv2
from loop import serve, times

import hpi

opened = {}


def answer(seconds, options, path=None, batch_size=1):
    """Times of a predictor: on a decoded image, on the files of a folder, or without a path of its detector alone."""
    predictor = predictor_of(options)
    found = []
    if path is None:
        run = predictor.pipelines[0].models[0].example_run(1)
    else:
        given = path if Path(path).is_dir() else cv2.imread(path)

        def run():
            found[:] = predictor.predict(given, batch_size=batch_size)

    taken = times(run, seconds)
    models = [describe(model) for model in predictor.describe()["models"]]
    people = [[person["keypoints"].tolist() for person in result["boxes"]] for result in found]
    return {"ms": taken, "keypoints": people, "models": models[:1] if path is None else models}


def describe(model):
    """What a model runs on; earlier versions had no workers."""
    return f"{model['backend']} {model['variant']}, {model.get('workers', 1)} x {model['threads']} threads"


def predictor_of(options):
    """Each set of options is opened once."""
    key = json.dumps(options)
    if key not in opened:
        opened[key] = hpi.Predictor("", **options)
    return opened[key]


def revision():
    """Of the checkout that it is installed from; nothing where it is none."""
    command = ["git", "-C", str(Path(hpi.__file__).parent), "rev-parse", "HEAD", "HEAD:./__init__.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"revision": done.stdout[:9]} if done.returncode == 0 else {}


serve(["hpi-pose", "numpy", "opencv-python", "onnxruntime", "openvino", "paddlepaddle"], answer, **revision())
