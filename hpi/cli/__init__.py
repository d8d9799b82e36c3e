"""The ``hpi`` command."""


def main() -> None:
    """Run the command line; its imports wait until it is called."""
    import sys

    from hpi.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names need not be UTF-8
    app()
