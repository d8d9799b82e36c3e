"""What PaddleDetection's deployment scripts for keypoints do: find the input, run, save pictures and a result file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from hpi.cli.errors import Reported
from hpi.compat.paddledetection.flags import DET_KEYPOINT_UNITE, KEYPOINT_INFER, MOT_KEYPOINT_UNITE, read_flags
from hpi.compat.paddledetection.videos import is_video_asked, read_tracker_config, run_video
from hpi.compat.paddlex.modules import RUN_MODES
from hpi.compat.paddlex.results import KeypointResult
from hpi.errors import ConfigError, InputError, InputNotFoundError
from hpi.heads.heatmap import HeatmapHead
from hpi.instances import Skeleton
from hpi.io.files import save
from hpi.models.readers import read_model
from hpi.models.spec import ModelSpec
from hpi.options import PADDLEDETECTION
from hpi.predictor import Predictor
from hpi.results import Result
from hpi.saving import check_save_path, save_each
from hpi.sinks.picture import save_picture
from hpi.skeletons import COCO, load_skeleton
from hpi.sources import is_video
from hpi.sources.folders import natural
from hpi.tracking.base import UNTRACKED

logger = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
"""Of the images of a folder; also in capital letters."""
UNITE_RESULTS = "det_keypoint_unite_{}_results.json"
KEYPOINT_RESULTS = "keypoint_infer_{}_results.json"
MOT_RESULTS = "mot_keypoint_unite_{}_results.json"
"""With ``image`` or ``video``."""

_MODES = ("paddle", "trt_fp32", "trt_fp16")


def run_keypoint_infer(words: Sequence[str]) -> None:
    """``keypoint_infer.py``: the keypoints of whole images.

    Args:
        words: its command line.

    Raises:
        HpiError: a flag is wrong, or the model cannot be run.
        typer.Exit: with code 1, at the end, if an image could not be used.
    """
    flags = read_flags(
        KEYPOINT_INFER,
        words,
        required=["model_dir"],
        about="Find the keypoints of whole images: of one person each, or of everyone with a bottom-up model. Writes "
        "NAME_vis.jpg for each image, NAME.mp4 for a video, output.mp4 for a camera.",
        command="hpi paddledetection keypoint-infer",
    )
    arguments = _runtime(flags)
    images = _images(flags)
    arguments |= _of_crops(read_model(Path(flags["model_dir"])), flags["use_dark"])
    saved = Saved(
        Path(flags["output_dir"]) if flags["save_images"] else None,
        _results_file(KEYPOINT_RESULTS, flags),
        draw_above=flags["threshold"],
    )
    saved.check()
    with Predictor.of_folders(flags["model_dir"], **arguments) as predictor:
        if images is None:
            run_video(predictor, flags, saved, tracker=None, threshold=0, batch_size=flags["batch_size"])
        else:
            _run(predictor, images, saved, batch_size=flags["batch_size"], det_threshold=0)


def run_det_keypoint_unite(words: Sequence[str]) -> None:
    """``det_keypoint_unite_infer.py``: people, and the keypoints of each.

    Args:
        words: its command line.

    Raises:
        HpiError: a flag is wrong, or the models cannot be run.
        typer.Exit: with code 1, at the end, if an image could not be used.
    """
    flags = read_flags(
        DET_KEYPOINT_UNITE,
        words,
        required=["det_model_dir", "keypoint_model_dir"],
        about="Find people and the keypoints of each. Writes NAME_vis.jpg for each image, NAME.mp4 for a video, "
        "output.mp4 for a camera.",
        command="hpi paddledetection det-keypoint-unite",
    )
    arguments = _runtime(flags)
    images = _images(flags)
    saved = Saved(
        Path(flags["output_dir"]), _results_file(UNITE_RESULTS, flags), draw_above=flags["keypoint_threshold"]
    )
    arguments |= _of_crops(_read_top_down(flags["keypoint_model_dir"]), flags["use_dark"])
    if images is not None and flags["smooth"]:
        logger.warning("--smooth has no effect: it is for videos")
    saved.check()
    with Predictor.of_folders(flags["keypoint_model_dir"], flags["det_model_dir"], **arguments) as predictor:
        if images is None:
            filter_type = flags["filter_type"] if flags["smooth"] else None
            run_video(predictor, flags, saved, filter_type=filter_type, tracker=None, threshold=flags["det_threshold"])
        else:
            _run(predictor, images, saved, det_threshold=flags["det_threshold"])


def run_mot_keypoint_unite(words: Sequence[str]) -> None:
    """``mot_keypoint_unite_infer.py``: people who are followed through a video, and the keypoints of each.

    Args:
        words: its command line.

    Raises:
        HpiError: a flag is wrong, or the models cannot be run.
        typer.Exit: with code 1, at the end, if a frame could not be used.
    """
    flags = read_flags(
        MOT_KEYPOINT_UNITE,
        words,
        required=["mot_model_dir", "keypoint_model_dir"],
        about="Follow people through a video, with the keypoints of each. Writes NAME.mp4, or output.mp4 for a camera, "
        "with who is who.",
        command="hpi paddledetection mot-keypoint-unite",
    )
    arguments = _runtime(flags)
    if not is_video_asked(flags):
        raise ConfigError("give --video_file or --camera_id")
    config = read_tracker_config(flags["tracker_config"])
    if read_model(Path(flags["mot_model_dir"])).embeddings is not None:
        tracking: dict[str, Any] = {"tracker": "embedding"}
        if flags["tracker_config"] is not None:
            logger.warning("--tracker_config has no effect: the yml in %s has its own tracker", flags["mot_model_dir"])
    else:
        tracking = {"tracker": "bytetrack", "threshold": config.section.conf_thres}
    arguments |= _of_crops(_read_top_down(flags["keypoint_model_dir"]), flags["use_dark"])
    saved = Saved(Path(flags["output_dir"]), _results_file(MOT_RESULTS, flags), draw_above=flags["keypoint_threshold"])
    saved.check()
    with Predictor.of_folders(flags["keypoint_model_dir"], flags["mot_model_dir"], **arguments) as predictor:
        run_video(predictor, flags, saved, **tracking)


def _images(flags: Mapping[str, Any]) -> list[str] | None:
    """The images to run; None where a video or a camera is given, which outranks them."""
    return None if is_video_asked(flags) else find_images(flags["image_file"], flags["image_dir"])


def _results_file(name: str, flags: Mapping[str, Any]) -> Path | None:
    return Path(name.format("video" if is_video_asked(flags) else "image")) if flags["save_res"] else None


def _read_top_down(folder: str) -> ModelSpec:
    """The keypoint model for the people that a detector finds.

    Raises:
        ConfigError: it looks at whole images.
    """
    spec = read_model(Path(folder))
    if not spec.transform.takes_regions:
        raise ConfigError(
            f"--keypoint_model_dir {folder}: not a keypoint model for the people that a detector "
            "finds; a bottom-up model runs with: hpi paddledetection keypoint-infer --model_dir"
        )
    return spec


def find_images(file: str | None, folder: str | None) -> list[str]:
    """The images that ``--image_file`` or else ``--image_dir`` names, those of a folder in natural order.

    Raises:
        ConfigError: neither is given, or the file is a video.
        InputError: there is no such file or folder, or no image in it.

    Example:
        >>> find_images("examples/basketball.png", None)
        ['examples/basketball.png']
    """
    if file is None and folder is None:
        raise ConfigError("give --image_file, --image_dir, --video_file or --camera_id")
    if file is not None and not Path(file).is_file():
        raise InputNotFoundError(f"--image_file {file}: no such file")
    if folder is not None and not Path(folder).is_dir():
        raise InputNotFoundError(f"--image_dir {folder}: no such folder")
    if file is not None:
        if is_video(file):
            raise ConfigError(f"--image_file {file}: is a video; give it as --video_file")
        return [file]
    there = Path(str(folder)).absolute()
    try:
        names = [one.name for one in there.iterdir() if _is_image(one)]
    except OSError as error:
        raise InputError(f"--image_dir {folder}: cannot be listed: {error.strerror or error}") from error
    if not names:
        raise InputError(f"--image_dir {folder}: no images in this folder ({', '.join(sorted(SUFFIXES))})")
    return [str(there / name) for name in sorted(names, key=natural)]


def _is_image(path: Path) -> bool:
    suffix = path.suffix
    return suffix.lower() in SUFFIXES and suffix in {suffix.lower(), suffix.upper()} and not path.name.startswith(".")


def _runtime(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the Predictor for what ``--device``, ``--run_mode`` and ``--cpu_threads`` say."""
    device, mode = flags["device"], flags["run_mode"]
    if mode not in _MODES:
        no_int8 = "INT8 is not supported; " if mode == "trt_int8" else ""
        raise ConfigError(f"--run_mode {mode}: {no_int8}give {', '.join(_MODES)}")
    if mode != "paddle" and device.lower().startswith("cpu"):
        raise ConfigError(f"--run_mode {mode}: TensorRT needs --device GPU")
    return {"device": device, "threads": flags["cpu_threads"], **RUN_MODES[mode]}


def _of_crops(spec: ModelSpec, use_dark: bool | None) -> dict[str, Any]:
    """The arguments of the Predictor for a model that crops people, and for heatmaps ``--use_dark``, by default on."""
    arguments: dict[str, Any] = {"crop": PADDLEDETECTION} if spec.transform.takes_regions else {}
    if isinstance(spec.head, HeatmapHead):
        return {**arguments, "use_dark": use_dark is not False}
    if use_dark is not None:
        logger.warning(
            "--use_dark has no effect: it is for heatmaps, but the outputs of %s are %s", spec.name, spec.head.type
        )
    return arguments


class Saved:
    """Where results go.

    Args:
        folder: for the pictures; None: none are saved.
        file: of all results together; None: none.
        draw_above: keypoints that score more are drawn.

    Example:
        >>> Saved(None, None, draw_above=0.5).rows
        []
    """

    def __init__(self, folder: Path | None, file: Path | None, *, draw_above: float) -> None:
        self.rows: list[list[Any]] = []
        self._folder, self._file, self._draw_above = folder, file, draw_above

    def check(self) -> None:
        """Check before any work that files can be written.

        Raises:
            InputError: they cannot.
        """
        for folder in (self._folder, self._file and self._file.parent):
            if folder is not None:
                check_save_path(folder)

    def picture(self, result: Result) -> list[Path]:
        """Save the picture of a result; returns its file, if any.

        Raises:
            InputError: it cannot be written.
        """
        if self._folder is None:
            return []
        return [save_picture(result, self._folder / f"{Path(result.name).stem}_vis.jpg")]

    def video(self, name: str) -> Path | None:
        """The file of an annotated video; None where none is saved."""
        return None if self._folder is None else self._folder / f"{name}.mp4"

    def add(self, result: KeypointResult) -> None:
        """Take a result into the result file, which has those with people only, and prepare it to be drawn."""
        result.skeleton = replace(_drawn_as(result.skeleton), visible_above=self._draw_above)
        if self._file is not None and result.people:
            self.rows.append(row_of(result))

    def write(self, failed: int) -> Path | None:
        """Write the result file, whole or not at all; returns it, if any.

        Args:
            failed: how many images could not be used.

        Raises:
            InputError: it cannot be written, or would lack images.
        """
        if self._file is None:
            return None
        if failed:
            raise InputError(f"{self._file}: not written, since {failed} of the images would be missing in it")
        save(self._file, json.dumps(self.rows, indent=4).encode(), InputError)
        return self._file


def _drawn_as(skeleton: Skeleton) -> Skeleton:
    """A skeleton with bones: where nobody names one, the scripts draw 17 keypoints as COCO's, and 16 as MPII's."""
    known = None if skeleton.name else {17: COCO, 16: "mpii16"}.get(len(skeleton))
    return skeleton if known is None else load_skeleton(known)


def row_of(result: KeypointResult) -> list[Any]:
    """An image in PaddleDetection's result file: ``[path, boxes, [keypoints, scores]]``.

    ``boxes`` are whole numbers, x1, y1, x2, y2 each; none of images that are taken whole. ``keypoints`` are lists of
    x, y, score; ``scores`` are lists of one number, the mean of a person's. A frame of a video has its number in the
    place of the path, from 1, and smoothed keypoints where there are any. Where people are followed, their ids come
    last; None of those who are not followed yet.

    Example:
        >>> with Predictor("human_keypoint_detection_lite") as predictor:
        ...     (result,) = predictor.predict("examples/basketball.png")
        >>> path, boxes, (keypoints, scores) = row_of(result)
        >>> len(boxes), len(keypoints), len(keypoints[0]), len(scores[0])
        (2, 2, 17, 1)
    """
    people = result.people
    boxes = [[int(value) for value in person["coordinate"]] for person in people if "coordinate" in person]
    keypoints = [person["keypoints"].tolist() for person in people]
    if result.smoothed is not None:
        keypoints = result.smoothed.points.tolist()
    which = result.path if result.frame.index is None else result.frame.index + 1
    row = [which, boxes, [keypoints, [[float(person["kpt_score"])] for person in people]]]
    if result.instances.track_ids is None:
        return row
    return [*row, [None if one == UNTRACKED else one for one in result.track_ids.tolist()]]


def _run(predictor: Predictor, images: Sequence[str], saved: Saved, **arguments: Any) -> None:
    """Predict all images; errors of single ones are reported, and the others still run."""
    report = Reported()

    def taken() -> Iterator[KeypointResult]:
        for result in predictor.predict(list(images), on_error=report, **arguments):
            assert isinstance(result, KeypointResult)  # both commands refuse a detector in its place
            saved.add(result)
            count = len(result.people)
            print(f"{result.path}: {count} {'person' if count == 1 else 'people'}")  # noqa: T201
            yield result

    for files in save_each(taken(), saved.picture):
        if isinstance(files, InputError):
            report(files)
        elif files:
            print(f"saved {files[0]}")  # noqa: T201
    if (file := saved.write(report.count)) is not None:
        print(f"saved {file}")  # noqa: T201
    if report.count:
        raise typer.Exit(1)
