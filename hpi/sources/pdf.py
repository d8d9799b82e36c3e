"""Pages of PDF files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from threading import RLock
from typing import Any

import numpy as np

from hpi.errors import InputError
from hpi.kernels.affine import MAX_WARP_SIDE
from hpi.sources.items import MAX_PIXELS, Image

SCALE = 2.0
"""Pixels per point, as in PaddleX: 144 dpi. Pages that would become too large are rendered smaller."""

# PDFium keeps state of its own and knows no threads. Reentrant, since closing may come from the garbage collector.
_ONE_AT_A_TIME = RLock()


def read_pages(data: bytes | bytearray, label: str) -> Iterator[Image]:
    """Render the pages of a PDF one by one: ``[H, W, 3]`` uint8 BGR each.

    Raises:
        InputError: pypdfium2 is not installed, or the file is damaged or needs a password.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise InputError(
            f'{label}: PDFs are read with pypdfium2; install it with: pip install "hpi-pose[formats]"'
        ) from error
    try:
        with _ONE_AT_A_TIME:
            document = pypdfium2.PdfDocument(bytes(data))
            document.init_forms()
        try:
            for index in range(len(document)):
                yield _render(document, index)
        finally:
            with _ONE_AT_A_TIME:
                document.close()
    except pypdfium2.PdfiumError as error:
        raise InputError(f"{label}: a damaged PDF, or one that needs a password: {error}") from error


def _render(document: Any, index: int) -> Image:
    with _ONE_AT_A_TIME:
        page = document[index]
        try:
            width, height = page.get_size()
            scale = min(SCALE, MAX_WARP_SIDE / (max(width, height) + 1), math.sqrt(MAX_PIXELS / (width * height)))
            return np.array(page.render(scale=scale).to_numpy(), np.uint8)
        finally:
            page.close()
