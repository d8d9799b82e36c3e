"""What all models have in common that find keypoints: one input, mirror images, a skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hpi.backends.base import Array, Session
from hpi.errors import ConfigError, ModelError
from hpi.instances import Skeleton
from hpi.models.model import Model, ModelOptions
from hpi.models.spec import ASKED_FOR, ModelSpec
from hpi.transforms import Prepared

CLEAREST = 0.8
"""Share of the best score that keypoints must have to be compared, of a model that is sure of nothing."""


class KeypointModel(Model):
    """A keypoint model with one input, the image.

    Example:
        >>> from hpi.zoo import Zoo
        >>> from hpi.models import model_class
        >>> issubclass(model_class(Zoo.default().find("MoveNet-Thunder_256x256")), KeypointModel)
        True
    """

    def __init__(self, spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> None:
        inputs = [of_input.name for of_input in session.info.inputs]
        if len(inputs) != 1:
            others = [name for name in inputs if name != "image"]
            raise ModelError(
                f"{session.info.model_path}: takes {', '.join(inputs) or 'nothing'}, but a keypoint model takes one "
                f"input, the image; there is nothing to give it as {', '.join(others)}"
            )
        super().__init__(spec, session, options)
        self._input = inputs[0]
        self._keypoints: int | None = None  # how many it finds; known after the first run

    @cached_property
    def skeleton(self) -> Skeleton:
        """What is known of the keypoints that the model finds; numbered ones where nobody knows.

        Raises:
            ModelError: its files name a skeleton of another number of keypoints, or such a one was asked for.
        """
        if (count := self._keypoints) is None:
            nothing = np.zeros((64, 64, 3), np.uint8)
            with self.device.active():
                prepared = self.spec.transform.smallest.prepare(self.device, [nothing])
                count = self._count(self.outputs_of(self.feeds(prepared)))
        named = self.spec.skeleton
        if named is not None and len(named) == count:
            return named
        if named is not None and self.spec.skeleton_is is not None:
            wrong = f"the skeleton {named.name} of {len(named)} keypoints"
            said = f"{wrong} was asked for" if self.spec.skeleton_is == ASKED_FOR else f"names {wrong}"
            raise ModelError(f"{self.spec.yml}: {said}, but the model finds {count}; name one of {count} keypoints")
        return Skeleton.numbered(count)

    def feeds(self, prepared: Prepared) -> dict[str, Array]:  # noqa: D102
        return self._feeds(prepared.batch)

    def raw_outputs(self, batch: Any) -> list[Any]:
        """What the head reads for a batch; averaged with those of the mirror images where flip is on."""
        outputs = self.outputs_of(self._feeds(batch))
        if not self.options.flip:
            return outputs
        mirrored = self.outputs_of(self._feeds(self.device.mirrored(batch)))
        fused = self.spec.head.fuse_flip(outputs, mirrored, self.skeleton.mirrored)
        self.device.wait()  # before a runtime gives the memory of its outputs to its next run
        return fused

    def _check_flip(self) -> None:
        """Refuse flip where nobody knows left and right."""
        if self.options.flip and not self.skeleton.swaps:
            raise ConfigError(
                f"{self.spec.name}: flip needs to know left and right, which nobody says of the model's "
                f"{len(self.skeleton)} keypoints; name its skeleton in {self.spec.yml}, such as hpi: "
                "{skeleton: coco17}"
            )

    def _feeds(self, batch: Any) -> dict[str, Array]:
        return self.device.feeds({self._input: batch})

    def _count(self, outputs: Sequence[Any]) -> int:
        try:
            count = self.spec.head.keypoints_in(outputs)
        except ValueError as error:
            raise ModelError(f"{self.session.info.model_path}: its first output, {error}") from error
        if count is None:
            raise ModelError(f"{self.spec.yml}: a head of the type {self.spec.head.type} finds no keypoints")
        return count
