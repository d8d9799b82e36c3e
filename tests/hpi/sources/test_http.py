"""Videos and HLS on a server: every frame, under the rules for addresses."""

import contextlib
import functools
import http.server
import itertools
import re
import shutil
import socket
import ssl
import subprocess
import threading

import numpy as np
import pytest

from hpi import InputError
from hpi.sources import StreamOptions, open_stream

from clips import write_video
from support import free_port, quick_first, serve

av = pytest.importorskip("av", reason="PyAV is not installed")

OPTIONS = StreamOptions(allow_network=True, allow_private=True, timeout_s=5, reconnect_s=10)


def read(stream):
    """The frames of a stream, all without an error between them."""
    with contextlib.closing(stream):
        found = list(stream)
    assert not [one for one in found if isinstance(one, InputError)]
    return found


class Parts(http.server.BaseHTTPRequestHandler):
    """Sends parts of its content, as web servers do, and breaks off as often as it is set to."""

    content = b""
    breaks = ()
    sends_parts = True

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.sends_parts else 0
        type(self).asked = [*type(self).asked, start]
        body = self.content[start:]
        self.send_response(206 if self.sends_parts else 200)
        if self.sends_parts:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[: next(self.breaks, None)])

    def log_message(self, *_):
        pass


@pytest.fixture
def parts(tmp_path, image):
    """A function that serves a video in parts; yields the URL and the handler."""
    with contextlib.ExitStack() as stack:

        def start(kind, breaks=(), **of_handler):
            path = write_video(tmp_path / f"walk.{kind}", image, kind, frames=50)
            attributes = {"content": path.read_bytes(), "breaks": iter(breaks), "asked": [], **of_handler}
            handler = type("Handler", (Parts,), attributes)
            return stack.enter_context(serve(handler)) + f"/walk.{kind}", handler

        yield start


@pytest.mark.parametrize("kind", quick_first(["mp4", "avi", "ts", "webm"], 3))
def test_a_video_on_a_server_is_read_like_a_file(parts, tmp_path, kind):
    url, _ = parts(kind)
    stream = open_stream(url, OPTIONS)
    local = open_stream(tmp_path / f"walk.{kind}")
    assert not stream.is_live
    assert stream.rate == local.rate == 25
    for found, expected in zip(read(stream), read(local), strict=True):
        assert (found.index, found.time_s) == (expected.index, expected.time_s)
        assert (found.image == expected.image).all()
    assert stream.dropped == 0


def test_a_connection_that_breaks_is_resumed(parts):
    url, handler = parts("raw.avi", breaks=itertools.repeat(4_000_000))
    assert len(read(open_stream(url, OPTIONS))) == 50
    assert handler.asked[-1] > 4_000_000


def test_a_broken_connection_without_parts_is_an_error(parts):
    url, _ = parts("raw.avi", breaks=[4_000_000], sends_parts=False)
    with pytest.raises(InputError, match=r"the connection ended after \d+ of 1\d{7} bytes"):
        read(open_stream(url, OPTIONS))


@pytest.mark.full
def test_a_server_that_stays_away_is_an_error(parts):
    url, handler = parts("raw.avi", breaks=itertools.repeat(4_000_000))
    options = StreamOptions(**{**vars(OPTIONS), "reconnect_s": 1})
    stream = open_stream(url, options)
    handler.breaks = itertools.repeat(0)
    with pytest.raises(InputError, match="cannot be fetched: the connection ended"):
        read(stream)


@pytest.mark.full
def test_a_video_that_needs_parts_says_so(tmp_path, image):
    path = tmp_path / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(200):
            view = np.ascontiguousarray(np.roll(image, index, axis=1)[:240, :320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode(None))
    with (
        serve(tmp_path) as server,
        pytest.raises(InputError, match="the server does not send parts of a file, so downl"),
    ):
        read(open_stream(f"{server}/walk.mp4", OPTIONS))


def test_user_and_password_go_to_their_server_only(playlist):
    """To every part of it, but not where it leads."""
    logins, elsewhere = [], []

    class Guarded(http.server.SimpleHTTPRequestHandler):
        asked = logins

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(playlist.parent))

        def do_GET(self):
            self.asked.append(self.headers.get("Authorization"))
            super().do_GET()

        def log_message(self, *_):
            pass

    with serve(Guarded) as server, serve(type("Open", (Guarded,), {"asked": elsewhere})) as other:
        playlist.write_text(playlist.read_text().replace("a1.ts", f"{other}/a1.ts"))
        url = f"{server}/a.m3u8".replace("//", "//me:secret@")
        assert len(read(open_stream(url, OPTIONS))) == 75
    assert set(logins) == {"Basic bWU6c2VjcmV0"}
    assert elsewhere == [None]


def test_encrypted_connections_need_a_certificate_that_is_trusted(tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl, to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    write_video(tmp_path / "walk.mkv", np.zeros((480, 640, 3), np.uint8), "mkv")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"https://localhost:{server.server_port}/walk.mkv"
    try:
        with pytest.raises(InputError, match="CERTIFICATE_VERIFY_FAILED"):
            open_stream(url, OPTIONS)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert len(read(open_stream(url, OPTIONS))) == 10
    finally:
        server.shutdown()
        server.server_close()


# HLS


@pytest.fixture
def playlist(tmp_path, image):
    """A recording of 75 frames in segments of a second."""
    return write_playlist(tmp_path / "a.m3u8", image)


def write_playlist(path, image, **options):
    """Frames of 320x240, 25 in each segment."""
    settings = {"hls_time": "1", "hls_list_size": "0", **options}
    with av.open(str(path), "w", format="hls", options=settings) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size = 25
        for index in range(75):
            view = np.ascontiguousarray(image[index : index + 240, :320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def test_every_frame_of_a_recording_is_given(playlist):
    with serve(playlist.parent) as server:
        stream = open_stream(f"{server}/a.m3u8", OPTIONS)
        assert (stream.is_live, stream.count, stream.name) == (False, 75, "127.0.0.1_a")
        frames = read(stream)
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(75)])


def test_a_missing_segment_is_an_error(playlist):
    (playlist.parent / "a1.ts").unlink()
    with serve(playlist.parent) as server, pytest.raises(InputError, match=r"a1\.ts: the server answers 404"):
        read(open_stream(f"{server}/a.m3u8", OPTIONS))


@pytest.mark.full
def test_segments_that_come_late_are_waited_for(playlist):
    """A server that is overloaded for a while."""
    refusals = iter([503, 503])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(playlist.parent))

        def do_GET(self):
            if self.path == "/a2.ts" and (status := next(refusals, None)):
                self.send_error(status)
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    with serve(Handler) as server:
        assert len(read(open_stream(f"{server}/a.m3u8", OPTIONS))) == 75


@pytest.mark.full
def test_a_live_playlist_is_live_until_it_ends(playlist):
    """A second comes at once; most of its frames are not dropped, but held back until their time."""
    content = playlist.read_text()
    assert content.rstrip().endswith("#EXT-X-ENDLIST")
    playlist.write_text(content.replace("#EXT-X-ENDLIST", ""))
    with serve(playlist.parent) as server:
        stream = open_stream(f"{server}/a.m3u8", OPTIONS)
        assert stream.is_live
        threading.Timer(0.5, playlist.write_text, (content,)).start()
        frames = read(stream)
    assert frames[-1].index == 74
    assert len(frames) + stream.dropped == 75
    assert len(frames) > 40


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "/etc/passwd", "crypto+http://127.0.0.1/a", "ftp://127.0.0.1/a", "concat:a.ts|b.ts",
     "data:text/plain,a", "tcp://127.0.0.1:9", "gopher://127.0.0.1/a"],
)  # fmt: skip
def test_a_playlist_leads_to_http_only(tmp_path, target):
    (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    with serve(tmp_path) as server, pytest.raises(InputError) as error:
        read(open_stream(f"{server}/a.m3u8", OPTIONS))
    assert "root" not in str(error.value)


# Rules for addresses


def test_the_network_is_opened_only_if_it_is_allowed(playlist):
    with serve(playlist.parent) as server:
        with pytest.raises(InputError, match=r"only with StreamOptions\(allow_network=True\)"):
            open_stream(f"{server}/a.m3u8")
        with pytest.raises(InputError, match=r"127.0.0.1: not a public address; .*allow_private=True"):
            open_stream(f"{server}/a.m3u8", StreamOptions(allow_network=True))


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_private_addresses_are_refused_however_they_are_spelled(host):
    with pytest.raises(InputError, match=r"not a public address|no such host|cannot be fetched"):
        open_stream(f"http://{host}:{free_port()}/a.mp4", StreamOptions(allow_network=True, timeout_s=5))


@pytest.fixture
def first_is_public(monkeypatch):
    """127.0.0.1 counts as public, 127.0.0.2 does not."""
    monkeypatch.setattr("hpi.sources.http.is_public", lambda address: address == "127.0.0.1")


@pytest.fixture
def inner():
    """A server at a private address, and the paths it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.2:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_redirects_do_not_lead_to_private_addresses(first_is_public, inner):
    address, asked = inner

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"{address}/secret.mp4")
            self.end_headers()

        def log_message(self, *_):
            pass

    with serve(Handler) as server, pytest.raises(InputError, match=r"127\.0\.0\.2: not a public address"):
        open_stream(f"{server}/a.mp4", StreamOptions(allow_network=True))
    assert asked == []


@pytest.mark.parametrize("line", ["{}/a.ts", "#EXT-X-MAP:URI={}/a.mp4", '#EXT-X-KEY:METHOD=AES-128,URI="{}/key"'])
def test_playlists_do_not_lead_to_private_addresses(first_is_public, inner, playlist, line):
    address, asked = inner
    text = playlist.read_text().replace("#EXTINF", f"{line.format(address)}\n#EXTINF", 1)
    playlist.write_text(text.replace("a0.ts", f"{address}/a.ts") if line.startswith("{}") else text)
    with serve(playlist.parent) as server, pytest.raises(InputError):
        read(open_stream(f"{server}/a.m3u8", StreamOptions(allow_network=True)))
    assert asked == []


def test_master_playlists_do_not_lead_to_private_addresses(first_is_public, inner, tmp_path):
    address, asked = inner
    (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}/b.m3u8\n")
    with serve(tmp_path) as server, pytest.raises(InputError):
        open_stream(f"{server}/a.m3u8", StreamOptions(allow_network=True))
    assert asked == []


def test_secrets_of_a_url_are_not_shown():
    url = f"http://me:secret@127.0.0.1:{free_port()}/a.mp4?token=secret"
    with pytest.raises(InputError) as error:
        open_stream(url, OPTIONS)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"no video at all" * 100, b"#EXTM3U\n", b"#EXTM3U\n#EXTINF:1,\n", b"ffconcat version 1.0\n"]
)
def test_what_is_no_video_is_an_error(tmp_path, content):
    (tmp_path / "a.ts").write_bytes(content)
    with serve(tmp_path) as server, pytest.raises(InputError, match=r"a\.ts: "):
        open_stream(f"{server}/a.ts", OPTIONS)


@pytest.mark.full
def test_a_server_that_trickles_is_given_up(tmp_path):
    """Each byte comes in time, a frame never does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def trickle():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b"\x47")

        thread = threading.Thread(target=trickle)
        thread.start()
        options = StreamOptions(allow_network=True, allow_private=True, timeout_s=1)
        with pytest.raises(InputError, match="no frame within 1 s"):
            open_stream(f"http://127.0.0.1:{listener.getsockname()[1]}/a.ts", options)
        ended.set()
        thread.join()
