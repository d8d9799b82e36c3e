"""Streams with known people, and a process that writes their results until it is done, killed or out of space.

Run as a script it takes a video, a folder, formats, ``fresh`` or ``resume``, and the largest size of a file in bytes,
or 0. It prints the index of each frame once all sinks have it, and ends with 3 after an error.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from hpi import Frame, InputError, Instances
from hpi.compat.paddlex.results import KeypointResult, paddlex_result
from hpi.instances import Skeleton
from hpi.sinks.formats import open_sinks, resume_point
from hpi.sinks.stream import NOTHING
from hpi.skeletons import COCO, load_skeleton
from hpi.sources.opening import open_stream

from support import ROOT

RATE = Fraction(25)
LOUD_AT_S = 0.5


def views(image: np.ndarray, count: int, size: tuple[int, int] = (320, 240)) -> Iterator[np.ndarray]:
    """Parts of an image that move over it."""
    for index in range(count):
        x, y = 4 * index % (image.shape[1] - size[0]), 3 * index % (image.shape[0] - size[1])
        yield np.ascontiguousarray(image[y : y + size[1], x : x + size[0]])


def people(index: int, skeleton: Skeleton) -> Instances:
    """Two people, of whom one has an id and is sometimes not seen, where the frame is not a seventh."""
    if index % 7 == 6:
        return Instances.empty(len(skeleton)).replaced(track_ids=[], interpolated=[])
    rng = np.random.default_rng(index)
    keypoints = rng.uniform(20, 200, (2, len(skeleton), 2)).astype(np.float32)
    return Instances(
        rng.uniform(0.5, 1, 2),
        boxes=np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1),
        keypoints=keypoints,
        keypoint_scores=rng.uniform(0.3, 1, (2, len(skeleton))),
        track_ids=[4, -1],
        interpolated=[index % 3 == 2, False],
    )


def write_clip(path: Path, image: np.ndarray, *, frames: int = 50, codec: str | None = "aac") -> Path:
    """A video with a tone that starts at LOUD_AT_S; without a codec it has no sound."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream(codec, rate=48_000, layout="mono") if codec else None
        packets: list[Any] = []
        for view in views(image, frames):
            packets += video.encode(av.VideoFrame.from_ndarray(view, format="bgr24"))
        packets += video.encode(None)
        if audio:
            time_s = np.arange(48_000 * frames / float(RATE)) / 48_000
            tone = (0.5 * np.sin(2 * np.pi * 440 * time_s) * (time_s >= LOUD_AT_S) * 32767).astype(np.int16)
            for start in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
                frame.rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
                packets += audio.encode(frame)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


@functools.cache
def _skeleton() -> Skeleton:
    return load_skeleton(COCO)


def result_of(frame: Frame) -> KeypointResult:
    """The result of a frame, with its own people."""
    skeleton = _skeleton()
    result = paddlex_result(frame, people(frame.index or 0, skeleton), skeleton, ("person",), detected=True)
    assert isinstance(result, KeypointResult)
    return result


def results(images: Iterable[np.ndarray], times: Iterable[float] | None = None) -> Iterator[KeypointResult]:
    """Results of images as of a video; ``times`` in seconds."""
    for index, (image, time_s) in enumerate(zip(images, times or (index / RATE for index in count()), strict=False)):
        yield result_of(Frame(image, "clip.mp4", index=index, time_s=float(time_s), stream="clip"))


def record(clip: Path, folder: Path, formats: str, *, resume: bool) -> None:
    """Write the results of a video."""
    stream, kinds = open_stream(clip), formats.split(",")
    kept = resume_point(folder, stream.name, kinds) if resume else NOTHING
    sinks = open_sinks(stream, folder, kinds, kept=kept)
    try:
        for frame in stream:
            assert isinstance(frame, Frame)
            if frame.index >= kept.next_index:
                result: Any = result_of(frame)
                for sink in sinks:
                    sink.add(result)
                print(frame.index, flush=True)
    finally:
        stream.close()
        for sink in sinks:
            sink.close()


def start(
    clip: Path, folder: Path, how: str = "fresh", formats: str = "video,jsonl", limit: int = 0
) -> subprocess.Popen[str]:
    """A process that records."""
    command = [sys.executable, __file__, str(clip), str(folder), formats, how, str(limit)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


if __name__ == "__main__":
    clip, folder, formats, how, limit = sys.argv[1:]
    if int(limit):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        record(Path(clip), Path(folder), formats, resume=how == "resume")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
