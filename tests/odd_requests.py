"""Requests in every form in which some client might send them, for PaddleX's server and for this one.

``python tests/odd_requests.py PORT`` asks the server on that port of 127.0.0.1 and prints its answers, as they are kept
in ``tests/hpi/serving/paddlex_answers.json``. Those are of PaddleX 3.7.2 with FastAPI 0.165.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import socket
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROUTE = "/human-keypoint-detection"


def _small_jpeg() -> bytes:
    image = cv2.imread(str(Path(__file__).parent.parent / "examples" / "basketball.png"))
    return bytes(cv2.imencode(".jpg", cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA))[1])


JPEG = _small_jpeg()
"""An image with two people whose base64 has every letter of the alphabet."""
PNG = bytes(cv2.imencode(".png", cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR))[1])
BASE64 = base64.b64encode(JPEG).decode()
UNPADDED = base64.b64encode(JPEG + bytes(-len(JPEG) % 3 + 1)).decode()  # two padding characters


@dataclass
class Request:
    """An HTTP request; ``content_type`` None: without that header."""

    body: bytes = b""
    content_type: str | None = "application/json"
    method: str = "POST"
    path: str = ROUTE
    headers: dict[str, str] = field(default_factory=dict)
    version: str = "1.1"
    chunked: bool = False

    def bytes(self) -> tuple[bytes, bytes]:
        """Head and body, as they go over the wire."""
        headers = {"Host": "service", "Connection": "close", **self.headers}
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif self.method == "POST":
            headers["Content-Length"] = str(len(self.body))
        lines = [
            f"{self.method} {self.path} HTTP/{self.version}",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), _chunks(self.body) if self.chunked else self.body


def _chunks(body: bytes) -> bytes:
    pieces = [body[start : start + 5000] for start in range(0, len(body), 5000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@dataclass
class Answer:
    """An HTTP answer; ``content`` is what its JSON says, or None."""

    status: int
    headers: dict[str, str]
    content: Any


def ask(port: int, request: Request) -> Answer:
    """Send a request to a server on 127.0.0.1, and read all of the answer."""
    head, body = request.bytes()
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        connection.sendall(head)
        received = connection.recv(1 << 16) if "Expect" in request.headers else b""
        connection.sendall(body)
        while chunk := connection.recv(1 << 16):
            received += chunk
    if received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    is_json = headers.get("content-type", "").startswith("application/json") and body
    return Answer(int(status.split()[1]), headers, json.loads(body) if is_json else None)


def as_json(image: Any = BASE64, **fields: Any) -> bytes:
    """A request's JSON; without a picture, unless the fields say so."""
    return json.dumps({"image": image, "visualize": False, **fields}).encode()


def _json_with(more: bytes) -> bytes:
    return as_json()[:-1] + b", " + more + b"}"


def _with_type(content_type: str | None) -> Request:
    return Request(as_json(), content_type)


IMAGES = {
    "plain": BASE64,
    "PNG": base64.b64encode(PNG).decode(),
    "lines of 76": "\n".join(textwrap.wrap(BASE64, 76)) + "\n",
    "lines of 64, CRLF": "\r\n".join(textwrap.wrap(BASE64, 64)) + "\r\n",
    "spaces": f" {BASE64[:100]} \t{BASE64[100:]} ",
    "URL-safe": base64.urlsafe_b64encode(JPEG).decode(),
    "URL-safe, lines": "\n".join(textwrap.wrap(base64.urlsafe_b64encode(JPEG).decode(), 76)),
    "no padding": UNPADDED.rstrip("="),
    "half the padding": UNPADDED[:-1],
    "more padding": UNPADDED + "==",
    "text after the padding": UNPADDED + "AAAA",
    "a letter too many": BASE64.rstrip("=")[: len(BASE64) // 4 * 4 - 4] + "A",
    "punctuation inside": BASE64[:200] + "!*%$#" + BASE64[200:],
    "in quotes": f'"{BASE64}"',
    "as Python prints bytes": str(BASE64.encode()),
    "NUL inside": BASE64[:40] + "\0" + BASE64[40:],
    "not ASCII": BASE64 + "\u00e9",
    "byte order mark": "\ufeff" + BASE64,
    "percent-encoded": BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "data URL": "data:image/jpeg;base64," + BASE64,
    "data URL, PNG": "data:image/png;base64," + base64.b64encode(PNG).decode(),
    "data URL, upper case": "DATA:IMAGE/JPEG;BASE64," + BASE64,
    "data URL, parameter": "data:image/jpeg;name=a.jpg;base64," + BASE64,
    "data URL, no type": "data:;base64," + BASE64,
    "data URL, lines": " data:image/jpeg;base64," + "\n".join(textwrap.wrap(BASE64, 76)),
    "data URL, no padding": "data:image/jpeg;base64," + UNPADDED.rstrip("="),
    "data URL, not base64": "data:image/jpeg,%FF%D8",
    "empty": "",
    "space": " ",
    "padding alone": "=",
    "one letter": "A",
    "no image": "AAAA",
    "words": "not base64",
    "file name": "people.jpg",
    "path": "/home/me/people.jpg",
    "file URL": "file:///etc/passwd",
    "ftp URL": "ftp://example.org/people.jpg",
    "URL that nobody answers": "http://127.0.0.1:9/people.jpg",
    "URL without a host": "http://",
    "null": None,
    "number": 1,
    "list": [BASE64],
    "dictionary": {"base64": BASE64},
    "truth": True,
    "garbage after the image": base64.b64encode(JPEG + b"garbage" * 100).decode(),
}
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
BODIES = {
    "UTF-8 with a byte order mark": codecs.BOM_UTF8 + as_json(),
    **{encoding: as_json().decode().encode(encoding) for encoding in ENCODINGS},
    "Latin-1": _json_with('"note": "\u00e9"'.encode("latin-1")),
    "white space around": b" \r\n\t" + as_json() + b"\n\n",
    "text behind": as_json() + b"x",
    "key twice": b'{"image": "x", ' + as_json()[1:],
    "comment": b"/* */" + as_json(),
    "single quotes": as_json().replace(b'"', b"'"),
    "line break inside a string": b'{"image": "' + BASE64[:76].encode() + b"\n" + BASE64[76:].encode() + b'"}',
    "half a surrogate pair": _json_with(b'"note": "\\ud800"'),
    "half a surrogate pair in UTF-8": _json_with(b'"note": "\xed\xa0\x80"'),
    "broken UTF-8": _json_with(b'"note": "\xff"'),
    "number of 400 digits": _json_with(b'"note": ' + b"9" * 400),
    "number of 5000 digits": _json_with(b'"note": ' + b"9" * 5000),
    "500 lists deep": _json_with(b'"note": ' + b"[" * 500 + b"]" * 500),
    "NaN elsewhere": _json_with(b'"note": NaN'),
    "list": b"[" + as_json() + b"]",
    "string": json.dumps(BASE64).encode(),
    "encoded twice": json.dumps(as_json().decode()).encode(),
    "null": b"null",
    "broken off": b"{",
    "empty": b"",
    "no image": b'{"visualize": false}',
    "Image": json.dumps({"Image": BASE64}).encode(),
    "other fields": as_json(user="me", fileType=1, logId="mine", options={"a": [1, 2]}),
}
TYPES = (
    None, "", "application/JSON", "application/json;", "application/json; charset=utf-8",
    "application/json; charset=utf-16", "application/json; charset=klingon", "application/vnd.api+json",
    "application/problem+json; charset=utf-8", "APPLICATION/LD+JSON", "text/json", "application/x-json", "text/plain",
    "text/plain;charset=UTF-8", "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=UTF-8", "application/octet-stream", "*/*", "multipart/form-data",
    "multipart/mixed", "text/html", "image/jpeg", "foo/bar",
)  # fmt: skip
THRESHOLDS = (
    None, True, False, 0, 1, 0.3, "0.3", " 0.3 ", "1e-1", "high", "", 2, -1, [0.3], {"a": 1}, "NaN", "inf",
    float("nan"), float("-inf"), 10**400, "true", 1e308, "0x1",
)  # fmt: skip
PICTURES = (
    None, True, False, 0, 1, 2, 0.0, 1.0, 0.5, "true", "True", "TRUE", "yes", "on", "off", "n", "t", "1", "0", "2", "",
    "x", " true", "null", [True], {},
)  # fmt: skip

REQUESTS: dict[str, Request] = {
    "without visualize": Request(json.dumps({"image": BASE64}).encode()),
    **{f"image: {name}": Request(as_json(image)) for name, image in IMAGES.items()},
    **{f"JSON: {name}": Request(body) for name, body in BODIES.items()},
    **{f"Content-Type: {name}": _with_type(name) for name in TYPES},
    **{f"detThreshold: {value!r}"[:40]: Request(as_json(detThreshold=value)) for value in THRESHOLDS},
    **{f"visualize: {value!r}": Request(as_json(visualize=value)) for value in PICTURES},
    "query of other fields": Request(as_json(), path=f"{ROUTE}?user=me&v=2"),
    "form of one field": Request(b"image=AAAA", "application/x-www-form-urlencoded"),
    "image as the body": Request(JPEG, "image/jpeg"),
    "chunked": Request(as_json(), chunked=True),
    "HTTP/1.0": Request(as_json(), version="1.0"),
    "Expect: 100-continue": Request(as_json(), headers={"Expect": "100-continue"}),
    "gzip": Request(gzip.compress(as_json()), headers={"Content-Encoding": "gzip"}),
    "Content-Encoding: identity": Request(as_json(), headers={"Content-Encoding": "identity"}),
    "Content-Encoding: br, but plain": Request(as_json(), headers={"Content-Encoding": "br"}),
    "Accept: text/html": Request(as_json(), headers={"Accept": "text/html"}),
    "Accept-Encoding: gzip": Request(as_json(), headers={"Accept-Encoding": "gzip"}),
    "escaped path": Request(as_json(), path=ROUTE.replace("-", "%2D")),
    "path with a slash behind": Request(as_json(), path=f"{ROUTE}/"),
    "path with two slashes before": Request(as_json(), path=f"/{ROUTE}"),
    "path in upper case": Request(as_json(), path=ROUTE.upper()),
    **{
        f"{method} the route": Request(method=method, content_type=None) for method in ("GET", "HEAD", "OPTIONS", "PUT")
    },
    **{
        f"{method} health": Request(method=method, content_type=None, path="/health")
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")
    },
    "GET health with a slash behind": Request(method="GET", content_type=None, path="/health/"),
    "GET nothing": Request(method="GET", content_type=None, path="/nothing"),
}  # fmt: skip


def summary(answer: Answer) -> str:
    """What of an answer is kept: its status, its fields in their order, and those of its result."""
    content = answer.content or {}
    return f"{answer.status} {','.join(content)} {','.join(content.get('result', {}))}".strip()


if __name__ == "__main__":
    port = int(sys.argv[1])
    print(json.dumps({name: summary(ask(port, request)) for name, request in REQUESTS.items()}, indent=0))
