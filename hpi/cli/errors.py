"""Errors of single inputs, which do not end a command."""

from __future__ import annotations

import sys

from hpi.errors import InputError


class Reported:
    """Prints each error that it is called with on the standard error, and counts them.

    Attributes:
        count: of the errors so far.

    Example:
        >>> report = Reported()
        >>> report.count
        0
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: InputError) -> None:
        """Print an error."""
        self.count += 1
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
