"""``hpi benchmark`` and ``hpi compare``, whose options another command line reads."""

from __future__ import annotations

import typer

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of these commands: also ``--help`` is passed on."""


def benchmark(context: typer.Context) -> None:
    """Measure: pipeline, kernels, runtimes, service, published tables. See [bold]hpi benchmark --help[/]."""
    _run(context.args, "hpi benchmark")


def compare(context: typer.Context) -> None:
    """Compare every runtime with the pipeline's models in one HTML report. See [bold]hpi compare --help[/]."""
    _run(["compare", *context.args], "hpi")


def _run(arguments: list[str], name: str) -> None:
    # The only place in hpi that names the benchmarks: they use hpi, not the other way round.
    from hpi.benchmarks.__main__ import app

    app(arguments, prog_name=name)
