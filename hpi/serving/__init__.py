"""The HTTP service: dynamic batching, limits, metrics and a page around PaddleX's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpi.errors import ConfigError


def serve(pipeline: str, predictor: Mapping[str, Any], overrides: Mapping[str, Any], **options: Any) -> None:
    """Serve a pipeline; see :func:`hpi.serving.run.serve`.

    Raises:
        ConfigError: the packages of the service are not installed.
        HpiError: as :func:`hpi.serving.run.serve`.
    """
    try:
        from hpi.serving.run import serve as run
    except ImportError as error:
        raise ConfigError(f'the service is not installed ({error}): pip install "hpi-pose[serve]"') from error
    run(pipeline, predictor, overrides, **options)
