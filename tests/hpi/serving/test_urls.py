"""Images by URL: only from public addresses, however a private one is spelled or hidden."""

import asyncio
import contextlib
import functools
import http.server
import socket
import threading
import time

import pytest

from hpi.errors import InputError
from hpi.serving import urls
from hpi.serving.limits import Memory, Received, RequestError
from hpi.serving.urls import fetch_public, is_public

INNER = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::", "::127.0.0.1",
]  # fmt: skip
OUTER = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INNER)
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTER)
def test_internet_addresses_are_public(address):
    assert is_public(address)


def get(url, seconds=5):
    content = Received(1000, Memory(10_000))
    asyncio.run(fetch_public(url, content, seconds))
    return bytes(content.content)


class Page(http.server.BaseHTTPRequestHandler):
    """Answers ``secret``, redirects, trickles, or never ends."""

    def __init__(self, *arguments, to=None, seen):
        self.to = to
        self.seen = seen
        super().__init__(*arguments)

    def do_GET(self):
        self.seen.append(self.path)
        self.send_response(302 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if self.path == "/trickle":
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            elif self.path == "/endless":
                while True:
                    self.wfile.write(bytes(1 << 16))
            else:
                self.wfile.write(b"secret")

    def log_message(self, *_):
        pass


@pytest.fixture
def serve_on():
    """A function that serves on an address of this machine; returns the port and the requested paths."""
    servers = []

    def serve(address, to=None):
        seen = []
        server = http.server.ThreadingHTTPServer((address, 0), functools.partial(Page, to=to, seen=seen))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server.server_port, seen

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
        "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "user@127.0.0.1", "127.0.0.1%00.example",
    ],
)  # fmt: skip
def test_every_spelling_of_this_machine_is_refused(serve_on, host):
    port, seen = serve_on("127.0.0.1")
    with pytest.raises(InputError):
        get(f"http://{host}:{port}/secret")
    assert not seen


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "https://127.0.0.1/", "file:///etc/passwd",
        "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "dict://127.0.0.1/", "//127.0.0.1/", "http://", "http:///x",
        "http://[::1", "http://127.0.0.1:99999/",
    ],
)  # fmt: skip
def test_other_private_places_are_refused(url):
    with pytest.raises(InputError):
        get(url)


def test_a_name_of_this_machine_is_refused(serve_on, monkeypatch):
    port, seen = serve_on("127.0.0.1")
    answer = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(InputError, match=r"rebind\.example: not a public address"):
        get(f"http://rebind.example:{port}/")
    assert not seen


def test_a_name_is_resolved_once(serve_on, monkeypatch):
    """A name server cannot answer with a public address first and with a private one afterwards."""
    port, seen = serve_on("127.0.0.1")
    looked_up = []
    look_up = socket.getaddrinfo

    def counted(host, *arguments, **options):
        looked_up.append(host)
        return look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    monkeypatch.setattr(urls, "is_public", lambda _: True)
    assert get(f"http://rebind.example:{port}/people") == b"secret"
    assert (looked_up, seen) == (["rebind.example"], ["/people"])


def test_a_redirect_to_this_machine_is_refused(serve_on, monkeypatch):
    """The first server counts as public here: it is on another loopback address."""
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.2")
    inner_port, seen_inside = serve_on("127.0.0.1")
    port, seen = serve_on("127.0.0.2", to=f"http://127.0.0.1:{inner_port}/secret")
    with pytest.raises(InputError, match=r"127\.0\.0\.1: not a public address"):
        get(f"http://127.0.0.2:{port}/")
    assert (seen, seen_inside) == (["/"], [])


def test_no_proxy_is_used(serve_on, monkeypatch):
    monkeypatch.setattr(urls, "is_public", lambda _: True)
    port, seen = serve_on("127.0.0.1")
    proxy, seen_by_proxy = serve_on("127.0.0.1")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
    assert get(f"http://127.0.0.1:{port}/people") == b"secret"
    assert (seen, seen_by_proxy) == (["/people"], [])


@pytest.fixture
def all_public(monkeypatch):
    monkeypatch.setattr(urls, "is_public", lambda _: True)


def test_a_trickling_answer_times_out(serve_on, all_public):
    port, _ = serve_on("127.0.0.1")
    with pytest.raises(InputError, match=r"not fetched within 0\.5 s"):
        get(f"http://127.0.0.1:{port}/trickle", seconds=0.5)


@pytest.mark.parametrize("to", [None, "/endless"])
def test_an_endless_answer_is_cut_off(serve_on, all_public, to):
    """Also that of a redirect, whose content is not read."""
    port, _ = serve_on("127.0.0.1", to=to)
    with pytest.raises((RequestError, InputError), match=r"limit of .* MiB|redirects|not fetched"):
        get(f"http://127.0.0.1:{port}/endless")


def test_errors_of_a_server_are_reported(serve_on, all_public):
    port, seen = serve_on("127.0.0.1", to="/again")
    with pytest.raises(InputError, match="more than 5 redirects"):
        get(f"http://127.0.0.1:{port}/first")
    assert seen == ["/first", *["/again"] * 5]
    with pytest.raises(InputError, match="cannot be fetched"):
        get("http://127.0.0.1:9/")
