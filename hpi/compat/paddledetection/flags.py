"""The flags of PaddleDetection's ``keypoint_infer.py``, and of ``keypoint_unite_infer.py`` with ``det_`` and ``mot_``.

They are read as there: ``--flag value`` or ``--flag=value``, also shortened as far as they stay unique.
"""

from __future__ import annotations

import argparse
import logging
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from hpi.compat.paddledetection.smoothing import FILTER_TYPES
from hpi.compat.paddlex import values
from hpi.errors import ConfigError
from hpi.io.validation import nearest

logger = logging.getLogger(__name__)

_WIDTH = 100
_TRACKING = "this script does not track, there neither; hpi paddledetection mot-keypoint-unite does"
_NO_IMAGES = (
    "people are followed through a video: give --video_file, which also takes numbered images (frames/%05d.jpg); "
    "single images run with det-keypoint-unite"
)
_SHAPES = "the engine knows the shapes of its inputs"
_DETECTION = "for detection without keypoints"
_ACTIONS = "for action recognition"


def read_boolean(text: str) -> bool:
    """Read ``True``, ``False``, ``true``, ``1`` and the like.

    Raises:
        argparse.ArgumentTypeError: it is something else.

    Example:
        >>> [read_boolean(text) for text in ("True", "false", "1", "0")]
        [True, False, True, False]
    """
    value = values.read_value(text)
    if value not in (0, 1):  # equal to False and True
        raise argparse.ArgumentTypeError(f"{text!r}: give True or False")
    return bool(value)


def read_score(text: str) -> float:
    """Read a number from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is something else.

    Example:
        >>> read_score("0.5")
        0.5
    """
    try:
        return values.read_score(text)
    except ValueError as error:  # argparse would replace its text
        raise argparse.ArgumentTypeError(str(error)) from None


def read_count(text: str) -> int:
    """Read a whole number above 0.

    Raises:
        argparse.ArgumentTypeError: it is something else.

    Example:
        >>> read_count("8")
        8
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number above 0")
    return int(text)


def read_filter(text: str) -> str:
    """Read the name of a filter of PaddleDetection.

    Raises:
        argparse.ArgumentTypeError: there is none of that name.

    Example:
        >>> read_filter("EMA")
        'EMA'
    """
    if text not in FILTER_TYPES:
        raise argparse.ArgumentTypeError(f"{text!r}: give {' or '.join(FILTER_TYPES)}")
    return text


@dataclass(frozen=True)
class Flag:
    """A flag of a script.

    Attributes:
        read: makes the value of its text; None: the flag takes no value, and is True where it is given.
        default: the value where it is not given.
        about: what it does here.
        several: whether it takes several values.
        no_effect: why it does nothing here; completes the log message.
        refused: why it is refused, unless its value is the default.

    Example:
        >>> Flag(read_score, 0.5, "Keep people that score above it.").default
        0.5
    """

    read: Callable[[str], Any] | None = str
    default: Any = None
    about: str = ""
    several: bool = False
    no_effect: str | None = None
    refused: str | None = None


Flags = Mapping[str, Flag]

_IMAGES: Flags = {
    "image_file": Flag(about="An image; outranks --image_dir."),
    "image_dir": Flag(about="Folder of images: .jpg, .jpeg, .png, .bmp; not of its folders."),
}
_VIDEO: Flags = {
    "video_file": Flag(about="A video, or numbered images (frames/%%05d.jpg)."),
    "camera_id": Flag(int, -1, "Number of a camera, until Ctrl-C; outranks all else."),
}
_RUNTIME: Flags = {
    "device": Flag(default="cpu", about="CPU, GPU, XPU or NPU; also GPU:1 and the like. Without it, the CPU."),
    "run_mode": Flag(
        default="paddle",
        about="paddle (the default): the fastest runtime that gives Paddle's results; trt_fp32, trt_fp16: TensorRT.",
    ),
    "cpu_threads": Flag(read_count, None, "CPU threads; by default all usable cores."),
}
_USE_DARK = Flag(read_boolean, None, "Refine keypoints by DARK (the default); False: by a quarter of a cell.")
_OUTPUT_DIR = Flag(default="output", about="Folder for the pictures; by default output.")
_SHARED_NO_EFFECT: Flags = {
    "run_benchmark": Flag(read_boolean, no_effect="measure with hpi benchmark or hpi compare"),
    "enable_mkldnn": Flag(read_boolean, no_effect="the runtime is chosen by measurements, and is compared with Paddle"),
    "trt_min_shape": Flag(int, no_effect=_SHAPES),
    "trt_max_shape": Flag(int, no_effect=_SHAPES),
    "trt_opt_shape": Flag(int, no_effect=_SHAPES),
    "trt_calib_mode": Flag(read_boolean, no_effect="there is no INT8 here"),
}

KEYPOINT_INFER: Mapping[str, Flags] = {
    "Model": {"model_dir": Flag(about="Folder of the exported keypoint model, with infer_cfg.yml or inference.yml.")},
    "Input": {
        **_VIDEO,
        **_IMAGES,
        "batch_size": Flag(read_count, 1, "Images or frames that go through the model together."),
    },
    "Results": {
        "output_dir": _OUTPUT_DIR,
        "save_images": Flag(read_boolean, True, "Save pictures (the default)."),
        "save_res": Flag(
            read_boolean,
            False,
            "Save keypoint_infer_image_results.json, or ..._video_..., in the current folder; only here.",
        ),
        "threshold": Flag(read_score, 0.5, "Draw keypoints that score above it; by default 0.5."),
        "use_dark": _USE_DARK,
    },
    "Runtime": _RUNTIME,
    "Accepted without effect": {
        **_SHARED_NO_EFFECT,
        "enable_mkldnn_bfloat16": Flag(read_boolean, no_effect="hpi predict has --precision bf16"),
        "use_fd_format": Flag(None, no_effect="both formats are read"),
        "collect_trt_shape_info": Flag(None, no_effect=_SHAPES),
        "tuned_trt_shape_file": Flag(no_effect=_SHAPES),
        "scaled": Flag(read_boolean, no_effect="for tracking only"),
        "reid_batch_size": Flag(int, no_effect="for tracking only"),
        "action_file": Flag(no_effect=_ACTIONS),
        "window_size": Flag(int, no_effect=_ACTIONS),
        "random_pad": Flag(read_boolean, no_effect=_ACTIONS),
        "save_results": Flag(None, no_effect="for detection; --save_res saves keypoints"),
        "use_coco_category": Flag(None, no_effect=_DETECTION),
        "task_type": Flag(no_effect=_DETECTION),
        "slice_infer": Flag(None, no_effect=_DETECTION),
        "slice_size": Flag(int, several=True, no_effect=_DETECTION),
        "overlap_ratio": Flag(float, several=True, no_effect=_DETECTION),
        "combine_method": Flag(no_effect=_DETECTION),
        "match_threshold": Flag(float, no_effect=_DETECTION),
        "match_metric": Flag(no_effect=_DETECTION),
    },
    "Not supported": {
        "use_gpu": Flag(read_boolean, False, refused="deprecated; use --device GPU"),
        "tracker_config": Flag(refused=_TRACKING),
        "reid_model_dir": Flag(refused=_TRACKING),
        "save_mot_txts": Flag(None, False, refused=_TRACKING),
        "save_mot_txt_per_img": Flag(None, False, refused=_TRACKING),
    },
}
"""The flags of ``keypoint_infer.py`` by what they are for, and ``--save_res``."""

DET_KEYPOINT_UNITE: Mapping[str, Flags] = {
    "Models": {
        "det_model_dir": Flag(about="Folder of the exported detector, with infer_cfg.yml or inference.yml."),
        "keypoint_model_dir": Flag(about="Folder of the exported keypoint model, likewise."),
    },
    "Input": {**_VIDEO, **_IMAGES},
    "Results": {
        "output_dir": _OUTPUT_DIR,
        "save_res": Flag(
            read_boolean,
            False,
            "Save det_keypoint_unite_image_results.json, or ..._video_..., in the current folder, as there.",
        ),
        "smooth": Flag(read_boolean, False, "Of a video: smooth the keypoints of whoever is alone in the image."),
        "filter_type": Flag(read_filter, "OneEuro", "OneEuro (the default) or EMA, for --smooth."),
        "det_threshold": Flag(read_score, 0.5, "Keep people that score above it; by default 0.5."),
        "keypoint_threshold": Flag(read_score, 0.5, "Draw keypoints that score above it; by default 0.5."),
        "use_dark": _USE_DARK,
    },
    "Runtime": _RUNTIME,
    "Accepted without effect": {
        "keypoint_batch_size": Flag(int, no_effect="all people of an image go together"),
        **_SHARED_NO_EFFECT,
    },
}
"""The flags of ``det_keypoint_unite_infer.py`` by what they are for."""

MOT_KEYPOINT_UNITE: Mapping[str, Flags] = {
    "Models": {
        "mot_model_dir": Flag(about="Folder of the exported FairMOT, or of a detector, with its yml."),
        "keypoint_model_dir": Flag(about="Folder of the exported keypoint model, likewise."),
        "tracker_config": Flag(
            about="YAML of the tracker of a detector; by default ByteTrack, as in PaddleDetection's."
        ),
    },
    "Input": _VIDEO,
    "Results": {
        "output_dir": Flag(default="output", about="Folder for the video; by default output."),
        "save_res": Flag(
            read_boolean, False, "Save mot_keypoint_unite_video_results.json in the current folder; only here."
        ),
        "keypoint_threshold": Flag(read_score, 0.5, "Draw keypoints that score above it; by default 0.5."),
        "use_dark": _USE_DARK,
    },
    "Runtime": _RUNTIME,
    "Accepted without effect": {
        "mot_threshold": Flag(
            float,
            no_effect="there neither: conf_thres of the model's yml counts, of a detector that of --tracker_config",
        ),
        "keypoint_batch_size": Flag(int, no_effect="all people of a frame go together"),
        **_SHARED_NO_EFFECT,
        "save_images": Flag(None, no_effect="there neither; the video has all frames"),
        "save_mot_txts": Flag(None, no_effect="there neither; hpi predict --format csv writes who is where"),
    },
    "Not supported": {"image_file": Flag(refused=_NO_IMAGES), "image_dir": Flag(refused=_NO_IMAGES)},
}
"""The flags of ``mot_keypoint_unite_infer.py`` by what they are for, and ``--save_res``."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}; {self.prog} --help lists the flags")


def read_flags(
    groups: Mapping[str, Flags], words: Sequence[str], *, required: Sequence[str], about: str, command: str
) -> dict[str, Any]:
    """Read the flags of a command line.

    Args:
        groups: the flags by what they are for.
        words: the command line.
        required: the flags that must be given.
        about: what the command does, for ``--help``.
        command: what it is called.

    Returns:
        The value of each flag that has an effect. Each of the others that is given is logged.

    Raises:
        ConfigError: a flag is unknown, is not supported, is missing, or its value is wrong.

    Example:
        >>> groups = {"Images": {"image_file": Flag(), "batch_size": Flag(read_count, 1)}}
        >>> read_flags(groups, ["--image_file=a.jpg"], required=["image_file"], about="", command="find")
        {'image_file': 'a.jpg', 'batch_size': 1}
    """
    flags = {name: flag for group in groups.values() for name, flag in group.items()}
    parsed, unknown = _parser(groups, about, command).parse_known_args(words)
    if unknown:
        raise ConfigError(_unknown(unknown, flags))
    given = vars(parsed)
    for name, value in given.items():
        if flags[name].refused and value != flags[name].default:
            raise ConfigError(f"--{name}: {flags[name].refused}")
    if missing := [f"--{name}" for name in required if name not in given]:
        raise ConfigError(f"give {' and '.join(missing)}")
    for name in given:
        if flags[name].no_effect:
            logger.warning("--%s has no effect: %s", name, flags[name].no_effect)
    taken = {name: flag for name, flag in flags.items() if not (flag.no_effect or flag.refused)}
    return {name: given.get(name, flag.default) for name, flag in taken.items()}


def _parser(groups: Mapping[str, Flags], about: str, command: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=command,
        usage="%(prog)s --FLAG VALUE ...",
        description=textwrap.fill(about, _WIDTH),
        epilog=_epilog([flag for flags in groups.values() for flag in flags.items()]),
        argument_default=argparse.SUPPRESS,
        add_help=False,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH, max_help_position=30),
    )
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for name, flag in flags.items():
            if flag.read is None:
                group.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
            else:
                nargs = "+" if flag.several else None
                about_it = flag.about or argparse.SUPPRESS
                group.add_argument(f"--{name}", type=flag.read, nargs=nargs, metavar="VALUE", help=about_it)
    messages = parser.add_argument_group("Messages")
    messages.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    messages.add_argument("-h", "--help", action="help", help="Show this.")
    return parser


def _epilog(flags: Sequence[tuple[str, Flag]]) -> str:
    """The flags that do nothing here, by the reason."""
    parts = []
    for title, attribute in (("Accepted without effect", "no_effect"), ("Not supported", "refused")):
        reasons: dict[str, list[str]] = {}
        for name, flag in flags:
            if reason := getattr(flag, attribute):
                reasons.setdefault(reason, []).append(f"--{name}")
        lines = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
        wrapped = [textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
        parts.append("\n".join([f"{title}:", *wrapped]))
    return "\n\n".join(parts)


def _unknown(words: Sequence[str], flags: Flags) -> str:
    word = next((one for one in words if one.startswith("-")), words[0])
    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"{word!r} belongs to no flag"
    near = nearest(name, [f"--{flag}" for flag in flags])
    return f"{name} is not a flag of this script; " + (f"did you mean {near}?" if near else "--help lists its flags")
