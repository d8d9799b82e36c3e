"""Options that several benchmarks take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpi.errors import ConfigError
from hpi.options import read_devices

Models = Annotated[list[str], typer.Option("--model", help="Name, or NAME=FOLDER; repeat for several.")]
DetectorEntry = Annotated[
    str | None, typer.Option("--detector", help="NAME or NAME=FOLDER, instead of the pipeline's.")
]
PoseEntry = Annotated[str | None, typer.Option("--pose", help="NAME or NAME=FOLDER, instead of the pipeline's.")]
Pipeline = Annotated[str, typer.Option(help="Name or YAML file.")]
PaddleX = Annotated[Path | None, typer.Option("--paddlex", help="Python of an environment with PaddleX.")]
PaddleDetection = Annotated[
    Path | None, typer.Option("--paddledetection", help="Checkout of PaddleDetection.", envvar="HPI_PADDLEDETECTION")
]
PaddleDetectionPython = Annotated[
    Path | None,
    typer.Option(
        "--python", help="Python of an environment for its deploy/python.", envvar="HPI_PADDLEDETECTION_PYTHON"
    ),
]
OneDevice = Annotated[str, typer.Option("--device", help="cpu, or one GPU: gpu:0.")]
Backend = Annotated[str, typer.Option("--backend", help="auto, or the only runtime to measure.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default all usable cores.")]
TurnSeconds = Annotated[float, typer.Option("--seconds", help="Time of one turn.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Turns that each gets.")]
Output = Annotated[Path | None, typer.Option(help="Write the report under this path stem: .json, .md, perhaps .png.")]


def name_and_folder(entry: str) -> tuple[str, Path | None]:
    """The parts of ``NAME`` or ``NAME=FOLDER``.

    Example:
        >>> name_and_folder("PP-TinyPose_128x96"), name_and_folder("mine=/models/mine")[0]
        (('PP-TinyPose_128x96', None), 'mine')
    """
    name, _, folder = entry.partition("=")
    return name, Path(folder) if folder else None


def read_file(path: str | Path) -> bytes:
    """What a file holds that somebody has named.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def one_device(device: str) -> str:
    """The device that a device string names.

    Raises:
        ConfigError: it names several, or is no device.
    """
    devices = read_devices(device)
    if len(devices) > 1:
        raise ConfigError(f"device {device!r}: give one, the others are measured by themselves")
    return devices[0]
