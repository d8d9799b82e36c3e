"""The camera on the page of the service, in a headless Chromium with its fake camera."""

import cv2
import numpy as np
import pytest

from browser import set_screen, start_chromium
from support import EXAMPLE, IN_BROWSER, wait_until

pytestmark = IN_BROWSER

ALLOW, FAKE = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
# The example is grey, so what has a colour was drawn. Gives the share of such pixels, and their hues.
COLORS = """
const canvas = document.querySelector("#camera-picture");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const hues = new Set();
let colored = 0;
for (let at = 0; at < data.length; at += 4) {
  const [red, green, blue] = data.slice(at, at + 3), most = Math.max(red, green, blue);
  if (most - Math.min(red, green, blue) < 90) continue;
  colored++;
  const [a, b] = most === red ? [green - blue, 0] : most === green ? [blue - red, 2] : [red - green, 4];
  hues.add(Math.round(3 * (((b + a / (most - Math.min(red, green, blue))) + 6) % 6)));
}
return [colored / (data.length / 4), hues.size];
"""
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets.push(this);
  }
};
"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """What the camera sees: the example, swaying."""
    image = cv2.imread(str(EXAMPLE))
    path = tmp_path_factory.mktemp("camera") / "sway.mjpeg"
    shifts = np.round(20 * np.sin(np.linspace(0, 2 * np.pi, 40))).astype(int)
    path.write_bytes(b"".join(cv2.imencode(".jpg", np.roll(image, shift, axis=1))[1].tobytes() for shift in shifts))
    return f"--use-file-for-fake-video-capture={path}"


class Page:
    def __init__(self, *switches):
        self.driver = start_chromium(*switches)
        self.element = lambda name: self.driver.find_element("id", name)
        self.text = lambda name: self.element(name).text
        self.run = self.driver.execute_script

    def open(self, url, width=1280, height=900, scheme="light"):
        set_screen(self.driver, width, height, scheme)
        self.driver.get(url)
        wait_until(lambda: self.text("pipeline"), "/info")
        self.complaints()
        return self

    def wait_for_people(self):
        wait_until(lambda: self.text("status") == "The camera is on. 2 people.", "people")

    def message(self):
        wait_until(lambda: self.text("message"), "an error")
        return self.text("message")

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def with_camera(camera):
    page = Page(ALLOW, FAKE, camera)
    yield page
    page.driver.quit()


@pytest.fixture
def page(with_camera, service):
    return with_camera.open(service.url)


@pytest.fixture
def browse():
    """A function that starts a browser with these switches."""
    started = []

    def start(*switches):
        started.append(Page(*switches))
        return started[-1]

    yield start
    for page in started:
        page.driver.quit()


def test_people_are_drawn_on_the_camera_and_it_can_be_stopped(page):
    page.element("camera").click()
    assert page.run("return document.activeElement.id") == "stop"
    page.wait_for_people()
    drawn, hues = page.run(COLORS)
    assert 0.005 < drawn < 0.1
    assert hues == 2
    assert float(page.text("rate")) > 0
    assert page.text("latency").endswith(" ms")
    assert page.text("in-service").endswith(" ms")
    assert page.run("return ['width', 'height'].map((side) => document.querySelector('canvas')[side])") == [640, 480]
    assert not page.element("welcome").is_displayed()
    page.element("stop").click()
    wait_until(lambda: page.element("welcome").is_displayed(), "the start")
    assert page.run("return document.activeElement.id") == "camera"
    assert not page.element("live").is_displayed()
    assert page.text("status") == ""
    assert page.complaints() == []


def test_an_image_takes_the_place_of_the_camera_and_gives_it_back(page, service):
    page.element("camera").click()
    page.wait_for_people()
    page.element("file").send_keys(str(EXAMPLE))
    wait_until(lambda: page.text("status") == "2 people found.", "people of the image")
    assert not page.element("live").is_displayed()
    page.element("camera-again").click()
    page.wait_for_people()
    assert not page.element("result").is_displayed()
    page.element("stop").click()
    wait_until(lambda: page.element("result").is_displayed(), "the image")
    assert page.run("return document.activeElement.id") == "camera-again"
    assert page.text("status") == "2 people found."


def test_a_lost_connection_is_opened_again(page):
    page.run(KEEP_SOCKETS)
    page.element("camera").click()
    page.wait_for_people()
    page.run(
        "new MutationObserver(() => { window.shown ??= document.querySelector('#status').textContent; })"
        ".observe(document.querySelector('#status'), {childList: true}); sockets[0].close()"
    )
    wait_until(lambda: page.run("return sockets.length") == 2, "another connection")
    assert page.run("return shown") == "The connection was lost. Trying again …"
    page.wait_for_people()
    assert page.run("return document.querySelector('.stale')") is None
    page.element("stop").click()
    wait_until(lambda: page.run("return sockets[1].readyState === WebSocket.CLOSED"), "it is closed")
    assert not page.element("failure").is_displayed()


def test_the_token_is_asked_for(with_camera, start_service):
    page = with_camera.open(start_service("--token", "s3cret/?").url)
    page.element("camera").click()
    wait_until(lambda: page.element("token").is_displayed(), "field for the token")
    page.element("token").send_keys("s3cret/?", "\ue007")
    page.wait_for_people()


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        (["--deny-permission-prompts", FAKE], "The browser may not use the camera."),
        ([ALLOW], "No camera was found."),
    ],
)
def test_why_there_is_no_camera(browse, service, switches, message):
    page = browse(*switches).open(service.url)
    page.element("camera").click()
    assert page.message().startswith(message)
    assert page.element("again").is_displayed()
    assert page.element("welcome").is_displayed()


def test_a_page_of_plain_http_says_what_it_needs(browse, service):
    address = service.url.replace("127.0.0.1", "page.test")
    page = browse("--host-resolver-rules=MAP page.test 127.0.0.1", ALLOW).open(address)
    page.element("camera").click()
    assert page.message() == "Browsers give the camera to pages of https or localhost only."
    assert not page.element("again").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_screens(with_camera, service, scheme):
    page = with_camera.open(service.url, 360, 740, scheme)
    page.element("camera").click()
    page.wait_for_people()
    assert page.run("return document.documentElement.scrollWidth") == 360
    assert page.complaints() == []
