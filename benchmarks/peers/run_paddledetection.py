"""PaddleDetection's deploy scripts on folders that it exported, from a checkout of it.

Run with the Python that has ``paddlepaddle`` and what ``deploy/python`` imports.
"""

import json
import sys

import cv2
from loop import serve, times
from paddledetection_config import adapt

config = json.loads(sys.argv[1])
sys.path.insert(0, f"{config['checkout']}/deploy/python")

import infer  # noqa: E402 - in the checkout
from det_keypoint_unite_infer import predict_with_given_det  # noqa: E402
from keypoint_infer import KeyPointDetector  # noqa: E402

adapt(infer, onednn=config["onednn"])
settings = {"device": "CPU", "cpu_threads": config["threads"], "enable_mkldnn": config["onednn"]}
detector = infer.Detector(config["detector"], **settings) if config["detector"] else None
estimator = KeyPointDetector(config["estimator"], batch_size=config["batch"], **settings)


def people_of(image):
    """The keypoints of everyone: of an image, or of those that the detector finds in it."""
    if detector is None:
        return estimator.predict_image([image], visual=False)["keypoint"]
    boxes = detector.filter_box(detector.predict_image([image], visual=False), config["threshold"])
    return predict_with_given_det(image, boxes, estimator, config["batch"], False)["keypoint"][0]


def answer(seconds, path):
    """Keypoints and times of an image."""
    image = cv2.imread(path)[:, :, ::-1]
    keypoints = [[list(map(float, point)) for point in person] for person in people_of(image)]
    return {"people": keypoints, "ms": times(lambda: people_of(image), seconds)}


serve(["paddlepaddle", "numpy"], answer)
