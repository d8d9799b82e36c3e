"""Annotated videos: MP4 with H.264."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from hpi.errors import InputError
from hpi.sinks.audio import Audio
from hpi.sinks.stream import NOTHING, Kept, StreamSink
from hpi.sources.streams import USUAL_RATE
from hpi.sources.video import open_file, reason, require_pyav

if TYPE_CHECKING:
    from hpi.results import Result

Image = NDArray[np.uint8]

_FRAGMENT_S = 1
_KEYFRAMES_S = 5
_FINEST_CLOCK = 90_000  # ticks a second, of MPEG
_MOST_THREADS = 4
_BT709 = 1
_LIMITED = 1
# A fragment of a second is written as soon as it is complete, so that a kill loses little; closing the file makes it a
# plain MP4, by an index at its end and, last, one word at its beginning.
_CONTAINER = {
    "movflags": "hybrid_fragmented+frag_keyframe+default_base_moof+delay_moov",
    "frag_duration": f"{_FRAGMENT_S * 1_000_000}",
    "max_interleave_delta": f"{_FRAGMENT_S * 1_000_000}",
    "flush_packets": "1",
}


class VideoSink(StreamSink):
    """Writes the pictures of results as an H.264 video, each at the time of its frame.

    Frames of another size than the first are fitted into it, with black borders. H.264 needs even sizes: odd ones get
    another row or column, which repeats the last. What was written, but for the last second or two, can be played at
    any time, also after a kill.

    Args:
        path: the file, MP4.
        rate: of the source, frames per second, where it is known.
        audio: a file whose audio is copied, up to the last frame; see :class:`hpi.sinks.audio.Audio`.
        kept: what stays of the file of an interrupted run.

    Raises:
        InputError: PyAV is not installed, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from hpi import DetectionResult, Frame, Instances
        >>> image = np.zeros((48, 64, 3), np.uint8)
        >>> results = [DetectionResult(Frame(image, index=i, time_s=i / 10), Instances.empty(), ()) for i in range(3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = VideoSink(Path(folder) / "a_res.mp4", rate=Fraction(10))
        ...     for result in results:
        ...         sink.add(result)
        ...     sink.close()
        ...     kept_frames(sink.path, 100)
        3
    """

    def __init__(
        self, path: Path, *, rate: Fraction | None = None, audio: Path | None = None, kept: Kept = NOTHING
    ) -> None:
        _require_encoder(path)
        self.path = path
        self._rate = rate.limit_denominator(_FINEST_CLOCK) if rate and 1 <= rate <= 1000 else USUAL_RATE
        self._audio = audio
        self._kept = kept.frames
        self._writer: _Writer | None = None
        self._failure: InputError | None = None
        if not kept.frames:
            with self._reported():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                aside(path).unlink(missing_ok=True)

    def add(self, result: Result) -> None:
        """Draw the people of a frame and encode the picture."""
        if self._failure:
            raise self._failure
        if result.frame.time_s is None:
            raise InputError(f"{self.path}: a frame without a time; only the results of a stream become a video")
        picture = result.plot()
        with self._reported():
            writer = self._writer or self._open(picture)
            writer.add(picture, result.frame.time_s)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            with self._reported():
                self._writer.finish()
            self._writer = None

    def _open(self, picture: Image) -> _Writer:
        if not self._kept:
            height, width = picture.shape[:2]
            self._writer = _Writer(self.path, (width + width % 2, height + height % 2), self._rate, self._audio)
            return self._writer
        earlier = _set_aside(self.path)
        try:
            with _demuxed(earlier) as (video, packets):
                self._writer = _Writer(self.path, (video.width, video.height), self._rate, self._audio)
                self._writer.go_on_after(video, islice(packets, self._kept))
        except BaseException:
            self._give_up()
            earlier.replace(self.path)
            raise
        earlier.unlink()
        return self._writer

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.give_up()
            self._writer = None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Report once what cannot be written; what was written before can be played, or is removed."""
        import av

        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            self._give_up()
            left = "; what was written before can be played" if self.path.exists() else ""
            self._failure = InputError(f"{self.path}: cannot be written: {reason(error)}{left}")
            raise self._failure from error


class _Writer:
    """A file that is being written."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, audio: Path | None) -> None:
        import av

        self._path = path
        self._rate = rate
        # Written through Python, since FFmpeg would finish the file, and damage it, even where the disk is full.
        self._file: BinaryIO = path.open("wb")
        self._whole = 0
        self._container = av.open(self._file, "w", format="mp4", container_options=_CONTAINER)
        self._video = self._container.add_stream("libx264", rate=rate)
        self._video.width, self._video.height = self._size = size
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"preset": "veryfast"}
        encoder = self._video.codec_context
        encoder.time_base = Fraction(1, _clock(rate))
        encoder.gop_size = round(_KEYFRAMES_S * rate)
        encoder.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
        encoder.thread_type = "FRAME"  # slices, PyAV's default, make files a fifth larger
        encoder.colorspace = encoder.color_primaries = encoder.color_trc = _BT709
        encoder.color_range = _LIMITED
        self._audio = Audio(audio, self._container) if audio else None
        self._container.start_encoding()
        self._flush()
        self._nothing = self._whole  # so much stands before the first fragment
        self._last_pts = self._last_dts = -(1 << 62)
        self._held: Any = None  # the last frame, which is encoded when it is known whether another one follows

    def go_on_after(self, video: Any, packets: Iterable[Any]) -> None:
        """Copy the packets of an earlier file, and go on after them."""
        import av

        mine = self._video
        if video.time_base != mine.time_base or not _have_same_headers(video.codec_context, mine.codec_context):
            raise ValueError("it was written by another encoder, so it cannot be continued; start anew")
        as_encoded = av.BitStreamFilterContext("h264_mp4toannexb", video)
        for packet in packets:
            self._last_pts = max(self._last_pts, packet.pts)
            for copy in as_encoded.filter(packet):
                copy.stream = mine
                self._mux(copy)
        self._flush()

    def add(self, picture: Image, time_s: float) -> None:
        """Take a picture, and encode the one before."""
        import av

        self._encode_held()
        frame = av.VideoFrame.from_ndarray(fitted(picture, self._size), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
        frame.time_base = self._video.codec_context.time_base
        frame.pts = self._last_pts = max(round(time_s / frame.time_base), self._last_pts + 1)
        self._held = frame

    def finish(self) -> None:
        """Write what is left, and make the file a plain MP4."""
        from av.video.frame import PictureType

        if self._held is not None:
            # FFmpeg takes the end of the last fragment for that of the video, so the last frame must not be in the one
            # before, as it would be if others were predicted from it.
            self._held.pict_type = PictureType.I
            self._encode_held()
        for packet in self._video.encode(None):
            self._mux(packet)
        if self._audio:
            self._audio.mux_until(float(self._last_pts * self._video.time_base + 1 / self._rate))
            self._audio.close()
        self._flush()
        self._container.close()
        self._file.close()

    def give_up(self) -> None:
        """Leave the file as it was after the last fragment; one without any cannot be played, and is removed."""
        with suppress(OSError):
            self._file.close()
        with suppress(Exception):  # it cannot finish the file, which is closed
            self._container.close()
        if self._audio:
            self._audio.close()
        with suppress(OSError):
            if self._whole > self._nothing:
                os.truncate(self._path, self._whole)
            else:
                self._path.unlink()

    def _encode_held(self) -> None:
        if self._held is not None:
            for packet in self._video.encode(self._held):
                self._mux(packet)
            self._flush()

    def _mux(self, packet: Any) -> None:
        if self._audio:
            self._audio.mux_until(float(packet.dts * packet.time_base))
        # An encoder that goes on counts its delay anew, which may be longer in a video of variable rate.
        packet.dts = self._last_dts = max(packet.dts, self._last_dts + 1)
        self._container.mux(packet)

    def _flush(self) -> None:
        self._file.flush()
        self._whole = self._file.tell()


def fitted(picture: Image, size: tuple[int, int]) -> Image:
    """A picture in the size of a video: another row or column for one that is odd, borders for one of another size.

    Args:
        picture: ``[H, W, 3]`` uint8.
        size: width and height, both even.

    Example:
        >>> fitted(np.zeros((47, 63, 3), np.uint8), (64, 48)).shape
        (48, 64, 3)
    """
    height, width = picture.shape[:2]
    right, below = size[0] - width, size[1] - height
    if (right, below) == (0, 0):
        return picture
    if right in {0, 1} and below in {0, 1}:
        return np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    scale = min(size[0] / width, size[1] / height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    border = (top, size[1] - height - top, left, size[0] - width - left)
    return np.asarray(cv2.copyMakeBorder(small, *border, cv2.BORDER_CONSTANT), np.uint8)


def kept_frames(path: Path, most: int) -> int:
    """How many frames of a video a run can go on after: all of a finished file, else those that are surely whole.

    Args:
        path: what :class:`VideoSink` has written; may be missing or cut off.
        most: no more than these are of use.

    Raises:
        InputError: PyAV is not installed.
    """
    _require_encoder(path)
    import av

    earlier = aside(path)
    kept, count, latest = 0, -1, -math.inf
    with (
        suppress(av.FFmpegError, InputError),
        _demuxed(earlier if earlier.exists() else path) as (video, packets),
    ):
        for count, packet in enumerate(islice(packets, most + 1)):
            if packet.pts > latest:  # else a frame that is shown before an earlier one, which needs both
                kept, latest = count, packet.pts
        if video.frames == count + 1 <= most:  # a file that is not finished does not say how many it has
            return count + 1
    return kept


def aside(path: Path) -> Path:
    """Where the file of an interrupted run is while it is copied into a new one."""
    return path.with_name(f".{path.name}.earlier")


def _set_aside(path: Path) -> Path:
    """Rename a file that is copied into a new one; one that a kill has left there is the more complete one."""
    earlier = aside(path)
    if not earlier.exists():
        path.rename(earlier)
    return earlier


@contextmanager
def _demuxed(path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The video stream of a file, and its packets."""
    with closing(open_file(path)) as video:
        packets = video.stream.container.demux(video.stream)
        yield video.stream, (packet for packet in packets if packet.dts is not None)


def _have_same_headers(earlier: Any, mine: Any) -> bool:
    """Whether packets of two encoders can follow each other: the container has their parameter sets but once."""
    units = (mine.extradata or b"").split(b"\0\0\0\1")
    return all(unit in (earlier.extradata or b"") for unit in units if unit[:1] and unit[0] & 31 in {7, 8})


def _clock(rate: Fraction) -> int:
    """Ticks a second in which every frame of a constant rate falls on a tick."""
    if rate.numerator > _FINEST_CLOCK:
        return _FINEST_CLOCK
    return rate.numerator * math.ceil(_FINEST_CLOCK / rate.numerator)


def _require_encoder(path: Path) -> None:
    if "libx264" not in require_pyav(str(path)).codecs_available:
        raise InputError(f"{path}: this PyAV is built without libx264; install the one of PyPI: pip install av")
