"""The kernels from image to keypoints on an NVIDIA GPU, with the same results as those on the CPU."""

from hpi.kernels.cuda.kernels import CudaKernels

__all__ = ["CudaKernels"]
