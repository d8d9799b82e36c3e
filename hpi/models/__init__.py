"""Models: what they are (:class:`hpi.models.spec.ModelSpec`), and how they run on a session."""

from __future__ import annotations

from hpi.backends.base import Session
from hpi.models.bottomup import BottomUp
from hpi.models.detector import Detector
from hpi.models.model import Model, ModelOptions
from hpi.models.spec import ModelSpec
from hpi.models.topdown import TopDown

__all__ = ["Model", "ModelOptions", "ModelSpec", "model_class", "open_model"]


def model_class(spec: ModelSpec) -> type[Model]:
    """How a model runs: on regions of an image, or on whole images, to find people with keypoints or boxes alone.

    Example:
        >>> from hpi.zoo import Zoo
        >>> zoo = Zoo.default()
        >>> [model_class(zoo.find(name)).__name__ for name in ("MoveNet-Thunder_256x256", "PicoDet-S_person_416")]
        ['TopDown', 'Detector']
    """
    if spec.transform.takes_regions:
        return TopDown
    return BottomUp if spec.is_bottom_up else Detector


def open_model(spec: ModelSpec, session: Session, options: ModelOptions | None = None) -> Model:
    """A model on a session.

    Raises:
        ModelError: the session's inputs or outputs are not what the model's yml says.

    Example:
        >>> from hpi import Predictor
        >>> with Predictor("MoveNet-Thunder_256x256") as predictor:
        ...     (model,) = predictor.pipelines[0].models
        ...     images, regions = model.example_inputs(2)
        ...     [len(people) for people in model.run(images, regions)], model.skeleton.name
        ([1, 1], 'coco17')
    """
    return model_class(spec)(spec, session, options)
