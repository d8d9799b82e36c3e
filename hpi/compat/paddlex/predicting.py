"""What PaddleX's command lines do with results: print each as a dictionary, and save it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from hpi.cli.errors import Reported
from hpi.compat.paddlex.results import PaddleXResult
from hpi.errors import InputError
from hpi.predictor import Predictor
from hpi.saving import save_all
from hpi.sources import Input


def print_and_save(predictor: Predictor, source: Input, folder: Path | None, **arguments: Any) -> None:
    """Predict all images; errors of single images are reported, and the others are still processed.

    Args:
        predictor: makes the results.
        source: images.
        folder: where to save results; None: nowhere.
        arguments: of its ``predict``.

    Raises:
        typer.Exit: with code 1, at the end, if an error was reported.
    """
    report = Reported()
    for saved in save_all(_printed(predictor.predict(source, on_error=report, **arguments)), folder):
        if isinstance(saved, InputError):
            report(saved)
        elif saved:
            print(f"saved {' and '.join(map(str, saved))}")  # noqa: T201
    if report.count:
        raise typer.Exit(1)


def _printed(results: Iterable[PaddleXResult]) -> Iterator[PaddleXResult]:
    for result in results:
        result.print()
        yield result
