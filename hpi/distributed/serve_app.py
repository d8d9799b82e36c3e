"""The HTTP service as an application of Ray Serve: its replicas, and deploying them.

``serve run`` and ``serve deploy`` take :func:`build`, as ``hpi.distributed.serve_app:build``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from hpi.distributed.ray_cluster import LOCAL, arguments_in_actor, connected
from hpi.errors import HpiError
from hpi.io.validation import Record, is_yaml, parse
from hpi.serving.app import create_app
from hpi.serving.run import MAX_CONNECTIONS, open_predictor, settings_of, start_log
from hpi.serving.settings import Count, Positive, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

logger = logging.getLogger(__name__)

DEPLOYMENT = "service"
"""Name of the deployment in the application, for Serve's YAML and its status."""

STARTS = 3
"""How often a replica that cannot be opened is tried; Serve's own default takes minutes to report a wrong option."""


class ServiceArguments(Record):
    """What :func:`build` takes: the service, and how many replicas of it run on what.

    Attributes:
        pipeline: name or YAML file of the pipeline.
        model: a model that finds people with their keypoints itself, in its place.
        predictor: further arguments of the :class:`Predictor`. Unless they say otherwise, it runs on the GPU that Ray
            gives a replica, or on as many threads as it gives CPUs.
        settings: fields of :class:`Settings`, which outrank those of the YAML.
        json_logs: whether replicas log one JSON object per line.
        cpus: CPUs of each replica.
        gpus: GPUs of each replica.
        replicas: how many there are. None: one, or between the next two.
        min_replicas: fewest, if their number follows the load. By default one.
        max_replicas: most of them.
        max_surge_percent: how many replicas may run besides during an update, in percent. 0: old ones stop before new
            ones start, which takes no more CPUs than there were.

    Example:
        >>> ServiceArguments(pipeline="human_keypoint_detection_lite", cpus=2).replicas is None
        True
    """

    pipeline: str | None = None
    model: str | None = None
    predictor: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    json_logs: bool = False
    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    replicas: Count | None = None
    min_replicas: Annotated[int, Field(ge=0)] | None = None
    max_replicas: Count | None = None
    max_surge_percent: Annotated[int, Field(ge=0, le=100)] = 0

    @model_validator(mode="after")
    def _fits(self) -> ServiceArguments:
        if (self.pipeline is None) == (self.model is None):
            raise ValueError("give pipeline or model")
        if self.replicas is not None and (self.min_replicas, self.max_replicas) != (None, None):
            raise ValueError("give replicas, or min_replicas and max_replicas")
        if self.max_replicas is None and self.min_replicas is not None:
            raise ValueError("min_replicas needs max_replicas")
        if self.max_replicas is not None and self.max_replicas < (self.min_replicas or 0):
            raise ValueError("max_replicas is less than min_replicas")
        if not self.gpus and str(self.predictor.get("device") or "").startswith(("gpu", "cuda")):
            raise ValueError(f"device is {self.predictor['device']}, but replicas have no GPU; set gpus")
        return self


class Replica:
    """One replica of the service: a predictor with what Ray gives this process, and the application around it."""

    def __init__(self, name: str, predictor: Mapping[str, Any], settings: Mapping[str, Any], json_logs: bool) -> None:
        start_log(json_logs=json_logs)
        self._settings = Settings.model_validate(settings)
        self._predictor = open_predictor(name, arguments_in_actor(predictor))

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application of ``hpi serve``, which Ray Serve calls; it closes the predictor."""
        return create_app(self._predictor, self._settings)

    async def check_health(self) -> None:
        """Run the models once. Ray replaces the replica where that fails, as on a GPU that is lost, or hangs."""
        await asyncio.to_thread(self._predictor.warmup)


def build(args: Mapping[str, Any]) -> Application:
    """The application of Ray Serve that answers as ``hpi serve`` does.

    Args:
        args: fields of :class:`ServiceArguments`.

    Raises:
        ConfigError: a field is wrong.
    """
    from ray import serve

    given = parse(ServiceArguments, args, "args")
    name = given.pipeline or given.model or ""
    if is_yaml(name) or os.sep in name:  # replicas run in other folders
        name = str(Path(name).absolute())
    settings = settings_of(name, given.predictor, given.settings, is_model=given.model is not None)
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": given.cpus, "num_gpus": given.gpus},
        # The service itself refuses what exceeds max_requests; requests for its state are answered even then.
        max_ongoing_requests=MAX_CONNECTIONS,
        max_queued_requests=MAX_CONNECTIONS,
        graceful_shutdown_timeout_s=settings.read_s + settings.deadline_s + 1,
        max_constructor_retry_count=STARTS,
        max_surge_percent=given.max_surge_percent,
        logging_config={"enable_access_log": False},  # the service logs its requests
        **_scale(given, settings),
    )
    return deployment.bind(name, given.predictor, settings.model_dump(), given.json_logs)


def _scale(given: ServiceArguments, settings: Settings) -> dict[str, Any]:
    """How many replicas there are, as options of the deployment."""
    if given.max_replicas is None:
        return {"num_replicas": given.replicas or 1}
    least = 1 if given.min_replicas is None else given.min_replicas
    # So many requests fill the batches of a replica; with more, another one answers sooner.
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": given.max_replicas,
            "target_ongoing_requests": settings.max_batch,
        }
    }


def deploy(
    args: Mapping[str, Any], *, address: str = LOCAL, host: str, port: int, name: str, route_prefix: str = "/"
) -> None:
    """Deploy the service on a Ray cluster, or update it there without losing a request.

    On a cluster of its own, which it starts on this machine, it serves until SIGINT or SIGTERM.

    Args:
        args: fields of :class:`ServiceArguments`.
        address: of the cluster; see :func:`hpi.distributed.ray_cluster.connected`.
        host: address to listen on, on each node.
        port: port to listen on.
        name: of the application; one of this name is updated.
        route_prefix: path in front of the service's own.

    Raises:
        ConfigError: a field is wrong, or Ray is not installed.
        HpiError: there is no cluster, Serve listens elsewhere already, or the service cannot be started.
    """
    start_log(json_logs=bool(args.get("json_logs")))
    with connected(address):
        import ray
        from ray import serve

        application = build(args)
        quiet = {"log_level": "WARNING"} if address == LOCAL else None
        serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
        _check_listening(host, port)
        try:
            serve.run(application, name=name, route_prefix=route_prefix)
        except RuntimeError as error:
            raise HpiError(f"{name}: the service cannot be started: {_reason(name) or error}") from error
        logger.info("serving at http://%s:%d%s", host, port, route_prefix)
        if address == LOCAL:
            # Only auto finds the token of a Ray that was started here.
            logger.info("to update it: hpi deploy ray --ray auto (%s)", ray.get_runtime_context().gcs_address)
            _wait_for_signal()
            serve.shutdown()


def _check_listening(host: str, port: int) -> None:
    """Check where Serve listens, which it decides for all applications when it starts.

    Raises:
        HpiError: it listens elsewhere.
    """
    from ray.serve.context import _get_global_client

    there = _get_global_client().http_config
    if (there.host, there.port) != (host, port):
        raise HpiError(
            f"Ray Serve of this cluster listens on {there.host}:{there.port} already: give --host {there.host} --port "
            f"{there.port}, or end all its applications with `serve shutdown`"
        )


def _reason(name: str) -> str | None:
    """Why the replicas of an application cannot start, which Serve says with a traceback; None if it does not."""
    from ray import serve

    status = serve.status().applications.get(name)
    lines = status.deployments[DEPLOYMENT].message.splitlines() if status and DEPLOYMENT in status.deployments else []
    return lines[-1] if lines else None


def _wait_for_signal() -> None:
    """Wait for SIGINT or SIGTERM, without an exception that would interrupt what follows."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    logger.info("press Ctrl+C to stop")
    stopped.wait()
