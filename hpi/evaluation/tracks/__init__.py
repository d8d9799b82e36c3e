"""Accuracy of tracking on annotated videos: who is who, with boxes as in MOT or keypoints as in PoseTrack."""
