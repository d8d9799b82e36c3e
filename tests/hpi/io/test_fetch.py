import http.server
import io
import time
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi.errors import ModelError
from hpi.io.fetch import ascii_url, fetch, is_url, shown, url_path

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
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header(
                "Location", f"http://you:again@{self.headers['Host'].replace('127.0.0.1', 'localhost')}/seen"
            )
            self.end_headers()
            return
        if urlsplit(self.path).path in {"/seen", "/%D1%84%20a%25/%C3%BC.png"}:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{self.path} {self.headers['Authorization']}".encode())
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


def get(url, limit=1 << 20, on_progress=None, seconds=30):
    out = io.BytesIO()
    fetch(url, out, limit=limit, seconds=seconds, error=ModelError, on_progress=on_progress)
    return out.getvalue()


@pytest.mark.parametrize("path", ["/file", "/chunks", "/redirect"])
def test_content_arrives_whole(address, path):
    assert get(address + path) == CONTENT


def test_progress_is_reported(address):
    seen = []
    get(address + "/file", on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("/none", "404 Not Found"),
        ("/short", "1000 of 100000 bytes|the connection ended|IncompleteRead"),
        ("/to-file", "file:"),
    ],
)
def test_failures_name_the_address(address, path, fragment):
    with pytest.raises(ModelError, match=fragment) as error:
        get(address + path)
    assert address in str(error.value)


def test_a_too_large_answer_is_refused(address):
    with pytest.raises(ModelError, match="5000 bytes"):
        get(address + "/chunks", limit=5000)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "/etc/hostname", "http:/broken", "http://"]
)
def test_other_addresses_are_refused(url):
    with pytest.raises(ModelError):
        get(url)


def test_a_closed_port_is_an_error():
    with pytest.raises(ModelError, match="cannot be fetched"):
        get("http://127.0.0.1:9/a")


def test_a_trickling_server_times_out(address):
    with pytest.raises(ModelError, match=r"not finished within 0\.5 s"):
        get(address + "/slow", seconds=0.5)


# Other alphabets


@pytest.mark.parametrize("path", ["/ф a%/ü.png", "/%D1%84%20a%25/%C3%BC.png", "/ф%20a%25/ü.png#part"])
def test_letters_of_any_alphabet_are_escaped_once(address, path):
    assert get(address + path + ("" if "#" in path else "?q=ü&r=%41")).decode().startswith("/%D1%84%20a%25/%C3%BC.png")


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("http://bücher.example:8080/a b", "http://xn--bcher-kva.example:8080/a%20b"),
        ("http://例え.jp/猫.jpg?犬=1", "http://xn--r8jz45g.jp/%E7%8C%AB.jpg?%E7%8A%AC=1"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),
        ("http://[::1]:80/a@2x.png", "http://[::1]:80/a@2x.png"),
        ("http://example.org/a;b=c,(d)/%2f?x[]=1&y=%zz", "http://example.org/a;b=c,(d)/%2f?x[]=1&y=%25zz"),
    ],
)
def test_ascii_url_escapes_what_is_sent(url, wire):
    assert ascii_url(url) == wire
    assert ascii_url(wire) == wire


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a:port/", "http://me:pa/ss@a/", "http://ü..a/", "http://a/b\nc"]
)
def test_malformed_urls_are_refused(url):
    with pytest.raises(ModelError, match=r"not a valid URL|control characters") as error:
        get(url)
    assert "pa/ss" not in str(error.value)


@pytest.mark.full
@given(st.text().map("http://".__add__) | st.text().map("https://a/".__add__))
def test_any_text_is_a_url_or_refused(text):
    try:
        assert ascii_url(text).isascii()
    except ValueError as error:
        assert str(error) in {"not a valid URL", "a URL cannot have control characters"}
    assert is_url(shown(text))
    url_path(text)


# Secrets


def test_user_and_password_are_not_sent_to_redirects(address):
    login = address.replace("//", "//me:s%20cret@")
    assert get(login + "/seen").decode() == "/seen Basic bWU6cyBjcmV0"
    assert get(login + "/elsewhere").decode() == "/seen None"
    assert get(address + "/seen").decode() == "/seen None"


@pytest.mark.parametrize("path", ["/none", "/short", "/slow", "/to-file", ":bad/", "/chunks"])
def test_errors_do_not_repeat_secrets(address, path):
    url = address.replace("//", "//me:s3cret@") + path + "?token=t0k3n&size=2"
    with pytest.raises(ModelError) as error:
        get(url, limit=1000, seconds=0.3)
    causes = [error.value, error.value.__cause__, error.value.__context__]
    for text in map(str, filter(None, causes)):
        assert "s3cret" not in text
        assert "t0k3n" not in text


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://me@a/b", "http://a/b"),
        ("HTTPS://me:p@ss:w0rd@a/b@2x.png", "HTTPS://a/b@2x.png"),
        ("http://me:pa/ss?w#rd@a/b", "http://a/b"),
        ("http://a:8080/@me/b@2x.png", "http://a:8080/@me/b@2x.png"),
        (
            "http://a/b?id=3&sig=x%3D&X-Amz-Credential=y;api_key=z#frag",
            "http://a/b?id=3&sig=***&X-Amz-Credential=***;api_key=***#frag",
        ),
        ("http://a/b#access_token=x", "http://a/b#access_token=***"),
        ("http://a/keys/b?keypoints=17&signal=1", "http://a/keys/b?keypoints=17&signal=1"),
    ],
)
def test_shown_hides_secrets(url, seen):
    assert shown(url) == seen
