"""A pipeline of one model."""

from __future__ import annotations

from collections.abc import Sequence

from hpi.errors import ConfigError
from hpi.instances import Frame, Instances
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline


class SingleModel(Pipeline):
    """One model: a detector, or a keypoint model that takes each frame for one person where no regions are given."""

    def __init__(self, model: Model) -> None:
        self.models = (model,)

    @property
    def takes_regions(self) -> bool:  # noqa: D102
        return self.models[0].spec.transform.takes_regions

    def run(  # noqa: D102
        self,
        frames: Sequence[Frame],
        *,
        regions: Sequence[Instances | None] | None = None,
        threshold: Threshold = None,
    ) -> list[Instances]:
        (model,) = self.models
        if regions is not None and not self.takes_regions:
            raise ConfigError(f"{model.spec.name} finds its own boxes and takes no regions")
        return model.run([frame.image for frame in frames], regions, threshold)
