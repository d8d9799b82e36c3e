"""RTSP, against a server that speaks just enough of it: H.264 in RTP over the same connection."""

import contextlib
import io
import socket
import struct
import threading

import numpy as np
import pytest

from hpi import InputError
from hpi.sources import StreamOptions, open_stream

from support import free_port

av = pytest.importorskip("av", reason="PyAV is not installed")

OPTIONS = StreamOptions(allow_network=True, allow_private=True, timeout_s=5, reconnect_s=20)
SDP = "\r\n".join(
    [
        "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", "a=control:video", "",
    ]
)  # fmt: skip


class Camera:
    """An RTSP server on one port, for one client after another.

    Attributes:
        frames: in each connection, which then ends.
    """

    def __init__(self, frames):
        self.frames = frames
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://me:secret@127.0.0.1:{self.listener.getsockname()[1]}/live"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Answer clients until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                with client, contextlib.suppress(OSError, av.FFmpegError):
                    self.answer(client)

    def answer(self, client):
        """The requests of one client."""
        requests = client.makefile("rb")
        while (line := requests.readline()).strip():
            method = line.split()[0].decode()
            headers = {}
            while header := requests.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n"
            if method == "DESCRIBE":
                answer += f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
            elif method == "SETUP":
                answer += f"Transport: {headers['transport']}\r\n\r\n"
            else:
                answer += "Public: DESCRIBE, SETUP, PLAY\r\n\r\n"
            client.sendall(answer.encode())
            if method == "PLAY":
                self.play(client)
                return

    def play(self, client):
        """Send frames in real time, RTP packets as FFmpeg writes them."""

        class Packets(io.RawIOBase):
            def write(self, packet):
                if not 200 <= packet[1] <= 204:  # reports of RTCP have another channel
                    client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                return len(packet)

            def writable(self):
                return True

        ended = threading.Event()
        with av.open(Packets(), "w", format="rtp", buffer_size=1400) as container:
            stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.gop_size = 5
            for number in range(self.frames):
                view = np.full((48, 64, 3), 40 + 2 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
                ended.wait(0.04)


@pytest.fixture
def camera():
    """A function that starts a camera."""
    with contextlib.ExitStack() as stack:

        def start(frames):
            camera = Camera(frames)
            stack.callback(camera.listener.close)
            return camera

        yield start


@pytest.mark.full
def test_frames_come_with_the_times_of_the_camera(camera):
    stream = open_stream(camera(60).url, OPTIONS)
    assert stream.is_live
    assert stream.path.startswith("rtsp://127.0.0.1:")
    frames = []
    for found in stream:
        if isinstance(found, InputError):
            break
        frames.append(found)
        if len(frames) == 10:
            break
    stream.close()
    assert len(frames) == 10, found
    first, last = frames[0], frames[-1]
    assert last.time_s - first.time_s == pytest.approx((last.index - first.index) / 25, abs=0.01)
    assert first.image.shape == (48, 64, 3)


@pytest.mark.full
def test_a_camera_that_ends_the_connection_is_connected_again(camera):
    source = camera(30)
    stream = open_stream(source.url, OPTIONS)
    frames, errors = [], []
    for found in stream:
        (errors if isinstance(found, InputError) else frames).append(found)
        if source.connections > 1 and errors and not isinstance(found, InputError):
            break
    stream.close()
    assert any("lost after" in str(error) for error in errors), errors
    assert frames[-1].index > frames[0].index


@pytest.mark.parametrize("options", [{}, {"allow_network": True}, {"allow_private": True}])
def test_it_needs_both_options(options):
    with pytest.raises(InputError, match=r"RTSP servers can lead to any address; .*allow_private=True"):
        open_stream("rtsp://8.8.8.8/live", StreamOptions(**options))


def test_a_missing_server_is_an_error_without_the_password():
    with pytest.raises(InputError, match=r"^rtsp://127.0.0.1:\d+/a: cannot be opened: Connection refused") as error:
        open_stream(f"rtsp://me:secret@127.0.0.1:{free_port()}/a", OPTIONS)
    assert "secret" not in str(error.value)


def test_a_silent_server_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(InputError, match="cannot be opened"):
        options = StreamOptions(allow_network=True, allow_private=True, timeout_s=0.5)
        open_stream(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/a", options)
