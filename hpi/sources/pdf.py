"""Rendering the pages of PDF files."""

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
"""Pixels per point, as in PaddleX: 144 dpi. Pages that would be too large are rendered smaller."""

# PDFium has global state and is not thread-safe. Reentrant, since the garbage collector may close a document.
_PDFIUM_LOCK = RLock()


def read_pages(data: bytes | bytearray, label: str) -> Iterator[Image]:
    """Render the pages of a PDF, lazily.

    Args:
        data: content of the file.
        label: its name, for errors.

    Yields:
        ``[H, W, 3]`` uint8 BGR.

    Raises:
        InputError: pypdfium2 is not installed, or the file is damaged or needs a password.

    Example:
        >>> import io
        >>> from PIL import Image as Pillow
        >>> file = io.BytesIO()
        >>> Pillow.new("RGB", (72, 36)).save(file, "PDF")  # a pixel becomes a point
        >>> [page.shape for page in read_pages(file.getvalue(), "report.pdf")]
        [(72, 144, 3)]
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise InputError(f'{label}: reading PDFs needs pypdfium2: pip install "hpi-pose[formats]"') from error
    try:
        with _PDFIUM_LOCK:
            document = pypdfium2.PdfDocument(bytes(data))
            document.init_forms()
        try:
            for index in range(len(document)):
                yield _render(document, index)
        finally:
            with _PDFIUM_LOCK:
                document.close()
    except pypdfium2.PdfiumError as error:
        raise InputError(f"{label}: a damaged PDF, or one that needs a password: {error}") from error


def _render(document: Any, index: int) -> Image:
    with _PDFIUM_LOCK:
        page = document[index]
        try:
            width, height = page.get_size()
            scale = min(SCALE, MAX_WARP_SIDE / (max(width, height) + 1), math.sqrt(MAX_PIXELS / (width * height)))
            return np.array(page.render(scale=scale).to_numpy(), np.uint8)
        finally:
            page.close()
