import http.server
import io
import time

import pytest

from hpi.errors import ModelError
from hpi.fetch import fetch

from support import serve

CONTENT = b"x" * 100_000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path == "/to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                try:
                    self.wfile.write(b"x")
                except OSError:  # the client has left
                    return
                time.sleep(0.05)
            return
        self.send_response(404 if self.path == "/none" else 200)
        if self.path in {"/file", "/short"}:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    with serve(Handler) as address:
        yield address


def get(url, limit=1 << 20, progress=None, seconds=30):
    out = io.BytesIO()
    fetch(url, out, limit=limit, seconds=seconds, error=ModelError, progress=progress)
    return out.getvalue()


@pytest.mark.parametrize("path", ["/file", "/chunks", "/redirect"])
def test_content_arrives_whole(address, path):
    assert get(address + path) == CONTENT


def test_progress_is_told(address):
    seen = []
    get(address + "/file", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none", "404 Not Found"),
        ("/short", "1000 of 100000 bytes|broke off|IncompleteRead"),
        ("/to-file", "file:"),
    ],
)
def test_failures_name_the_address(address, path, said):
    with pytest.raises(ModelError, match=said) as error:
        get(address + path)
    assert address in str(error.value)


def test_too_much(address):
    with pytest.raises(ModelError, match="5000 bytes"):
        get(address + "/chunks", limit=5000)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "/etc/hostname", "http:/broken", "http://"]
)
def test_other_addresses_are_refused(url):
    with pytest.raises(ModelError):
        get(url)


def test_nobody_answers():
    with pytest.raises(ModelError, match="cannot be fetched"):
        get("http://127.0.0.1:9/a")


def test_a_server_that_drips_is_left(address):
    with pytest.raises(ModelError, match=r"not finished within 0\.5 s"):
        get(address + "/slow", seconds=0.5)
