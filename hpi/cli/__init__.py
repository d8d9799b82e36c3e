"""The ``hpi`` command."""


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, also during its imports."""
    try:
        from hpi.cli.process import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run(_command)


def _command() -> None:
    from hpi.cli.app import app

    app(prog_name="hpi")
