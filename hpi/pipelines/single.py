"""A pipeline of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpi.instances import Instances
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline, Regions


class SingleModel(Pipeline):
    """One model: a detector, or a keypoint model that takes each frame for one person where no regions are given."""

    def __init__(self, model: Model) -> None:
        self.models = (model,)

    @property
    def takes_regions(self) -> bool:  # noqa: D102
        return self.models[0].spec.transform.takes_regions

    def _run(self, images: Sequence[Any], regions: Regions, threshold: Threshold) -> list[Instances]:
        return self.models[0].run(images, regions, threshold)
