"""The whole pipeline as a model of Triton's Python backend.

The file ``model.py`` of a repository is one line, which imports :class:`TritonPythonModel` from here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hpi.backends import BACKENDS
from hpi.backends.cpu import default_threads
from hpi.errors import HpiError, InputError
from hpi.export.triton.native import MODULE, NativeModels
from hpi.export.triton.tensors import (
    BOXES,
    ENCODED,
    IMAGE,
    KEYPOINTS,
    NATIVE,
    PIPELINE_FILE,
    SCORES,
    THRESHOLD,
)
from hpi.instances import Frame, Instances
from hpi.options import check_score
from hpi.predictor import Predictor
from hpi.sources.arrays import check_image
from hpi.sources.images import decode_image

LABEL = "the image"
"""What errors call an image that has no name."""


@dataclass(frozen=True)
class _Asked:
    frame: Frame
    threshold: float | None


class TritonPythonModel:
    """What Triton's Python backend looks for, by this name and with these methods.

    Requests that the server hands over together go through the models together; one that cannot be used gets an error
    and fails no other.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the pipeline; with native models that happens at the first request, since they are ready only then.

        Args:
            args: as the Python backend gives them: the configuration, the folder, the device of this instance.

        Raises:
            HpiError: the models cannot be opened; the server then reports that this model cannot be loaded.
        """
        self._triton = import_module(MODULE)
        config = json.loads(args["model_config"])
        self._file = Path(args["model_repository"], args["model_version"], PIPELINE_FILE)
        self._batched = config["max_batch_size"] > 0
        self._native = config["parameters"].get(NATIVE, {}).get("string_value")
        self._instances = sum(group["count"] for group in config["instance_group"])
        on_gpu = args["model_instance_kind"] == "GPU"
        self._device = f"gpu:{args['model_instance_device_id']}" if on_gpu else "cpu"
        self._predictor = None if self._native else self._open()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, each with the people of its image or with an error.

        Args:
            requests: the Python backend's ``InferenceRequest``.

        Returns:
            An ``InferenceResponse`` for each.
        """
        asked: dict[int, _Asked] = {}
        answers: dict[int, Any] = {}
        for row, request in enumerate(requests):
            try:
                asked[row] = self._read(request)
            except InputError as error:
                answers[row] = self._refusal(error)
        answers.update(zip(asked, self._find(list(asked.values())), strict=True))
        return [answers[row] for row in range(len(requests))]

    def finalize(self) -> None:
        """Unload the models."""
        if self._predictor is not None:
            self._predictor.close()

    def _open(self) -> Predictor:
        if self._native:
            BACKENDS[NativeModels.name] = NativeModels(self._native)
            return Predictor(
                self._file, backend=NativeModels.name, precision="fp32", device="cpu", workers=1, calibrate=False
            )
        share = max(default_threads() // self._instances, 1) if self._device == "cpu" else None
        predictor = Predictor(self._file, device=self._device, threads=share)
        predictor.warmup()
        return predictor

    def _read(self, request: Any) -> _Asked:
        """The image of a request, and its threshold.

        Raises:
            InputError: there is not just one image, or it cannot be used.
        """
        image, encoded = self._value(request, IMAGE), self._value(request, ENCODED)
        if (image is None) == (encoded is None):
            raise InputError(f"give one of the inputs {IMAGE} and {ENCODED}")
        threshold = self._value(request, THRESHOLD)
        pixels = decode_image(bytes(encoded.item()), LABEL) if image is None else check_image(image)
        return _Asked(Frame(pixels), None if threshold is None else check_score(THRESHOLD, threshold.item()))

    def _value(self, request: Any, name: str) -> Any:
        """An input of a request without Triton's batch dimension; None where it is not given."""
        tensor = self._triton.get_input_tensor_by_name(request, name)
        if tensor is None:
            return None
        values = tensor.as_numpy()
        if self._batched and len(values) != 1:
            raise InputError(f"{name} has {len(values)} items: send one image a request, which Triton then batches")
        return values[0] if self._batched else values

    def _find(self, asked: Sequence[_Asked]) -> list[Any]:
        """An answer for each image; where a batch fails, each is tried alone."""
        if not asked:
            return []
        try:
            people = self._run(asked)
        except Exception as error:  # noqa: BLE001 - the client gets it; raised, it would fail every request
            if len(asked) == 1:
                return [self._refusal(error)]
            return [answer for one in asked for answer in self._find([one])]
        return [self._answer(one) for one in people]

    def _run(self, asked: Sequence[_Asked]) -> list[Instances]:
        self._predictor = self._predictor or self._open()
        pipeline = self._predictor.pipelines[0]
        for one in asked:
            pipeline.check(one.frame)
        usual = self._predictor.threshold
        thresholds = [usual if one.threshold is None else one.threshold for one in asked]
        return pipeline.run([one.frame for one in asked], threshold=thresholds)

    def _answer(self, people: Instances) -> Any:
        values = {BOXES: people.boxes, SCORES: people.scores, KEYPOINTS: people.points}
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}
        return self._triton.InferenceResponse(
            [self._triton.Tensor(name, array[None] if self._batched else array) for name, array in arrays.items()]
        )

    def _refusal(self, error: Exception) -> Any:
        triton = self._triton
        known = isinstance(error, HpiError)
        code = triton.TritonError.INVALID_ARG if isinstance(error, InputError) else triton.TritonError.INTERNAL
        text = str(error) if known else f"{type(error).__name__}: {error}"
        return triton.InferenceResponse(error=triton.TritonError(text, code))
