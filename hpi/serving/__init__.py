"""The pipeline behind HTTP: PaddleX's interface, with dynamic batching, limits, metrics and a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpi.errors import ConfigError


def serve(pipeline: str, predictor: Mapping[str, Any], asked: Mapping[str, Any], **options: Any) -> None:
    """:func:`hpi.serving.run.serve`, where what it needs is installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        from hpi.serving.run import serve as run
    except ImportError as error:
        raise ConfigError(f'the service is not installed ({error}): pip install "hpi-pose[serve]"') from error
    run(pipeline, predictor, asked, **options)
