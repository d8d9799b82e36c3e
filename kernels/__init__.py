"""Numeric kernels: pure functions over arrays, no files, no runtimes. NumPy and OpenCV only.

Conventions: images are ``[H, W, 3]`` uint8 BGR; points are ``(x, y)``; a person's crop is described by ``center``
and ``scale`` in pixels of the input image; ``N`` counts people, ``K`` keypoints.
"""
