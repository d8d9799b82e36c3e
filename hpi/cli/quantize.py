"""Calibrating a detector for INT8 from the command line."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hpi.backends.artifacts import ArtifactCache
from hpi.backends.base import INT8, SessionOptions
from hpi.evaluation.coco import CocoDataset
from hpi.io.validation import is_yaml
from hpi.quantization.quantize import quantize
from hpi.zoo import Zoo


def run(
    name: str,
    model_dir: Path | None,
    images: Path,
    annotated: tuple[Path, Path] | None,
    threads: int | None,
    *,
    beside_model: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Calibrate a model, and print what came of it.

    Args:
        name: the model's name or YAML file.
        model_dir: folder of its files.
        images: folder of images.
        annotated: annotations to measure AP by, and the folder of their images.
        threads: CPU threads of one inference.
        beside_model: keep the result in ``model_dir``.
        force: also of a keypoint model.
        quiet: print errors only.

    Raises:
        HpiError: as :func:`hpi.quantization.quantize.quantize`.
    """
    zoo = Zoo.default()
    options = SessionOptions(ArtifactCache(zoo.artifacts), threads=threads)
    spec = zoo.find(zoo.add(Path(name)).name if is_yaml(name) else name, model_dir)
    target = spec.folder / INT8 if beside_model else zoo.int8_folder(spec)
    dataset = None if annotated is None else CocoDataset(*annotated, "detector")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("")
        made = quantize(
            spec,
            images,
            target,
            options,
            dataset=dataset,
            force=force,
            on_progress=lambda what, done, total: progress.update(task, description=what, completed=done, total=total),
        )
    if not quiet:
        key = made.note.key
        typer.echo(
            f"{spec.name}: calibrated for INT8 on {key.calibrated_on} images, validated on {key.validated_on} others"
        )
        typer.echo(made.note.verdict)
        typer.echo(f"loss: {made.note.ap_loss or 'not known'}")
        typer.echo(f"kept in {made.folder}")
        typer.echo("--precision int8 runs it; after hpi tune, so may --precision auto with --max_ap_loss")
