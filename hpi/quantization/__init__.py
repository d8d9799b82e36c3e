"""INT8 for detectors: calibrating on images, validating it, and keeping it.

NNCF calibrates; see ``docs/how-to/quantize.md``.
"""
