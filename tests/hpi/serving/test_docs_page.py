"""/docs is served whole: nothing of it comes from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

PAGES = ("/", "/docs")
KINDS = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}


class References(HTMLParser):
    """What a page refers to, other than what it holds itself (``data:``)."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        named = [value for name, value in attrs if name in {"src", "href"}]
        self.found += [value for value in named if not value.startswith(("data:", "#"))]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_all_that_it_refers_to_come_from_the_service_without_a_token(strict, path):
    page = httpx.get(strict.url + path)
    assert page.status_code == 200
    references = References(page.text).found
    assert references
    assert not any(reference.startswith("/") for reference in references)  # a proxy may put the service into a folder
    for reference in references:
        address = urljoin(strict.url + path, reference)
        assert address.startswith(f"{strict.url}/")
        answer = httpx.get(address)
        assert answer.status_code == 200, address
        assert answer.content
        suffix = PurePosixPath(urlsplit(address).path).suffix
        assert answer.headers["content-type"].startswith(KINDS.get(suffix, ""))
        if suffix == ".css":
            loaded = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", answer.text)
            assert all(target.startswith(("data:", "#")) for target in loaded)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_allowed_nothing_from_elsewhere(strict, path):
    headers = httpx.get(strict.url + path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert httpx.head(strict.url + path).status_code == 200


def test_no_other_viewer_is_served(strict):
    assert httpx.get(f"{strict.url}/redoc").status_code == 404


def test_the_token_is_documented_where_it_is_needed(strict, service):
    paths = httpx.get(f"{strict.url}/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            refused = httpx.request(method.upper(), strict.url + path).status_code == 401
            assert ("security" in operation) == refused, (method, path)
    assert "security" not in httpx.get(f"{service.url}/openapi.json").text
