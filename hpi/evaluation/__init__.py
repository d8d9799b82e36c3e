"""Accuracy on annotated data: COCO's keypoint and box AP, MPII's PCKh, and who is who in videos."""
