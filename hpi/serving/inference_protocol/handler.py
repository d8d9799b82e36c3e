"""What both transports of the protocol share: the model that there is, and finding people for a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import hpi
from hpi.instances import Frame, Instances
from hpi.serving.encoded import IMAGE_LABEL
from hpi.serving.inference_protocol.tensors import INPUTS, PoseInputs, output_metadata
from hpi.serving.limits import Limit, Memory, RequestError
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.service import PoseRequest, PoseService
from hpi.serving.settings import Settings
from hpi.serving.tracing import Tracing

VERSION = "1"
"""The version of the model, since a service has one."""


def server_metadata() -> dict[str, Any]:
    """What the server is.

    Example:
        >>> server_metadata()["extensions"]
        ['binary_tensor_data']
    """
    return {"name": "hpi", "version": hpi.__version__, "extensions": ["binary_tensor_data"]}


class InferenceHandler:
    """Finds the people of a request, within the limits of the service.

    Attributes:
        name: of the model, which is the pipeline's.
        settings: limits and switches.
        memory: for the data and images of all requests.
        limit: of the requests that run at a time, of every protocol.
        metrics: of the service.
        tracing: makes the traces of calls by gRPC; those by HTTP have theirs already.
    """

    def __init__(
        self,
        name: str,
        service: PoseService,
        settings: Settings,
        memory: Memory,
        limit: Limit,
        metrics: Metrics,
        tracing: Tracing | None,
    ) -> None:
        self.name = name
        self._keypoints = len(service.skeleton.keypoints)
        self.settings = settings
        self.memory = memory
        self.limit = limit
        self.metrics = metrics
        self.tracing = tracing
        self._service = service

    def check_model(self, name: str, version: str) -> None:
        """Check that a model is the one that there is.

        Args:
            name: its name.
            version: its version; empty for any.

        Raises:
            RequestError: 404, it is another.
        """
        if name != self.name:
            message = f"there is no model {name[:100]!a}; this service has '{self.name}'"
            raise RequestError(HTTPStatus.NOT_FOUND, message)
        if version not in {"", VERSION}:
            message = f"'{name}' has no version {version[:40]!a}; it has {VERSION}"
            raise RequestError(HTTPStatus.NOT_FOUND, message)

    def model_metadata(self) -> dict[str, Any]:
        """What the model takes and gives."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "hpi_pipeline",
            "inputs": INPUTS,
            "outputs": output_metadata(self._keypoints),
        }

    def is_ready(self) -> bool:
        """Whether a request would be accepted now."""
        try:
            self.limit.check()
        except RequestError:
            return False
        return True

    async def find(self, inputs: PoseInputs, clock: Clock) -> Instances:
        """Find the people of an image; if it is cancelled, the image leaves the queue.

        Raises:
            InputError: the image file cannot be used.
            RequestError: 503, no memory is left.
        """
        service = self._service
        if inputs.shape is not None:
            return await service.find(PoseRequest(Frame(inputs.pixels), inputs.threshold), clock)
        data = bytes(inputs.image)
        with self.memory.held(len(data) + await service.size(data, IMAGE_LABEL)):
            image = await service.decode(data, clock)
            return await service.find(PoseRequest(Frame(image), inputs.threshold), clock)
