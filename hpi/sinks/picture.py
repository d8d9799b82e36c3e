"""Pictures of results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from hpi.errors import InputError
from hpi.options import check_count
from hpi.sinks.target import target_file, write

if TYPE_CHECKING:
    from hpi.results import Result

COLOR_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Formats of the input in which its picture is saved too; others are saved as PNG."""

_QUALITY = {  # Pillow's defaults, with which PaddleX saves; OpenCV's make files 2.5 and 7 times as large
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".jpe": (cv2.IMWRITE_JPEG_QUALITY, 75),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 80),
}


def save_picture(result: Result, path: Path, quality: int | None = None) -> Path:
    """Save the picture with the result drawn on it.

    Args:
        result: what to draw.
        path: an image file, or a folder to save ``<name>_res.<suffix of the input>`` in.
        quality: of a JPEG or WebP, from 1 to 100; by default 75 and 80, as PaddleX's.

    Returns:
        The file written.

    Raises:
        InputError: it cannot be written, is the input itself, or ``quality`` is out of range.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from hpi import DetectionResult, Frame, Instances
        >>> result = DetectionResult(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), Instances.empty(), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_picture(result, Path(folder)).name, save_picture(result, Path(folder) / "b.png").name
        ('a_res.jpg', 'b.png')
    """
    name = Path(result.name)
    suffix = name.suffix if name.suffix.lower() in COLOR_SUFFIXES else ".png"
    target = target_file(path, "image/", f"{name.stem}_res{suffix}")
    try:
        done, data = cv2.imencode(target.suffix, result.plot(), _encoding(target.suffix, quality))
    except cv2.error as error:
        raise InputError(f"{target}: OpenCV does not write {target.suffix} files; use .jpg or .png") from error
    if not done:
        raise InputError(f"{target}: OpenCV cannot write this picture as {target.suffix}; use .png")
    return write(target, data.tobytes(), result.path)


def _encoding(suffix: str, quality: int | None) -> list[int]:
    """OpenCV's parameters for a kind of file."""
    quality = check_count("quality", quality, 100, InputError)
    if suffix.lower() not in _QUALITY:
        return []
    parameter, default = _QUALITY[suffix.lower()]
    return [parameter, default if quality is None else quality]
