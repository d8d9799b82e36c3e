"""A pipeline of one model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpi.instances import Frame, Instances
from hpi.models.model import Model, Threshold
from hpi.pipelines.base import Pipeline, Regions
from hpi.pipelines.topdown import PEOPLE


class SingleModel(Pipeline):
    """One model: a detector, or a keypoint model that takes each frame for one person where no regions are given.

    Of a model that finds keypoints of several classes itself, those of people count, where a class is called so.

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
        labels = model.spec.labels if model.spec.is_bottom_up else ()
        self._people = [index for index, label in enumerate(labels) if label.casefold() in PEOPLE]

    @property
    def takes_regions(self) -> bool:  # noqa: D102
        return self.models[0].spec.transform.takes_regions

    def _run(self, frames: Sequence[Frame], regions: Regions, threshold: Threshold) -> list[Instances]:
        found = self.models[0].run([frame.image for frame in frames], regions, threshold)
        return [self._select(of_frame) for of_frame in found] if self._people else found

    def _select(self, found: Instances) -> Instances:
        """The people among what was found."""
        return found if found.class_ids is None else found[np.isin(found.class_ids, self._people)]
