"""Joints of people: crops of all people of all images in one batch through one top-down heatmap model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi.backends.base import Session
from hpi.errors import ConfigError, ModelError
from hpi.kernels.affine import crop_matrices, joints_to_image, stack_crops
from hpi.kernels.boxes import boxes_to_center_scale, whole_image_center_scale
from hpi.kernels.flip import fuse_flipped, mirror
from hpi.kernels.heatmaps import decode_dark
from hpi.kernels.normalize import normalization_table, normalize
from hpi.model_files import ModelSpec, TopDownEvalAffine
from hpi.tasks.checks import check_image_input
from hpi.zoo import Skeleton

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

    def __init__(self, spec: ModelSpec, session: Session, skeleton: Skeleton, options: KeypointOptions) -> None:
        assert isinstance(spec.geometry, TopDownEvalAffine)
        check_image_input(spec, session)
        if [of_input.name for of_input in session.info.inputs] != ["image"]:
            raise ModelError(
                f"{session.info.model_path}: takes {[of_input.name for of_input in session.info.inputs]}; "
                "a keypoint model takes one input, 'image'"
            )
        self.spec = spec
        self.session = session
        self.skeleton = skeleton
        self.flip = bool(options.flip)
        self.udp = spec.geometry.use_udp if options.use_udp is None else options.use_udp
        self._table = normalization_table(spec.normalize.mean, spec.normalize.std, is_scale=spec.normalize.is_scale)

    def regions(self, boxes: Float32) -> Regions:
        """Crop regions of people given by their boxes ``[N, 4]``, pixels: padded, in the model's aspect ratio."""
        width, height = self.spec.input_size
        return Regions(*boxes_to_center_scale(boxes, width / height, self.spec.top_down.padding))

    def whole_image(self, image: Image) -> Regions:
        """The crop region of an image that shows one person and has no box."""
        return Regions(*whole_image_center_scale(image.shape[1], image.shape[0]))

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
        everyone = Regions(
            np.concatenate([people.center for people in regions]),
            np.concatenate([people.scale for people in regions]),
        )
        crops = self._crops(images, regions)
        joints = [
            self._joints(crops[start : start + PEOPLE_PER_RUN], everyone, start)
            for start in range(0, len(crops), PEOPLE_PER_RUN)
        ]
        nobody = np.empty((0, len(self.skeleton.joints), 3), np.float32)
        ends = np.cumsum([len(people.center) for people in regions])
        return np.split(np.concatenate(joints) if joints else nobody, ends[:-1])

    def inputs(self, images: Sequence[Image], regions: Sequence[Regions]) -> dict[str, Float32]:
        """What the session is fed with for all these people in one run."""
        return {"image": normalize(self._crops(images, regions), self._table)}

    def _crops(self, images: Sequence[Image], regions: Sequence[Regions]) -> Image:
        size = self.spec.input_size
        matrices = [crop_matrices(people.center, people.scale, size, udp=self.udp) for people in regions]
        return stack_crops(images, matrices, size)

    def _joints(self, crops: Image, everyone: Regions, start: int) -> Float32:
        """``[N, K, 3]`` joints of one run; its people begin at ``start``."""
        heatmaps = self._heatmaps(normalize(crops, self._table))
        cells, scores = decode_dark(heatmaps)
        run = slice(start, start + len(crops))
        points = joints_to_image(
            cells,
            everyone.center[run],
            everyone.scale[run],
            (heatmaps.shape[3], heatmaps.shape[2]),
            offset=self.spec.top_down.heatmap_offset,
            udp_input_size=self.spec.input_size if self.udp else None,
        )
        return np.concatenate([points, scores[..., None]], axis=-1)

    def _heatmaps(self, batch: Float32) -> Float32:
        heatmaps = self._run(batch)
        if not self.flip:
            return heatmaps
        if heatmaps.shape[1] != len(self.skeleton.joints):
            raise ConfigError(
                f"{self.spec.name}: flip needs to know left and right, and the model's {heatmaps.shape[1]} joints are "
                f"not the {len(self.skeleton.joints)} of its skeleton"
            )
        # A grid whose cells stand for their centres is symmetric, one whose cells stand for corners is not.
        shift = self.spec.top_down.heatmap_offset == 0
        return fuse_flipped(heatmaps, self._run(mirror(batch)), self.skeleton.flip_pairs, shift=shift)

    def _run(self, batch: Float32) -> Float32:
        heatmaps: Float32 = self.session.run({"image": batch})[0]
        if heatmaps.ndim != 4 or heatmaps.dtype != np.float32:
            raise ModelError(
                f"{self.session.info.model_path}: its first output, {heatmaps.dtype} {heatmaps.shape}, is not heatmaps "
                "[N, joints, height, width] in float32"
            )
        return heatmaps
