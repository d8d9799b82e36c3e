"""PaddleX's check of a keypoint data set: is it sound, how large is it, what does it look like.

A data set is a folder with ``images/`` and, in COCO's form, ``annotations/instance_train.json`` and
``annotations/instance_val.json``.
"""

from hpi.evaluation.check_dataset.check import PICTURES, RESULT, check_dataset

__all__ = ["PICTURES", "RESULT", "check_dataset"]
