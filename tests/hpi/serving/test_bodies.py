"""Bodies other than plain JSON: compressed ones, forms, fields with typos."""

import base64
import contextlib
import gzip
import json
import re
import secrets
import zlib
from urllib.parse import urlsplit

import httpx
import pytest

from hpi.compat.paddlex.http_protocol import InferRequest
from hpi.serving.encoded import from_base64
from hpi.serving.fields import MAX_REMEMBERED, UnknownFields, validated
from hpi.serving.inflate import PIECE, decoder
from hpi.serving.limits import Memory, Received, RequestError

from odd_requests import BASE64, JPEG, PNG, Request, as_json, ask
from support import quick_first, wait_until

pytestmark = pytest.mark.long  # its slow cases run each night

MIB = 1 << 20


@pytest.fixture(scope="module")
def people(post):
    """The people of the plain request."""
    return post(content=JPEG, headers={"Content-Type": "image/jpeg"}).json()["result"]["persons"]


def problems(answer):
    """The errors that the service reports: message by field."""
    assert answer.status_code == 422, answer.text
    return {one["loc"]: one["msg"] for one in json.loads(answer.json()["errorMsg"])}


# Base64


@pytest.mark.parametrize("length", range(1, 12))
def test_every_variant_of_base64_gives_the_same_bytes(length, rng):
    data = b"\xfb\xff\xbf" + rng.bytes(length)  # + and / are among the letters
    plain, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    assert plain != safe
    for text in (plain, safe, plain.rstrip("="), safe.rstrip("="), "\r\n".join(plain), f"data:x/y;base64,{plain}"):
        assert from_base64(text).data == data


# Compression


def member(data):
    return gzip.compress(data)


def bare_deflate(data):
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@pytest.mark.full
@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(b"") + gzip.compress(data[100:])),
        ("gzip", lambda data: gzip.compress(data, compresslevel=0)),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("identity", lambda data: data),
        ("", lambda data: data),
    ],
)
@pytest.mark.parametrize("kind", quick_first(["application/json", "image/jpeg"], 1))
def test_compressed_bodies_are_read(post, people, coding, compress, kind):
    body = as_json() if kind == "application/json" else JPEG
    answer = post(content=compress(body), headers={"Content-Type": kind, "Content-Encoding": coding})
    assert answer.json()["result"]["persons"] == people


def test_decompressing_chunks_of_any_size_restores_the_body(rng):
    data = rng.bytes(3 * PIECE) + bytes(5 * PIECE + int(rng.integers(PIECE)))
    for compress, coding in ((gzip.compress, "gzip"), (zlib.compress, "deflate"), (bare_deflate, "deflate")):
        sent, stream, out = compress(data), decoder(coding), b""
        while sent:
            size = int(rng.integers(1, 1 << 17))
            pieces = list(stream.pieces(sent[:size]))
            assert max(map(len, pieces)) <= PIECE
            out, sent = out + b"".join(pieces), sent[size:]
        stream.finish()
        assert out == data


@pytest.mark.parametrize(
    ("coding", "body", "fragment"),
    [
        ("gzip", gzip.compress(as_json())[:-20], "its end is missing"),
        ("gzip", b"", "its end is missing"),
        ("gzip", as_json(), "incorrect header"),
        ("gzip", gzip.compress(as_json()) + b"more", "incorrect header"),
        ("gzip", gzip.compress(as_json())[:-8] + bytes(8), "incorrect data check"),
        ("deflate", zlib.compress(as_json())[:-1], "its end is missing"),
        ("deflate", b"\x78\x9c" + b"\xff" * 50, "invalid"),
    ],
)
def test_damaged_compression_is_a_422(post, coding, body, fragment):
    answer = post(content=body, headers={"Content-Type": "application/json", "Content-Encoding": coding})
    assert (answer.status_code, answer.json()["errorCode"]) == (422, 422)
    assert f"is not the {coding} that" in answer.json()["errorMsg"]
    assert fragment in answer.json()["errorMsg"]


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "klingon"])
def test_unknown_compression_is_named_and_supported_ones_listed(post, coding):
    answer = post(content=as_json(), headers={"Content-Type": "application/json", "Content-Encoding": coding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert coding in answer.json()["errorMsg"]


@pytest.mark.full
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bare_deflate])
def test_decompression_stops_at_the_body_limit(post, client, compress):
    """Zeros compress to a thousandth: twice the limit fits into a small body."""
    bomb = compress(bytes(64 * MIB))
    assert len(bomb) < MIB / 8
    coding = "gzip" if compress is gzip.compress else "deflate"
    for kind in ("application/json", "image/png", "multipart/form-data; boundary=x"):
        answer = post(content=bomb, headers={"Content-Type": kind, "Content-Encoding": coding})
        assert (answer.status_code, "32 MiB" in answer.json()["errorMsg"]) == (413, True)
    assert client.get("/health").status_code == 200


def test_decompressed_bytes_count_as_memory_at_once():
    memory = Memory(MIB)
    received = Received(64 * MIB, memory)
    with pytest.raises(RequestError, match="no memory is left"):
        for piece in decoder("gzip").pieces(gzip.compress(bytes(2 * MIB))):
            received.add(piece)
    assert len(received.content) <= MIB
    received.clear()
    memory.take(MIB)


@pytest.mark.full
def test_bodies_that_decompress_to_nothing_are_bounded_too(start_service):
    """Empty deflate blocks produce no output, however many there are."""
    service = start_service("--max_body_mb", "1")
    request = Request(b"\0\0\0\xff\xff" * MIB, headers={"Content-Encoding": "deflate"}, chunked=True)
    with contextlib.suppress(ConnectionError):  # the service closes it while the rest is still being sent
        ask(urlsplit(service.url).port, request)
    wait_until(lambda: "POST /human-keypoint-detection 413" in service.log.read_text(), "413 in the log")


def test_too_many_gzip_members_are_refused(post):
    answer = post(
        content=gzip.compress(b"") * 5000, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert (answer.status_code, "members" in answer.json()["errorMsg"]) == (422, True)


# Forms


@pytest.mark.full
@pytest.mark.parametrize(
    "form",
    [
        {"files": {"image": JPEG}},
        {"files": {"file": ("people.jpg", JPEG, "image/jpeg")}},
        {"files": {"image": ("\u4eba.jpg", JPEG)}},
        {"files": {"image": ("blob", PNG, "application/octet-stream")}},
        {"files": {"image": (None, JPEG)}},
        {"files": {"image": (None, JPEG, "image/jpeg")}},
        {"files": {"image": (None, BASE64)}},
        {"files": {"image": (None, f"data:image/jpeg;base64,{BASE64}")}},
        {"files": {"image": JPEG}, "data": {"detThreshold": "0.5", "visualize": "false"}},
        {"files": {"image": JPEG}, "data": {"user": "me", "note": "\u00e9"}},
        {"files": {"image": JPEG}, "params": {"detThreshold": "0.5"}},
    ],
)
def test_an_image_in_a_form(post, people, form):
    answer = post(**form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"] == {"persons": people}


def test_fields_of_a_form_have_effect(post, people):
    files = {"image": JPEG}
    assert post(files=files, data={"detThreshold": "1"}).json()["result"]["persons"] == []
    assert post(files=files, params={"detThreshold": "1"}).json()["result"]["persons"] == []
    answer = post(files=files, data={"visualize": "true"}).json()["result"]
    assert base64.b64decode(answer["image"]).startswith(b"\xff\xd8")
    assert answer["persons"] == people


def test_a_base64_part_is_decoded(post, people):
    body = (
        '--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Transfer-Encoding: base64'
        f"\r\n\r\n{BASE64}\r\n--x--\r\n"
    )
    answer = post(content=body.encode(), headers={"Content-Type": 'multipart/form-data; boundary="x"'})
    assert answer.json()["result"]["persons"] == people


FILE = ("a.jpg", JPEG)


@pytest.mark.parametrize(
    ("form", "place", "fragment"),
    [
        ({"files": {"note": (None, "x")}}, "body.image", "Give one image"),
        ({"files": {"picture": FILE}}, "body.image", "Give one image"),
        ({"files": [("image", FILE), ("image", FILE)]}, "body.image", "twice"),
        ({"files": [("image", FILE), ("file", FILE)]}, "body.image", "Give one image"),
        ({"files": [("image", FILE), ("image", (None, BASE64))]}, "body.image", "twice"),
        ({"files": {"images": FILE}}, "body.images", "did you mean 'image'"),
        ({"files": {"File": FILE}}, "body.File", "did you mean 'file'"),
        ({"files": {"image": FILE}, "data": {"det_threshold": "0.5"}}, "body.det_threshold", "'detThreshold'"),
        ({"files": {"image": FILE}, "data": {"detThreshold": "high"}}, "body.detThreshold", "valid number"),
        ({"files": {"image": FILE}, "data": {"detThreshold": "2"}}, "body.detThreshold", "less than or equal to 1"),
        ({"files": {"image": FILE}, "data": {"visualize": "perhaps"}}, "body.visualize", "valid boolean"),
        ({"files": {"image": FILE}, "data": {"visualize": ["1", "0"]}}, "body.visualize", "twice"),
        ({"files": {"image": FILE, "visualize": ("a", b"1")}}, "body.visualize", "as text"),
        ({"files": {"image": FILE}, "data": {"note": "x" * 2000}}, "body.note", "1024"),
        ({"files": [("image", FILE), *((f"n{i}", (None, "x")) for i in range(200))]}, "body", "at most 100"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "body.image", "Give one"),
        ({"content": JPEG, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "body", "Not a form"),
        ({"content": JPEG, "headers": {"Content-Type": "multipart/form-data"}}, "header.content-type", "boundary"),
        ({"content": b"--x\r\n\r\nno name\r\n--x--", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
         "body", "Not a form"),
        ({"content": b"--x\r\n" + b"A: b\r\n" * 1000, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
         "body", "header count"),
    ],
)  # fmt: skip
def test_errors_in_a_form_name_the_field(post, form, place, fragment):
    found = problems(post(**form))
    assert list(found) == [place]
    assert fragment in found[place]


def test_empty_files_and_non_images_are_refused(post):
    assert "empty" in post(files={"image": ("a.jpg", b"")}).json()["errorMsg"]
    assert "not an image" in post(files={"image": ("a.jpg", b"\xffhello")}).json()["errorMsg"]


def test_forms_have_the_same_size_limit(post):
    answer = post(files={"image": ("large.png", bytes(33 * MIB))})
    assert answer.status_code == 413


def test_a_truncated_form_is_refused(post, service):
    request = httpx.Request("POST", service.route, files={"image": FILE})
    content = request.read()
    for length in range(0, len(content) - 10, len(content) // 12):
        answer = post(content=content[:length], headers={"Content-Type": request.headers["content-type"]})
        assert answer.status_code == 422


# Fields


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("det_threshold", "detThreshold"),
        ("detThresh", "detThreshold"),
        ("DetThreshold", "detThreshold"),
        ("det-threshold", "detThreshold"),
        ("detTreshold", "detThreshold"),
        ("detThresholds", "detThreshold"),
        ("threshold", "detThreshold"),
        ("visualise", "visualize"),
        ("Visualize", "visualize"),
        ("vizualise", "visualize"),
    ],
)
def test_a_typo_in_a_field_is_an_error_with_a_suggestion(post, field, meant):
    fragment = f"Unknown field, did you mean {meant!r}?"
    image = {"content": JPEG, "headers": {"Content-Type": "image/jpeg"}}
    assert problems(post(json={"image": BASE64, field: 0.3})) == {f"body.{field}": fragment}
    assert problems(post(**image, params={field: "0.3"})) == {f"query.{field}": fragment}
    assert problems(post(files={"image": JPEG}, data={field: "0.3"})) == {f"body.{field}": fragment}


@pytest.mark.parametrize("field", ["Image", "images", "imgae", "IMAGE", "imag"])
def test_a_typo_in_image_is_an_error_too(post, field):
    assert problems(post(json={field: BASE64})) == {f"body.{field}": "Unknown field, did you mean 'image'?"}


def test_other_unknown_fields_are_ignored_and_logged_once(post, service, people):
    name = f"x{secrets.token_hex(4)}"
    forged = f"x{secrets.token_hex(4)}\n2030-01-01 INFO forged"
    before = service.log.read_text()
    for _ in range(3):
        fields = {name: {"any": [1]}, forged: 2, "image_id": 7, "visualize": False}
        answer = post(json={"image": BASE64, **fields}, params={name: 1})
        assert answer.json()["result"]["persons"] == people
    log = service.log.read_text()[len(before) :]
    assert len(re.findall(name, log.replace(f"?{name}", ""))) == 1
    assert f"unknown field '{name}' in its query" in log
    assert "\n2030-01-01 INFO forged" not in log


def test_unknown_fields_fill_neither_log_nor_memory(caplog):
    unknown = UnknownFields()
    for number in range(1000):
        unknown.check("body", [f"{number}{'y' * 100_000}"], ["image"])
    assert len(caplog.messages) == MAX_REMEMBERED
    assert max(map(len, caplog.messages)) < 200
    assert "no further names" in caplog.messages[-1]


def test_a_request_with_too_many_fields_is_refused(post):
    """Each would be compared with the known ones."""
    fields = {f"f{number}": 0 for number in range(200)}
    assert problems(post(json={"image": BASE64, **fields})) == {"body": "201 fields; at most 100 are accepted"}


def test_json_with_too_many_values_is_refused_unparsed(post):
    """Each would take many times its size once parsed."""
    content = b'{"image": "AAAA", "x": [' + b"[]," * 100_000 + b"0]}"
    answer = post(content=content, headers={"Content-Type": "application/json"})
    assert "commas" in problems(answer)["body"]


def test_the_query_has_effect_for_json_too(post, people):
    body = {"image": BASE64}
    assert "image" not in post(json=body, params={"visualize": "false"}).json()["result"]
    assert post(json=body, params={"detThreshold": "1"}).json()["result"]["persons"] == []
    answer = post(json={"image": BASE64, "detThreshold": None}, params={"detThreshold": "1", "visualize": "0"})
    assert answer.json()["result"]["persons"] == []
    assert (
        "too"
        in problems(post(json={**body, "detThreshold": 0.5}, params={"detThreshold": "0.6"}))["query.detThreshold"]
    )
    assert "twice" in problems(post(json=body, params={"visualize": ["1", "0"]}))["query.visualize"]


@pytest.mark.parametrize("image", ["\\ud800", "http://\\ud800/", "data:image/png;base64,\\ud800", "\U0001f600"])
def test_malformed_text_is_a_422(post, image):
    """An answer cannot repeat half a surrogate pair."""
    answer = post(content=f'{{"image": "{image}"}}'.encode(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errorCode"]) == (422, 422)


def test_half_a_surrogate_pair_is_refused_in_urls_too():
    with pytest.raises(RequestError, match="control characters"):
        validated(InferRequest, json.loads('{"image": "http://\\ud800/"}'), "body")


# Methods


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/info", "/openapi.json", "/page/page.js"])
def test_head_answers_the_headers_of_get(client, path):
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # its counters grow
        assert head.headers["content-length"] == get.headers["content-length"]


def test_unsupported_methods_list_the_supported_ones(client, service):
    assert set(client.delete("/health").headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert client.options("/health").status_code == 405
    assert client.get(service.route).headers["allow"] == "POST"
    assert client.head("/nothing").status_code == 404
