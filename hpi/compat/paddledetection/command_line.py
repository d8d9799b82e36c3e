"""``hpi paddledetection``: PaddleDetection's deployment scripts for keypoints, with their flags."""

from __future__ import annotations

import typer

from hpi.cli.command import Command, Debug
from hpi.cli.commands.measure import PASSED_ON

app = typer.Typer(
    help="PaddleDetection's deployment scripts for keypoints, with their flags.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command("keypoint-infer", cls=Command, context_settings=PASSED_ON, add_help_option=False)
def keypoint_infer(context: typer.Context, debug: Debug = False) -> None:
    """Find the keypoints of whole images, as keypoint_infer.py does. See [bold]--help[/] after it."""
    from hpi.compat.paddledetection.scripts import run_keypoint_infer

    run_keypoint_infer(context.args)


@app.command("det-keypoint-unite", cls=Command, context_settings=PASSED_ON, add_help_option=False)
def det_keypoint_unite(context: typer.Context, debug: Debug = False) -> None:
    """Find people and their keypoints, as det_keypoint_unite_infer.py does. See [bold]--help[/] after it."""
    from hpi.compat.paddledetection.scripts import run_det_keypoint_unite

    run_det_keypoint_unite(context.args)


@app.command("mot-keypoint-unite", cls=Command, context_settings=PASSED_ON, add_help_option=False)
def mot_keypoint_unite(context: typer.Context, debug: Debug = False) -> None:
    """Follow people and their keypoints, as mot_keypoint_unite_infer.py does. See [bold]--help[/] after it."""
    from hpi.compat.paddledetection.scripts import run_mot_keypoint_unite

    run_mot_keypoint_unite(context.args)
