"""Following people through the frames of a stream: who is who, where they will be, and steadier keypoints."""
