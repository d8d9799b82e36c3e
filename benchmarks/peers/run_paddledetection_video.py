"""PaddleDetection's ``det_keypoint_unite_infer.py`` on a video, from a checkout; see ``run_paddledetection.py``."""

import json
import os
import sys
import time
from types import SimpleNamespace

from loop import serve
from paddledetection_config import adapt

config = json.loads(sys.argv[1])
sys.path.insert(0, f"{config['checkout']}/deploy/python")
os.chdir(config["folder"])  # the script writes its results into the current folder

import det_keypoint_unite_infer as script  # noqa: E402 - in the checkout
import infer  # noqa: E402
from keypoint_infer import KeyPointDetector  # noqa: E402

adapt(infer, onednn=config["onednn"])
settings = {"device": "CPU", "cpu_threads": config["threads"], "enable_mkldnn": config["onednn"]}
detector = infer.Detector(config["detector"], **settings)
estimator = KeyPointDetector(config["estimator"], batch_size=8, **settings)
script.FLAGS = SimpleNamespace(
    video_file=config["clip"],
    output_dir=config["output"],
    det_threshold=0.5,
    keypoint_threshold=0.5,
    filter_type="OneEuro",
    smooth=False,
    run_benchmark=False,
)


def answer():
    """Seconds of the whole video, and people in all frames."""
    start = time.perf_counter()
    script.topdown_unite_predict_video(detector, estimator, -1, 8, save_res=True)
    seconds = time.perf_counter() - start
    with open("det_keypoint_unite_video_results.json") as file:
        return {"seconds": seconds, "people": sum(len(boxes) for _, boxes, _ in json.load(file))}


serve(["paddlepaddle", "numpy"], answer)
