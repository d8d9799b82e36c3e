"""The folder of everything that the engine stores."""

from __future__ import annotations

import os
from pathlib import Path

from hpi.errors import ConfigError

VARIABLE = "HPI_HOME"


def home_folder() -> Path:
    """The folder that ``HPI_HOME`` names, or else the user's cache folder.

    Raises:
        ConfigError: ``HPI_HOME`` begins with the name of a user that does not exist.

    Example:
        >>> home_folder().is_absolute() or VARIABLE in os.environ
        True
    """
    import platformdirs

    home = os.environ.get(VARIABLE)
    if not home:
        return Path(platformdirs.user_cache_dir("hpi"))
    try:
        return Path(home).expanduser()
    except RuntimeError:
        raise ConfigError(f"{VARIABLE} is {home!r}: no such user has a home folder here; give another path") from None
