"""The contract of a head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hpi.errors import ConfigError
from hpi.instances import Instances, Skeleton
from hpi.io.validation import Record

if TYPE_CHECKING:
    from hpi.kernels.cuda import CudaKernels

Task = Literal["object_detection", "keypoint_detection"]
Items = NDArray[np.int64]


class Head(Record):
    """Turns the outputs of a network into instances, in pixels of its input.

    Attributes:
        type: its name in a model's yml.
        outputs: names of the outputs that it reads, in its order; by default the first ones.
        task: what a model with it does.
        reads: how many outputs it needs.
        reads_also: how many more it reads, of models that have all of these.
        batches: whether the outputs tell the images of a batch apart; otherwise images run one by one.

    Example:
        >>> from hpi.heads.boxes import BoxesHead
        >>> head: Head = BoxesHead()
        >>> head.type, head.task, head.finds_keypoints
        ('boxes', 'object_detection', False)
    """

    type: str
    outputs: tuple[str, ...] = ()
    task: ClassVar[Task]
    reads: ClassVar[int] = 1
    reads_also: ClassVar[int] = 0
    batches: ClassVar[bool] = True

    @property
    def finds_keypoints(self) -> bool:
        """Whether its instances have keypoints."""
        return self.task == "keypoint_detection"

    @property
    def wanted_outputs(self) -> tuple[str, ...] | int:
        """The outputs that it may read: their names, or how many of the first."""
        return self.outputs or self.reads + self.reads_also

    @property
    def decodes_on_gpu(self) -> bool:
        """Whether :meth:`decode` takes CuPy arrays; otherwise outputs are brought to the host before."""
        return False

    @property
    def resolution(self) -> float:
        """How far apart the places are that a keypoint can be at, pixels of the input; 0: it can be anywhere."""
        return 0.0

    def check_installed(self) -> None:
        """Check that the packages that it needs are installed.

        Raises:
            ConfigError: one is not; the message says how to install it.
        """

    @abstractmethod
    def decode(
        self, outputs: Sequence[Any], count: int, size: tuple[int, int], kernels: CudaKernels | None = None
    ) -> tuple[Instances, Items]:
        """Decode a batch.

        Args:
            outputs: those that it reads, ``[N, ...]`` each.
            count: items in the batch, N.
            size: (width, height) of the network's input, pixels.
            kernels: those of the GPU that the outputs are on; None: they are NumPy arrays.

        Returns:
            The instances of the whole batch, in pixels of the input, and ``[M]`` int64: the item of the batch that
            each belongs to, ascending.

        Raises:
            ValueError: the outputs are not what this head reads; the message says what they should be.
        """

    def of_skeleton(self, skeleton: Skeleton | None) -> Head:
        """The head of a model with such keypoints; None: nobody says which they are.

        Raises:
            ValueError: it needs to know something of them that the skeleton does not say.
        """
        return self

    def keypoints_in(self, outputs: Sequence[Any]) -> int | None:
        """How many keypoints the outputs are for; None of a head without keypoints."""
        return None

    def fuse_flip(self, outputs: Sequence[Any], mirrored: Sequence[Any], order: NDArray[np.int64]) -> list[Any]:
        """The outputs of a batch and of its mirror image, averaged.

        Args:
            outputs: of the batch.
            mirrored: of the mirrored batch.
            order: ``[K]`` int64: which keypoint is where in a mirror image.

        Raises:
            ConfigError: this head cannot.
        """
        raise ConfigError(f"flip: outputs of the type {self.type} cannot be averaged with those of the mirror image")
