"""The kernels between image and joints on an NVIDIA card, with the results of those for the CPU."""

from hpi.kernels.cuda.kernels import CudaKernels

__all__ = ["CudaKernels"]
