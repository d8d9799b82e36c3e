"""Models that PaddleX has downloaded: read from its cache, which is never written to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from hpi.backends.file_checks import check_weights
from hpi.errors import BackendError, ModelError
from hpi.models.spec import ModelSpec

logger = logging.getLogger(__name__)


def find_in_paddlex_cache(name: str, read: Callable[[Path, str], ModelSpec]) -> ModelSpec | None:
    """A model of PaddleX's cache, or None if it is not there, incomplete or damaged.

    Args:
        name: of the model.
        read: makes the spec of a folder and a name; raises ModelError.

    Example:
        >>> from hpi.models.readers import read_model
        >>> find_in_paddlex_cache("no-model-of-this-name", read_model) is None
        True
    """
    try:
        folder = _cache() / name
        if not folder.is_dir():
            return None
        spec = read(folder, name)
        if spec.files.paddle is not None:
            check_weights(spec.files.paddle.params)
    except (ModelError, BackendError) as error:  # an interrupted download, for instance
        logger.warning("not using %s from PaddleX's cache: %s", name, error)
    except (OSError, RuntimeError) as error:  # an unreadable home folder, or none
        logger.debug("not using PaddleX's cache: %s", error)
    else:
        return spec
    return None


def _cache() -> Path:
    home = os.environ.get("PADDLE_PDX_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".paddlex") / "official_models"
