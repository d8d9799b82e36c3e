"""PaddleX's check of a keypoint data set: its problems, its size, and pictures of it.

A data set is a folder with ``images/`` and, in COCO's format, ``annotations/instance_train.json`` and
``annotations/instance_val.json``.
"""

from hpi.evaluation.check_dataset.check import PICTURES, RESULT, check_dataset

__all__ = ["PICTURES", "RESULT", "check_dataset"]
