"""``hpi evaluate`` and ``hpi check-dataset``: annotated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hpi.cli import options as given
from hpi.cli.command import Debug


def evaluate(
    context: typer.Context,
    dataset: Annotated[
        Literal["coco", "mpii", "posetrack", "mot"],
        typer.Option(help="Format of the annotations; it decides what is measured."),
    ],
    annotations: Annotated[
        Path,
        typer.Option(
            help="COCO: person_keypoints_*.json; MPII: the JSON that HRNet, mmpose, PaddleDetection share; PoseTrack: "
            "a JSON of PoseTrack18, or a folder of them; MOT: gt.txt, or the folder with NAME/gt/gt.txt."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images that the annotations name.")],
    boxes: Annotated[
        str | None,
        typer.Option(
            help="gt, detector, a .json of COCO's detections, or a .txt of MOT's. By default a pipeline's detector, "
            "else gt; none for a model that finds people itself."
        ),
    ] = None,
    headboxes: Annotated[
        Path | None, typer.Option(help="MPII: .mat or .json with headboxes_src; without, from head_top and upper_neck.")
    ] = None,
    tracker: Annotated[
        Literal["bytetrack", "ocsort", "oks"] | None,
        typer.Option(
            help="PoseTrack and MOT: how people are followed. By default oks for PoseTrack and for a model that finds "
            "people itself, else bytetrack."
        ),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored crop.")] = False,
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="Images per batch.")] = 8,
    output: Annotated[
        Path | None, typer.Option(help="Folder for report, pictures and predictions, from which a later run continues.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, without the predictions of earlier runs.")
    ] = False,
    save_prediction_only: Annotated[
        bool,
        typer.Option(
            "--save_prediction_only",
            help="COCO: measure nothing, and write keypoints_results.json into --output, else into the current folder. "
            "The annotations may lack people, unless the boxes are theirs.",
        ),
    ] = False,
    pipeline: given.Pipeline = None,
    model: given.Model = None,
    model_dir: given.ModelDir = None,
    kind: given.Kind = None,
    skeleton: given.Skeleton = None,
    backend: Annotated[list[str] | None, typer.Option(help="Repeat for several columns.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Repeat for several columns.")] = None,
    device: given.Device = None,
    calibrate: given.Calibrate = None,
    debug: Debug = False,
) -> None:
    """Measure accuracy on annotated images or videos.

    COCO: keypoint and box AP; MPII: PCKh; PoseTrack: keypoint AP, MOTA, IDF1 and switches; MOT: the same of boxes.
    """
    name = given.predictor_name(pipeline, model)
    others = {"pipeline", "backend", "precision", "debug"}
    request = {key: value for key, value in context.params.items() if key not in others and value is not None}
    request["pipeline"] = None if model else name
    from hpi.cli.evaluate import EvaluationRequest, run

    run(EvaluationRequest(**request, backends=backend or (None,), precisions=precision or (None,)))


def check_dataset(
    folder: Annotated[
        Path, typer.Argument(help="Folder with images/ and annotations/instance_{train,val}.json.", metavar="DIR")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the result and the pictures.")] = Path("output"),
    split: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="First split the images of both sets again, at random, such as [bold]--split 80 20[/]; the earlier "
            "annotations are kept as .bak files.",
            metavar="TRAIN VAL",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of --split.")] = 0,
    debug: Debug = False,
) -> None:
    """Check a keypoint data set in COCO's format, as PaddleX does before training.

    Checks every annotation and the header of every image, and lists all problems with file, id and what to do. Writes
    check_dataset_result.json with PaddleX's fields, and check_dataset/ with a histogram and the first images, with
    their boxes and keypoints drawn on them. Exit code 1: the data set has problems.
    """
    from hpi.cli.check_dataset import run

    run(folder, output, split, seed)
