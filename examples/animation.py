"""Pan and zoom over ``basketball.png``, follow the people, and write the animation that the README shows.

It goes to ``docs/assets/basketball.webp``, or where an argument says.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpi import Predictor
from hpi.sources import StreamOptions
from hpi.tracking.base import UNTRACKED

HERE = Path(__file__).parent
SIZE = (400, 300)
FRAMES, RATE = 48, 12


def view(image: np.ndarray, turn: float) -> np.ndarray:
    """A part of the image that wanders once around its middle while ``turn`` goes from 0 to 1."""
    zoom = 0.94 + 0.06 * np.cos(2 * np.pi * turn)
    height, width = image.shape[0] * zoom, image.shape[1] * zoom
    x = (image.shape[1] - width) / 2 * (1 + 0.5 * np.sin(2 * np.pi * turn))
    y = (image.shape[0] - height) / 2 * (1 + 0.6 * np.cos(4 * np.pi * turn))
    corners = np.float32([[x, y], [x + width, y], [x, y + height]])
    onto = np.float32([[0, 0], [SIZE[0], 0], [0, SIZE[1]]])
    return cv2.warpAffine(image, cv2.getAffineTransform(corners, onto), SIZE, flags=cv2.INTER_AREA)


image = cv2.imread(str(HERE / "basketball.png"))
target = Path(sys.argv[1]) if sys.argv[1:] else HERE.parent / "docs" / "assets" / "basketball.webp"
pictures, ids = [], set()
with tempfile.TemporaryDirectory() as folder, Predictor("human_keypoint_detection_lite") as predictor:
    for index in range(FRAMES):
        cv2.imwrite(f"{folder}/{index:03d}.png", view(image, index / FRAMES))
    for result in predictor.stream(f"{folder}/%03d.png", smooth="oneeuro", options=StreamOptions(rate=RATE)):
        ids.update(result.track_ids.tolist())
        pictures.append(Image.fromarray(result.plot()[..., ::-1]))
pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=1000 // RATE, loop=0, quality=50)
print(f"{target.name}: {len(pictures)} frames, {len(ids - {UNTRACKED})} people")
