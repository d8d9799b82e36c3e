"""What the outputs of a network mean: one file for each kind of output. A new head needs its file and a line here."""

from __future__ import annotations

from hpi.heads.base import Head
from hpi.heads.boxes import BoxesHead
from hpi.heads.dets import DetsHead
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.heads.heatmap import HeatmapHead
from hpi.heads.keypoints import KeypointsHead
from hpi.heads.multipose import MultiposeHead
from hpi.heads.rtmdet import RtmdetHead
from hpi.heads.rtmo import RtmoHead
from hpi.heads.simcc import SimccHead
from hpi.heads.tags import TagsHead
from hpi.heads.yolo26_boxes import Yolo26BoxesHead
from hpi.heads.yolo26_pose import Yolo26PoseHead
from hpi.heads.yolo_boxes import YoloBoxesHead
from hpi.heads.yolo_pose import YoloPoseHead
from hpi.heads.yolox import YoloxHead

HEADS: dict[str, type[Head]] = {
    "heatmap": HeatmapHead,
    "simcc": SimccHead,
    "keypoints": KeypointsHead,
    "boxes": BoxesHead,
    "embedded_boxes": EmbeddedBoxesHead,
    "tags": TagsHead,
    "dets": DetsHead,
    "rtmdet": RtmdetHead,
    "yolox": YoloxHead,
    "yolo_boxes": YoloBoxesHead,
    "yolo_pose": YoloPoseHead,
    "yolo26_boxes": Yolo26BoxesHead,
    "yolo26_pose": Yolo26PoseHead,
    "rtmo": RtmoHead,
    "multipose": MultiposeHead,
}
"""By the name that a model's yml has for it: ``hpi: {head: {type: heatmap}}``."""
