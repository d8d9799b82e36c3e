"""Small videos that tests write."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")

# Suffix, format, codec, options of the format. The end of those that state nothing cannot be missed.
STATING = {
    "mp4": ("mp4", "libx264", {"movflags": "faststart"}),
    "fragmented.mp4": ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("mov", "mpeg4", {"movflags": "faststart"}),
    "m4v": ("mp4", "mpeg4", {"movflags": "faststart"}),
    "3gp": ("3gp", "mpeg4", {"movflags": "faststart"}),
    "mkv": ("matroska", "libx264", {}),
    "webm": ("webm", "libvpx-vp9", {}),
    "avi": ("avi", "mpeg4", {}),
    "raw.avi": ("avi", "rawvideo", {}),
    "wmv": ("asf", "wmv2", {}),
    "flv": ("flv", "flv", {}),
    "mxf": ("mxf", "mpeg2video", {}),
}
SILENT = {
    "ts": ("mpegts", "mpeg2video", {}),
    "m2ts": ("mpegts", "libx264", {"mpegts_m2ts_mode": "1"}),
    "mpg": ("mpeg", "mpeg1video", {}),
    "vob": ("vob", "mpeg2video", {}),
    "ogv": ("ogg", "libvpx", {}),
    "live.mkv": ("matroska", "libx264", {"live": "1"}),
}
CONTAINERS = STATING | SILENT


def write_video(path, image, kind="mp4", *, times=None, frames=10, rate=25, size=(320, 240), audio_s=0.0):
    """Frames that move over the example image; ``times`` in ms for a variable rate."""
    container_format, codec, options = CONTAINERS[kind]
    with av.open(str(path), "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "bgr24" if codec == "rawvideo" else "yuv420p"
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("libopus" if kind == "webm" else "aac", rate=48_000) if audio_s else None
        for index, time in enumerate(times or range(frames)):
            view = np.ascontiguousarray(image[6 * index % 240 :, 8 * index % 320 :][: size[1], : size[0]])
            frame = av.VideoFrame.from_ndarray(view, format="bgr24")
            if times:
                frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            for start in range(0, int(48_000 * audio_s), 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                silence.rate, silence.pts = 48_000, start
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    return path
