"""rtmlib's classes on this engine: ``from hpi.compat.rtmlib import Body, draw_skeleton``, and the rest stays.

They take rtmlib's arguments and return its arrays. Where rtmlib is wrong they are right; the page "From rtmlib" of the
documentation lists each difference.
"""

from typing import NoReturn

from hpi.compat.rtmlib.drawing import draw_bbox, draw_skeleton
from hpi.compat.rtmlib.solutions import Animal, Body, BodyWithFeet, Custom, Hand, Wholebody
from hpi.compat.rtmlib.tools import RTMO, YOLOX, RTMDet, RTMPose, ViTPose
from hpi.compat.rtmlib.tracker import PoseTracker

_NOT_OFFERED = {
    "Wholebody3d": "keypoints in three dimensions; Wholebody finds the same 133 keypoints in two",
    "RTMPose3d": "keypoints in three dimensions; RTMPose finds them in two",
    "RFDETR": "the detector RF-DETR; YOLOX and RTMDet find people, and hpi.Predictor takes boxes of any detector",
}

__all__ = [
    "RTMO",
    "YOLOX",
    "Animal",
    "Body",
    "BodyWithFeet",
    "Custom",
    "Hand",
    "PoseTracker",
    "RTMDet",
    "RTMPose",
    "ViTPose",
    "Wholebody",
    "draw_bbox",
    "draw_skeleton",
]


def __getattr__(name: str) -> NoReturn:
    """Say of a class of rtmlib that is not offered what to use.

    >>> from hpi.compat.rtmlib import RFDETR  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ImportError: hpi.compat.rtmlib does not offer RFDETR, the detector RF-DETR; ...
    """
    if (what := _NOT_OFFERED.get(name)) is not None:
        # Not an AttributeError: "from ... import" would hide its message.
        raise ImportError(f"hpi.compat.rtmlib does not offer {name}, {what}; see docs/migrate/rtmlib.md")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
