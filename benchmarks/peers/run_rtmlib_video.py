"""rtmlib's ``PoseTracker`` on a video, with a detector that it does not have. Needs ``rtmlib`` and ``onnxruntime``."""

import json
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
from loop import serve
from rtmlib import PoseTracker, ViTPose, draw_skeleton

config = json.loads(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = config["threads"]
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class Detector:
    """A detector in PaddleDetection's layout, as a plain loop would run it."""

    det_mode = "human"

    def __init__(self):
        self.session = onnxruntime.InferenceSession(config["detector"], options)
        self.inputs = {one.name for one in self.session.get_inputs()}

    def __call__(self, image):
        """``[N, 4]`` boxes of people."""
        width, height = config["detector_size"]
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, ::-1]
        batch = ((resized / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)[None]
        scale = np.float32([[height / image.shape[0], width / image.shape[1]]])
        given = {"image": batch, "scale_factor": scale, "im_shape": np.float32([[height, width]])}
        found = self.session.run(None, {name: given[name] for name in self.inputs})[0]
        return found[found[:, 1] > 0.5][:, 2:]


def solution(**_):
    """What PoseTracker asks of a class of rtmlib."""
    pose = ViTPose(config["estimator"], model_input_size=tuple(config["size"]), backend="onnxruntime", device="cpu")
    pose.session = onnxruntime.InferenceSession(config["estimator"], options)
    return SimpleNamespace(det_model=Detector(), pose_model=pose)


def answer():
    """Seconds of the whole video, and people in all frames."""
    start = time.perf_counter()
    tracker = PoseTracker(solution, det_frequency=config["every"], tracking=True, backend="onnxruntime", device="cpu")
    video = cv2.VideoCapture(config["clip"])
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(config["output"], cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size)
    people = 0
    while True:
        more, frame = video.read()
        if not more:
            break
        keypoints, scores = tracker(frame)
        people += len(keypoints)
        writer.write(draw_skeleton(frame, keypoints, scores, kpt_thr=0.2))
    writer.release()
    return {"seconds": time.perf_counter() - start, "people": people}


serve(["rtmlib", "onnxruntime", "numpy"], answer)
