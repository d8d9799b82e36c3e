"""A model repository for NVIDIA's Triton Inference Server.

:mod:`~hpi.export.triton.repository` writes it, :mod:`~hpi.export.triton.model` is what Triton's Python backend runs.
"""
