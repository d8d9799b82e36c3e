"""Times as people write them."""

from __future__ import annotations

import re

from hpi.errors import ConfigError


def seconds_of(text: str) -> float:
    """Parse a time, in seconds.

    Raises:
        ConfigError: it is not a time of at least a second.

    Example:
        >>> seconds_of("60"), seconds_of("2m")
        (60.0, 120.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|)", text.strip())
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if seconds < 1:
        raise ConfigError(f"{text!r}: give a time of at least a second, such as 60, 60s or 2m")
    return seconds
