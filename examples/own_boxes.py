"""Use a detector of your own: give the keypoint model an image and boxes, and all people go in one batch."""

from pathlib import Path

import cv2

from hpi import Predictor

image = cv2.imread(str(Path(__file__).with_name("basketball.png")))
boxes = [[39, 77, 160, 478], [432, 20, 640, 480]]  # x1, y1, x2, y2 in pixels

with Predictor("MoveNet-Thunder_256x256") as predictor:
    (result,) = predictor.predict(image, boxes=boxes)
    print(f"{len(result['kpts'])} people, on {predictor.backend}")
