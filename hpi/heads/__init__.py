"""What the outputs of a network mean: one file for each kind of output. A new head needs its file and a line here."""

from __future__ import annotations

from hpi.heads.base import Head
from hpi.heads.boxes import BoxesHead
from hpi.heads.heatmap import HeatmapHead

HEADS: dict[str, type[Head]] = {"heatmap": HeatmapHead, "boxes": BoxesHead}
"""By the name that a model's yml has for it: ``hpi: {head: {type: heatmap}}``."""
