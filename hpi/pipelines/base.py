"""The contract of a pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from hpi.errors import ConfigError, InputError
from hpi.instances import Frame, Instances, Skeleton
from hpi.models.model import Model, Threshold

Regions = Sequence[Instances | None] | None
"""For each frame the people to look at; None: they are to be found."""


class Pipeline(ABC):
    """Models that together make instances of frames, on one device.

    Attributes:
        models: those that it owns, in the order in which they run.
    """

    models: tuple[Model, ...]

    def run(
        self,
        frames: Sequence[Frame],
        *,
        regions: Regions = None,
        threshold: Threshold = None,
    ) -> list[Instances]:
        """Find what is in frames; those of several streams may share a call.

        Args:
            frames: any number.
            regions: for each frame the people to look at, with boxes; then no detector runs. None: all of them are
                to be found.
            threshold: keep people that score above it, or one for each frame; None: the detector's own.

        Returns:
            One for each frame, in pixels of the frame.

        Raises:
            BackendError: a runtime failed.
            ConfigError: the pipeline takes no regions.
        """
        if regions is not None and not self.takes_regions:
            raise ConfigError(f"{self.models[0].spec.name} finds its own boxes and takes no regions")
        return self._run(frames, regions, threshold)

    def check(self, frame: Frame) -> None:
        """Check that the first model can take a frame, which others of its batch need not fail with.

        Raises:
            InputError: it cannot; the message names the frame's file.
        """
        try:
            self.models[0].spec.transform.size_for(frame.image)
        except InputError as error:
            raise InputError(f"{frame.path or 'image'}: {error}") from error

    @abstractmethod
    def _run(self, frames: Sequence[Frame], regions: Regions, threshold: Threshold) -> list[Instances]:
        """As :meth:`run`, with regions only where the pipeline takes them."""

    @property
    @abstractmethod
    def takes_regions(self) -> bool:
        """Whether :meth:`run` takes regions."""

    @property
    def detects(self) -> bool:
        """Whether it finds people, or other objects, itself."""
        return not self.models[0].spec.transform.takes_regions

    @property
    def is_bottom_up(self) -> bool:
        """Whether one model finds people together with their keypoints."""
        return self.models[0].spec.is_bottom_up

    @property
    def skeleton(self) -> Skeleton | None:
        """Of the keypoints that it finds; None of a pipeline that finds none."""
        return self.models[-1].skeleton

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes that it finds."""
        return self.models[0].spec.labels

    @property
    def draw_threshold(self) -> float:
        """The score that it keeps people above by default."""
        return self.models[0].spec.draw_threshold

    def warmup(self) -> None:
        """Run each model once, so that the first call is not slower than the next."""
        image = np.zeros((64, 64, 3), np.uint8)
        for model in self.models:
            model.run([image])

    def close(self) -> None:
        """Unload the models."""
        for model in self.models:
            model.session.close()
