"""The audio of a file, beside the frames of its video."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpi.sources.video import Video, open_file, reason

logger = logging.getLogger(__name__)

_PLAYED_IN_MP4 = {"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}
"""Codecs that players expect in MP4; others are encoded again, as AAC."""


class Audio:
    """The first audio stream of a file, for an MP4 container.

    It is copied as it is where players expect the codec in MP4, and else encoded again; a warning says so. What cannot
    be read is left out with a warning: no video is lost for its sound.

    Args:
        source: the file.
        container: PyAV's, for writing; gets a stream for the audio where there is some.
    """

    def __init__(self, source: Path, container: Any) -> None:
        self._source = source
        self._container = container
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._last = -(1 << 62)
        self._video: Video | None = None
        with self._left_out_if_damaged():
            self._video = open_file(source)
            self._input = self._video.stream.container
            if self._input.streams.audio:
                self._packets = self._open(self._input.streams.audio[0])

    def mux_until(self, time_s: float) -> None:
        """Write the audio up to a time, seconds from the beginning of the file, that has not been written yet."""
        with self._left_out_if_damaged():
            while (packet := self._next or next(self._packets, None)) is not None:
                self._next = packet
                if float(packet.dts * packet.time_base) > time_s:
                    return
                self._next = None
                self._container.mux(packet)

    def close(self) -> None:
        """Close the file."""
        if self._video is not None:
            self._video.close()

    def _open(self, stream: Any) -> Iterator[Any]:
        """Add a stream to the container; gives the packets for it."""
        if stream.codec_context is None:
            raise ValueError("no decoder for its kind of audio")
        codec = stream.codec_context.codec.canonical_name
        if codec in _PLAYED_IN_MP4:
            return self._copied(stream, self._container.add_stream_from_template(stream), codec)
        logger.warning("%s: its audio is encoded again, from %s to AAC", self._source, codec)
        layout = "mono" if stream.channels == 1 else "stereo"
        return self._encoded(stream, self._container.add_stream("aac", rate=48_000, layout=layout))

    def _copied(self, stream: Any, output: Any, codec: str) -> Iterator[Any]:
        import av

        # AAC of a broadcast describes itself in each packet, that of a file once.
        plain = av.BitStreamFilterContext("aac_adtstoasc" if codec == "aac" else "null", stream)
        for packet in self._input.demux(stream):
            for copy in plain.filter(packet) if packet.dts is not None else ():
                copy.stream = output
                yield self._from_the_beginning(copy)

    def _encoded(self, stream: Any, output: Any) -> Iterator[Any]:
        for packet in self._input.demux(stream):
            for frame in packet.decode():
                yield from map(self._from_the_beginning, output.encode(frame))
        yield from map(self._from_the_beginning, output.encode(None))

    def _from_the_beginning(self, packet: Any) -> Any:
        """A file's own clock may begin anywhere, and may step back where the file is damaged."""
        import av

        start = round((self._input.start_time or 0) / av.time_base / packet.time_base)
        packet.pts = packet.dts = self._last = max(packet.dts - start, self._last + 1)
        return packet

    @contextmanager
    def _left_out_if_damaged(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            self._packets, self._next = iter(()), None
            logger.warning("%s: its audio is left out, since it cannot be read: %s", self._source, reason(error))
