"""The ``hpi`` command."""


def main() -> None:
    """Run the command line; its imports wait until it is called."""
    from hpi.cli.app import app

    app()
