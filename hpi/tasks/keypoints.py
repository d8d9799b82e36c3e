"""Joints of people: crops of all people of all images in one batch through one top-down heatmap model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session
from hpi.errors import ConfigError, ModelError
from hpi.instances import Skeleton
from hpi.kernels.affine import crop_matrices, joints_to_image
from hpi.kernels.batches import split_by_count
from hpi.kernels.boxes import boxes_to_center_scale, whole_image_center_scale
from hpi.kernels.flip import fuse_flipped
from hpi.model_files import ModelSpec, TopDownEvalAffine
from hpi.tasks.placement import NotFiniteError, placement_of

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]

PEOPLE_PER_RUN = 32
"""Most people in one run of the model: more are cut into several runs, so that memory stays bounded."""


@dataclass(frozen=True)
class KeypointOptions:
    """How joints are found.

    Attributes:
        flip: average with the mirrored crop; twice the time. None: no.
        use_udp: crop by the UDP convention; None: as the model's yml says.
    """

    flip: bool | None = None
    use_udp: bool | None = None


@dataclass(frozen=True)
class Regions:
    """Crop regions of the people of one image: ``center`` and ``scale``, ``[N, 2]`` float32, pixels."""

    center: Float32
    scale: Float32


class KeypointEstimator:
    """A top-down keypoint model on a session."""

    def __init__(self, spec: ModelSpec, session: Session, options: KeypointOptions) -> None:
        assert isinstance(spec.geometry, TopDownEvalAffine)
        inputs = [of_input.name for of_input in session.info.inputs]
        if len(inputs) != 1:
            others = [name for name in inputs if name != "image"]
            raise ModelError(
                f"{session.info.model_path}: takes {', '.join(inputs) or 'nothing'}, but a keypoint model takes one "
                f"input, the image; there is nothing to give it as {', '.join(others)}"
            )
        self.placement = placement_of(spec, session)
        self._input = inputs[0]
        self.spec = spec
        self.session = session
        self.flip = bool(options.flip)
        self.udp = spec.geometry.use_udp if options.use_udp is None else options.use_udp

    @cached_property
    def skeleton(self) -> Skeleton:
        """What is known of the keypoints that the model finds; of as many as it has outputs for."""
        named = self.spec.skeleton
        nothing = np.zeros((64, 64, 3), np.uint8)
        with self.placement.active():
            count = self._run(self.crops([nothing], [self.whole_image(nothing)])).shape[1]
        return named if named and len(named) == count else Skeleton.numbered(count)

    def regions(self, boxes: Float32) -> Regions:
        """Crop regions of people given by their boxes ``[N, 4]``, pixels: padded, in the model's aspect ratio."""
        width, height = self.spec.input_size
        return Regions(*boxes_to_center_scale(boxes, width / height, self.spec.top_down.padding))

    def whole_image(self, image: Image) -> Regions:
        """The crop region of an image that shows one person and has no box."""
        return Regions(*whole_image_center_scale(image.shape[1], image.shape[0]))

    @staticmethod
    def join(regions: Sequence[Regions]) -> Regions:
        """The people of several images together."""
        return Regions(
            np.concatenate([people.center for people in regions]), np.concatenate([people.scale for people in regions])
        )

    def predict(self, images: Sequence[Image], regions: Sequence[Regions]) -> list[Float32]:
        """Find the joints of everyone in a batch of images.

        Args:
            images: ``[H, W, 3]`` uint8 BGR each.
            regions: the people of each image.

        Returns:
            For each image ``[N_i, K, 3]`` float32: x and y in pixels of the image, score.
        """
        if not images:
            return []
        with self.placement.active():
            crops, everyone = self.crops(images, regions), self.join(regions)
            joints = []
            for start in range(0, len(crops), PEOPLE_PER_RUN):
                run = slice(start, start + PEOPLE_PER_RUN)
                people = Regions(everyone.center[run], everyone.scale[run])
                joints.append(self.joints(self.heatmaps(crops[run]), people))
        found = np.concatenate(joints) if joints else np.empty((0, len(self.skeleton), 3), np.float32)
        return split_by_count(found, (len(people.center) for people in regions))

    def inputs(self, images: Sequence[Image], regions: Sequence[Regions]) -> dict[str, NDArray[Any]]:
        """What the session is fed with for all these people in one run."""
        return self.feeds(self.crops(images, regions))

    def feeds(self, crops: Any) -> dict[str, NDArray[Any]]:
        """What the session is fed with for crops."""
        return self.placement.feeds({self._input: crops})

    def crops(self, images: Sequence[Image], regions: Sequence[Regions]) -> Any:
        """Crops of everyone: ``[N, height, width, 3]`` uint8 BGR, or on a card as the session takes them."""
        size = self.spec.input_size
        matrices = [crop_matrices(people.center, people.scale, size, udp=self.udp) for people in regions]
        return self.placement.crops(self.placement.placed(images), matrices, size)

    def joints(self, heatmaps: Any, people: Regions) -> Float32:
        """Joints of the people that the heatmaps are of: ``[N, K, 3]`` x and y in pixels of the image, score."""
        cells, scores = self.placement.decode_dark(heatmaps)
        points = joints_to_image(
            cells,
            people.center,
            people.scale,
            (heatmaps.shape[3], heatmaps.shape[2]),
            offset=self.spec.top_down.heatmap_offset,
            udp_input_size=self.spec.input_size if self.udp else None,
        )
        joints: Float32 = np.concatenate([points, scores[..., None]], axis=-1)
        if not np.isfinite(joints).all():
            raise NotFiniteError(self.spec, self.session)
        return joints

    def heatmaps(self, crops: Any) -> Any:
        """Heatmaps ``[N, K, H, W]`` of crops, averaged with those of their mirror images where flip is on."""
        heatmaps = self._run(crops)
        if not self.flip:
            return heatmaps
        if not self.skeleton.swaps:
            raise ConfigError(
                f"{self.spec.name}: flip needs to know left and right, which nobody says of the model's "
                f"{heatmaps.shape[1]} keypoints; name its skeleton in its yml"
            )
        # A grid whose cells stand for their centres is symmetric, one whose cells stand for corners is not.
        shift = self.spec.top_down.heatmap_offset == 0
        mirrored = self._run(self.placement.mirrored(crops))
        fused = fuse_flipped(heatmaps, mirrored, self.skeleton.swaps, shift=shift)
        self.placement.wait()  # before a runtime gives the memory of its outputs to its next run
        return fused

    def _run(self, crops: Any) -> Any:
        heatmaps = self.session.run(self.feeds(crops))[0]
        if heatmaps.ndim != 4 or heatmaps.dtype != np.float32:
            raise ModelError(
                f"{self.session.info.model_path}: its first output, {heatmaps.dtype} {heatmaps.shape}, is not heatmaps "
                "[N, joints, height, width] in float32"
            )
        return heatmaps
