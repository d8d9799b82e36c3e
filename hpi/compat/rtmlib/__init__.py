"""rtmlib's classes on this engine: ``from hpi.compat.rtmlib import Body, draw_skeleton``, and the rest stays.

They take rtmlib's arguments and return its arrays. Where rtmlib is wrong they are right; the page "From rtmlib" of the
documentation lists each difference.
"""

from hpi.compat.rtmlib.drawing import draw_bbox, draw_skeleton
from hpi.compat.rtmlib.solutions import Animal, Body, BodyWithFeet, Custom, Hand, Wholebody
from hpi.compat.rtmlib.tools import RTMO, YOLOX, RTMDet, RTMPose, ViTPose
from hpi.compat.rtmlib.tracker import PoseTracker

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
