"""A pipeline of one model."""

from __future__ import annotations

from collections.abc import Sequence

from hpi.instances import Frame, Instances
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline, Regions


class SingleModel(Pipeline):
    """One model: a detector, or a keypoint model that takes each frame for one person where no regions are given.

    Example:
        >>> from hpi import Frame, Predictor
        >>> from hpi.sources import read_items
        >>> with Predictor("PicoDet-S_person_416") as predictor:
        ...     pipeline = SingleModel(predictor.pipelines[0].models[0])
        ...     (item,) = read_items("examples/basketball.png")
        ...     pipeline.takes_regions, len(pipeline.run([Frame(item.image)])[0])
        (False, 2)
    """

    def __init__(self, model: Model) -> None:
        self.models = (model,)

    @property
    def takes_regions(self) -> bool:  # noqa: D102
        return self.models[0].spec.transform.takes_regions

    def _run(self, frames: Sequence[Frame], regions: Regions, threshold: Threshold) -> list[Instances]:
        return self.models[0].run([frame.image for frame in frames], regions, threshold)
