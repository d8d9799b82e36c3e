"""The site made of ``docs``: whole, without dead ends, without anything from elsewhere, and readable on a phone."""

import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from browser import requested, set_screen, start_chromium
from support import ROOT, in_browser, require, wait_until

pytestmark = [pytest.mark.full, pytest.mark.long]
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    require("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """Where a page leads, what it loads, and the places in it that others may lead to."""

    def __init__(self, page):
        super().__init__()
        self.leads, self.loads, self.ids = [], [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif (tag, name) in LOADED and dict(attrs).get("rel") not in ("canonical", "next", "prev", "edit"):
                self.loads.append(value)
            elif tag == "a" and name == "href":
                self.leads.append(value)


@pytest.fixture(scope="module")
def pages(site):
    found = {page: Links(page) for page in site.rglob("*.html") if "measured/files" not in page.as_posix()}
    del found[site / "404.html"]  # for a server: its links begin with the site's address
    assert len(found) > 25
    return found


@pytest.fixture(scope="module")
def chromium():
    driver = start_chromium()
    yield driver
    driver.quit()


def test_a_page_loads_nothing_from_elsewhere(pages):
    assert not {(page.name, url) for page, links in pages.items() for url in links.loads if urlsplit(url).netloc}
    own = {(page, url) for page, links in pages.items() for url in links.loads}
    assert not {(page.name, url) for page, url in own if not target(page, url).is_file()}


def target(page, url):
    """The file that a link within the site leads to."""
    path = unquote(urlsplit(url).path)
    return (page.parent / path).resolve() if path else page


def test_no_link_within_the_site_is_dead(pages):
    dead = []
    for page, links in pages.items():
        for url in links.leads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            file = target(page, url)
            anchors = pages[file].ids if file in pages else {""}
            if not file.is_file() or (parts.fragment and file in pages and unquote(parts.fragment) not in anchors):
                dead.append((page.name, url))
    assert not dead


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_the_screen_and_need_no_server(site, pages, chromium, width, scheme):
    set_screen(chromium, width, scheme=scheme)
    chromium.get_log("browser")
    chromium.get_log("performance")
    for page in pages:
        chromium.get(page.as_uri())
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width, page
        wait_until(lambda: shown_scheme(chromium) == {"light": "default", "dark": "slate"}[scheme], scheme)
    assert chromium.get_log("browser") == []
    asked = requested(chromium)
    assert {url for url in asked if not url.startswith(("file:", "data:", "blob:"))} == set()


def shown_scheme(chromium):
    return chromium.find_element("tag name", "body").get_attribute("data-md-color-scheme")


@in_browser
def test_search_works_without_a_server(site, chromium):
    set_screen(chromium)
    chromium.get((site / "index.html").as_uri())
    field = chromium.find_element("css selector", "[data-md-component=search-query]")
    chromium.execute_script("arguments[0].focus()", field)
    wait_until(field.is_displayed, "the field")
    field.send_keys("parity gate")
    wait_until(lambda: chromium.find_elements("css selector", ".md-search-result__item a"), "results")
