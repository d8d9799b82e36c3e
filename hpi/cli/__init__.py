"""The ``hpi`` command."""

from __future__ import annotations

import sys
from types import ModuleType


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, also during its imports."""
    try:
        from hpi.cli.process import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run(_command)


def _command() -> None:
    try:
        from hpi.cli.app import app

        app(prog_name="hpi")
    except (ImportError, AttributeError) as error:
        if "--debug" in sys.argv or not _is_of_a_broken_package(error):
            raise
        hint = "A package is missing or broken; python -m hpi.doctor tells which, and starts without it"
        raise SystemExit(f"error: {error}. {hint}") from error


def _is_of_a_broken_package(error: ImportError | AttributeError) -> bool:
    """Whether another package cannot be imported, or lacks what it should have: of a removed one folders may remain."""
    if isinstance(error, ImportError):
        module = error.name or ""
    elif isinstance(error.obj, ModuleType):
        module = error.obj.__name__
    else:
        return False
    return module.partition(".")[0] != "hpi"
