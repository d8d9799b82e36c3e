"""``hpi quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug, Quiet, Verbose

EXAMPLES = """\
[bold]hpi quantize PicoDet-S_person_416 --images frames[/]

[bold]hpi quantize mine --model_dir my_detector --images frames --beside_model[/]"""


def quantize(
    model: Annotated[
        str, typer.Argument(help="The detector; [bold]hpi models[/] lists them.", autocompletion=given.complete_models)
    ],
    images: Annotated[
        Path, typer.Option(help="Folder of images such as the detector will see, 16 or more; 64 of more are used.")
    ],
    model_dir: Annotated[Path | None, typer.Option("--model_dir", help="Folder of the model's files.")] = None,
    beside_model: Annotated[
        bool,
        typer.Option(
            "--beside_model",
            help="Keep it in the folder int8 in --model_dir, so that it goes where the model goes. By default in "
            "HPI_HOME.",
        ),
    ] = False,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Measure the loss of AP: COCO's JSON of people. By default it is estimated."),
    ] = None,
    annotated_images: Annotated[
        Path | None, typer.Option("--annotated_images", help="Folder of the images that --annotations names.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also calibrate a keypoint model, for the parity gate to validate.")
    ] = False,
    threads: given.Threads = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate a detector for INT8 on your images, and keep it if it finds the same boxes.

    From then on --precision int8 runs it, and --precision auto with --max_ap_loss where it is fastest. Some of the
    images are kept with it, made smaller, to validate it by when a runtime changes.
    """
    if beside_model and model_dir is None:
        raise typer.BadParameter("--beside_model needs --model_dir")
    if (annotations is None) != (annotated_images is None):
        raise typer.BadParameter("give both --annotations and --annotated_images, or neither")
    from hpi.cli.quantize import run

    dataset = None if annotations is None or annotated_images is None else (annotations, annotated_images)
    run(model, model_dir, images, dataset, threads, beside_model=beside_model, force=force, quiet=quiet)
