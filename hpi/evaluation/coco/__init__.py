"""COCO: reading its annotations, checking them, and the AP of keypoints and boxes."""

from hpi.evaluation.coco.dataset import Boxes, CocoDataset, boxes_of

__all__ = ["Boxes", "CocoDataset", "boxes_of"]
