"""What the outputs of a network mean: one file for each kind of output. A new head needs its file and a line here."""

from __future__ import annotations

from hpi.heads.base import Head
from hpi.heads.boxes import BoxesHead
from hpi.heads.embedded_boxes import EmbeddedBoxesHead
from hpi.heads.heatmap import HeatmapHead
from hpi.heads.keypoints import KeypointsHead
from hpi.heads.simcc import SimccHead
from hpi.heads.tags import TagsHead

HEADS: dict[str, type[Head]] = {
    "heatmap": HeatmapHead,
    "simcc": SimccHead,
    "keypoints": KeypointsHead,
    "boxes": BoxesHead,
    "embedded_boxes": EmbeddedBoxesHead,
    "tags": TagsHead,
}
"""By the name that a model's yml has for it: ``hpi: {head: {type: heatmap}}``."""
