"""Live sources: an MJPEG server as many cameras have it, that stops, comes back, stalls or goes on for ever."""

import contextlib
import http.server
import os
import re
import threading
import time
from itertools import pairwise

import cv2
import numpy as np
import pytest

from hpi import InputError
from hpi.sources import StreamOptions, open_stream
from hpi.sources.live import LiveStream
from hpi.sources.video import open_video

from clips import write_video
from support import free_port, wait_until, wait_until_threads_end

OPTIONS = StreamOptions(allow_network=True, allow_private=True, timeout_s=5, reconnect_s=20)


class Camera:
    """Serves JPEG frames over HTTP on one port, at 50 a second; their number is their brightness.

    Attributes:
        per_connection: frames after which a connection ends; 0 for none.
        stalls: whether connections then stay open, silent.
    """

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/stream"
        self.per_connection = 10**9
        self.stalls = False
        self.connections = 0
        self.sent = 0
        self.end = threading.Event()
        self.server = None

    def start(self):
        """Begin to serve."""
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    camera.send(self.wfile)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.end.clear()
        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def send(self, out):
        """The frames of one connection."""
        for _ in range(self.per_connection):
            image = cv2.imencode(".jpg", frame_of(self.sent))[1].tobytes()
            self.sent += 1
            out.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(image))
            out.write(image + b"\r\n")
            if self.end.wait(0.02):
                return
        if self.stalls:
            self.end.wait()

    def stop(self):
        """End all connections and refuse new ones."""
        self.end.set()
        self.server.shutdown()
        self.server.server_close()


def frame_of(number):
    """An image of 64x48 pixels, grey."""
    return np.full((48, 64, 3), 4 * (number % 60), np.uint8)


@pytest.fixture
def camera():
    """A camera that is on."""
    camera = Camera()
    camera.start()
    yield camera
    camera.stop()


@pytest.fixture
def opened(camera):
    """A function that opens the camera's stream; it is closed at the end, and its thread ends."""
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:

        def open_it(**options):
            stream = open_stream(camera.url, StreamOptions(**{**vars(OPTIONS), **options}))
            stack.callback(stream.close)
            return stream

        yield open_it
    camera.end.set()
    wait_until_threads_end(threads)


def take(stream, count):
    """The next frames, and the errors between them."""
    frames, errors = [], []
    for found in stream:
        (errors if isinstance(found, InputError) else frames).append(found)
        if len(frames) == count:
            break
    return frames, errors


def test_frames_come_with_their_time(opened):
    stream = opened()
    assert (stream.is_live, stream.count, stream.name) == (True, None, "127.0.0.1_stream")
    begun = time.monotonic()
    frames, errors = take(stream, 20)
    lasted = time.monotonic() - begun
    assert errors == []
    times = [frame.time_s for frame in frames]
    assert times[0] >= 0
    assert all(later > earlier for earlier, later in pairwise(times))
    # 20 frames of 20 ms each at least, on the clock of this machine; FFmpeg would make up 40 ms.
    assert times[-1] <= lasted + 0.1
    assert {frame.stream for frame in frames} == {stream.name}
    for frame in frames:
        assert abs(int(frame.image.mean()) - int(frame_of(frame.index).mean())) <= 2  # a JPEG's rounding


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted(opened, camera):
    stream = opened()
    read = iter(stream)
    first = next(read)
    before = stream.dropped
    wait_until(lambda: stream.dropped >= before + 20, "20 more frames dropped")
    second = next(read)
    assert second.index - first.index > 20
    assert second.time_s - first.time_s >= 19 * 0.02  # that the camera lets pass between two frames
    assert stream.dropped >= second.index - 1  # all that came before, but the first


def test_a_camera_that_stops_and_returns_goes_on(opened, camera):
    stream = opened()
    before, errors = take(stream, 3)
    assert errors == []
    camera.stop()
    threading.Timer(0.4, camera.start).start()
    after, errors = take(stream, 15)
    assert any(re.search(r"lost after \d+ frames, connected again after \d", str(error)) for error in errors), errors
    assert camera.connections >= 2
    frames = before + after
    assert all(later.index > earlier.index for earlier, later in pairwise(frames))
    longest = max(later.time_s - earlier.time_s for earlier, later in pairwise(frames))
    assert longest >= 0.4  # the time that it was away


def test_a_camera_that_stays_away_is_an_error(opened, camera):
    stream = opened(reconnect_s=0.6)
    take(stream, 2)
    camera.stop()
    with pytest.raises(InputError, match=r"stream: lost after \d+ frames, and not back within 0.6 s: .*refused"):
        take(stream, 10**9)
    camera.start()


def test_without_reconnecting_the_end_is_an_error(opened, camera):
    camera.per_connection = 5
    with pytest.raises(InputError, match="lost after 5 frames, and not back within 0 s: the source ended it"):
        take(opened(reconnect_s=0), 10)
    assert camera.connections == 1


@pytest.mark.full
def test_connections_without_a_frame_do_not_go_on_for_ever(opened, camera):
    """It answers each time, and never sends anything again."""
    camera.per_connection = 5
    stream = opened(reconnect_s=1)
    take(stream, 1)
    camera.per_connection = 0
    with pytest.raises(InputError, match="not back within 1 s"):
        take(stream, 10**9)


@pytest.mark.full
def test_a_silent_camera_counts_as_lost(opened, camera):
    camera.per_connection, camera.stalls = 3, True
    stream = opened(timeout_s=0.5)
    frames, errors = take(stream, 5)
    assert len(frames) == 5
    assert any("timed out" in str(error) for error in errors), errors
    assert camera.connections >= 2


def test_closing_ends_a_read_that_waits(opened, camera):
    camera.per_connection, camera.stalls = 3, True
    stream = opened(timeout_s=100)
    waiting = threading.Thread(target=take, args=(stream, 10), daemon=True)
    waiting.start()
    wait_until(lambda: camera.sent >= 3, "three frames are sent")
    time.sleep(0.3)
    begun = time.monotonic()
    stream.close()
    waiting.join(20)
    assert not waiting.is_alive()
    assert time.monotonic() - begun < 10
    stream.close()
    assert list(stream) == []


def test_damaged_frames_are_reported_and_reading_goes_on(opened, camera, monkeypatch):
    encode = cv2.imencode
    calls = []

    def sometimes_damaged(*arguments):
        calls.append(arguments)
        is_whole, data = encode(*arguments)
        if len(calls) % 10 == 0:
            data = data.copy()
            data[20:] = 0
        return is_whole, data

    monkeypatch.setattr("cv2.imencode", sometimes_damaged)
    frames, errors = take(opened(), 25)
    assert len(frames) == 25
    assert errors
    assert all("reading goes on" in str(error) for error in errors)


def test_a_device_that_no_longer_answers_is_an_error(tmp_path, image):
    """FFmpeg waits for ever, as for a camera whose driver hangs; here it reads from a pipe."""
    content = write_video(tmp_path / "walk.ts", image, "ts", frames=50).read_bytes()
    reading, writing = os.pipe()
    os.write(writing, content[: 40 * 1024])
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        video = open_video("pipe", pipe, buffer_size=1024, options={"probesize": "10000"})
        stream = LiveStream("pipe", video, lambda: None, StreamOptions(timeout_s=0.2, reconnect_s=0.1))
        with pytest.raises(InputError, match=r"^pipe: no frame for "):
            take(stream, 10**9)
        stream.close()
        threads = threading.active_count()
        os.close(writing)
        wait_until_threads_end(threads - 1)
