"""The page of the service, in a headless Chromium."""

import json

import cv2
import pytest

from browser import set_screen, start_chromium, webdriver
from support import EXAMPLE, IN_BROWSER, wait_until

pytestmark = IN_BROWSER

RECORD_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push([event.violatedDirective, event.blockedURI]));
"""
# Puts a service into the browser that answers once with the given status, then passes on to the real one.
REFUSE_ONCE = """
const real = window.fetch, [status, headers, body] = arguments;
window.seen = [];
window.fetch = (path, options = {}) => {
  if (!String(path).startsWith("human-keypoint-detection")) return real(path, options);
  seen.push(options.headers?.Authorization ?? null);
  return seen.length > 1 ? real(path, options) : Promise.resolve(new Response(JSON.stringify(body), {status, headers}));
};
"""


class Browser:
    """Chromium with the page open."""

    def __init__(self, url, downloads):
        self.driver = start_chromium(**{"download.default_directory": str(downloads)})
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORD_VIOLATIONS})
        self.url = url
        self.downloads = downloads

    def open(self, width=1280, height=900, scheme="light"):
        set_screen(self.driver, width, height, scheme)
        self.driver.get(self.url)
        self.driver.execute_script("sessionStorage.clear()")
        wait_until(lambda: self.text("pipeline"), "/info")
        self.complaints()
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def element(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.element(name).text

    def show(self, path):
        self.element("file").send_keys(str(path))

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def wait_for_people(self):
        wait_until(lambda: "found" in self.text("status"), "people")

    def figures(self):
        """How many people are drawn."""
        return self.run("return document.querySelectorAll('#overlay .person:not([hidden])').length")

    def complaints(self):
        """Messages of the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def chromium(service, tmp_path_factory):
    browser = Browser(service.url, tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(chromium):
    page = chromium.open()
    yield page
    assert page.run("return violations") == []
    names = page.run("return performance.getEntries().map((entry) => entry.name)")
    addresses = [name for name in names if "://" in name and not name.startswith("blob:")]
    assert addresses
    assert all(name.startswith(page.url) for name in addresses), addresses


@pytest.fixture
def with_sample(page):
    page.element("sample").click()
    page.wait_for_people()
    return page


def test_sample_gives_two_people_and_their_skeletons(with_sample):
    page = with_sample
    assert page.text("count") == "2 people"
    assert page.text("status") == "2 people found."
    assert page.figures() == 2
    limbs, keypoints = page.run(
        "const all = (what) => document.querySelectorAll(`#overlay .person:not([hidden]) ${what}`).length;"
        "return [all('line.limb'), all('circle')]"
    )
    assert limbs == 2 * 16
    assert keypoints == 2 * 17
    # The left player's left knee is at (119, 374) of the image, by eye, and is drawn there on the screen.
    x, y = page.run(
        "const frame = document.querySelector('#frame').getBoundingClientRect();"
        "const dot = document.querySelectorAll('#overlay .person circle')[13].getBoundingClientRect();"
        "const scale = 640 / frame.width;"
        "return [(dot.x + dot.width / 2 - frame.x) * scale, (dot.y + dot.height / 2 - frame.y) * scale]"
    )
    assert abs(x - 119) < 12
    assert abs(y - 374) < 12
    assert page.run("return getComputedStyle(document.querySelector('.limb.left')).stroke") == "rgb(69, 184, 255)"
    assert page.run("return getComputedStyle(document.querySelector('.limb.right')).strokeDasharray") != "none"
    assert page.complaints() == []


def test_times_and_runtimes_are_shown(with_sample):
    stages = with_sample.text("stages")
    assert "Decode" in stages
    assert "Infer" in stages
    assert with_sample.text("total").endswith(" ms")
    models = with_sample.text("models")
    assert "PicoDet-S_person_416" in models
    assert "threads" in models


def test_the_slider_filters_people_also_in_the_download(with_sample):
    page = with_sample
    requests = "return performance.getEntriesByType('resource').length"
    before = page.run(requests)
    page.run("document.querySelector('#threshold').focus()")
    page.press("\ue010")  # End
    assert page.text("threshold-value") == "0.90"
    assert page.text("count") == "1 person"
    assert page.figures() == 1
    assert page.text("status") == "1 person found."
    page.press("\ue011")  # Home
    assert page.figures() > 2
    page.press("\ue010")
    assert page.run(requests) == before
    page.element("download").click()
    saved = page.downloads / "sample.json"
    wait_until(saved.exists, "download")
    (person,) = json.loads(saved.read_text())["result"]["persons"]
    assert set(person) == {"bbox", "kpts", "detScore", "kptScore"}
    assert person["detScore"] >= 0.9


def test_toggles_and_highlight(with_sample):
    page = with_sample
    shown = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    page.element("boxes").click()
    assert page.run(shown, ".box", "stroke") == "none"
    assert page.run(shown, ".keypoint-name", "display") == "none"
    page.element("names").click()
    assert page.run(shown, ".keypoint-name", "display") != "none"
    page.run("document.querySelectorAll('#people button')[1].focus()")
    assert page.run("return document.querySelectorAll('.person.active').length") == 1
    assert page.run("return document.querySelector('#scores caption').textContent") == "Keypoint scores of person 2"


def test_own_file_and_its_orientation(page, tmp_path):
    """The image is stored rotated, with an EXIF orientation that undoes it."""
    image = cv2.rotate(cv2.imread(str(EXAMPLE)), cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    turn = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(turn) + 2).to_bytes(2, "big") + turn + jpeg[2:]
    path = tmp_path / "own image.camera"  # a suffix whose type the browser does not know
    path.write_bytes(turned)
    page.show(path)
    page.wait_for_people()
    assert page.text("name") == "own image.camera · 640 × 480"
    assert page.text("count") == "2 people"
    assert page.complaints() == []


def test_text_file_is_refused_and_the_result_stays(with_sample, tmp_path):
    page = with_sample
    path = tmp_path / "notes.txt"
    path.write_text("not an image")
    page.show(path)
    wait_until(lambda: page.element("failure").is_displayed(), "error")
    assert "notes.txt: The browser cannot show this file" in page.text("message")
    assert page.figures() == 2
    assert page.text("count") == "2 people"
    assert page.text("name").startswith("sample.png")


def test_a_refused_image_is_reported_with_its_log_id(with_sample, tmp_path):
    """Browsers show SVG, but the service does not decode it."""
    page = with_sample
    path = tmp_path / "drawing.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'><circle r='9'/></svg>")
    page.show(path)
    wait_until(lambda: "Log ID" in page.text("message"), "error")
    assert page.text("message").startswith("drawing.svg: ")
    assert page.text("name").startswith("sample.png")
    assert page.figures() == 2


def test_markup_from_the_service_stays_text(page):
    page.run(REFUSE_ONCE, 500, {}, {"logId": "<b>7</b>", "errorCode": 500, "errorMsg": "<img src=x>"})
    page.element("sample").click()
    wait_until(lambda: "Log ID <b>7</b>" in page.text("message"), "error")
    assert "<img src=x>" in page.text("message")


def test_busy_service_can_be_tried_again(page):
    page.run(REFUSE_ONCE, 503, {"Retry-After": "2"}, {"logId": "1", "errorCode": 503, "errorMsg": "Busy"})
    page.element("sample").click()
    wait_until(lambda: "Busy (wait 2 s" in page.text("message"), "error")
    page.element("again").click()
    page.wait_for_people()
    assert not page.element("failure").is_displayed()


def test_token_is_requested_and_kept_for_the_session(page):
    page.run(REFUSE_ONCE, 401, {}, {"logId": "1", "errorCode": 401, "errorMsg": "A token is needed"})
    page.element("sample").click()
    wait_until(lambda: page.element("token").is_displayed(), "field for the token")
    page.press("s3cret", "\ue007")  # The field has the focus.
    page.wait_for_people()
    assert page.run("return seen") == [None, "Bearer s3cret"]
    assert page.run("return sessionStorage.getItem('token')") == "s3cret"
    assert page.run("return document.activeElement.id") == "choose"


def test_sample_with_the_keyboard_alone(page):
    page.press("\ue004")  # Tab
    assert page.run("return document.activeElement.id") == "drop"
    page.press("\ue004")
    assert page.run("return document.activeElement.id") == "sample"
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("\ue007")  # Enter
    page.wait_for_people()
    # The button is gone, the focus is not.
    assert page.run("return document.activeElement.id") == "choose"


def test_drop_and_paste(page):
    give = """
    const [kind, done] = arguments;
    fetch("page/sample.png").then((response) => response.blob()).then((blob) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([blob], kind + ".png", {type: "image/png"}));
      dispatchEvent(kind === "drop" ? new DragEvent("drop", {dataTransfer: transfer, cancelable: true})
                                    : new ClipboardEvent("paste", {clipboardData: transfer}));
      done();
    });
    """
    for kind in ("drop", "paste"):
        page.driver.execute_async_script(give, kind)
        wait_until(lambda kind=kind: page.text("name").startswith(kind), kind)
        page.wait_for_people()
        assert page.figures() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_screens(chromium, scheme):
    page = chromium.open(360, 740, scheme)
    # Not innerWidth: a mobile browser enlarges it for content that is too wide.
    width = "return document.documentElement.scrollWidth"
    assert page.run(width) == 360
    page.element("sample").click()
    page.wait_for_people()
    assert page.run(width) == 360
    beyond = page.run(
        "const beyond = (element) => element.getBoundingClientRect().right > 361;"
        "const all = [...document.querySelectorAll('main *:not(#overlay *)')];"
        "return all.filter(beyond).map((element) => element.outerHTML)"
    )
    assert beyond == []
    assert page.complaints() == []


def test_dark_mode(chromium):
    page = chromium.open(scheme="dark")
    page.element("sample").click()
    page.wait_for_people()
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 24)"
    assert page.complaints() == []


def test_the_documentation_shows_each_operation_and_sends_it_with_the_token(chromium, start_service):
    service = start_service("--token", "s3cret")
    metrics = "#operations-default-show_metrics_metrics_get"
    chromium.driver.get(f"{service.url}/docs")

    def all_of(selector):
        return chromium.driver.find_elements("css selector", selector)

    def press(selector):
        wait_until(lambda: all_of(selector), selector)
        all_of(selector)[0].click()

    def status():
        shown = all_of(f"{metrics} .live-responses-table tbody .response-col_status")
        return shown and shown[0].text.split()[0]

    wait_until(lambda: len(all_of(".opblock")) == 25, "operations")
    assert all_of(".opblock-post .opblock-summary-path")[0].text == "/human-keypoint-detection"
    press(".btn.authorize")
    wait_until(lambda: all_of(".modal-ux input"), "field for the token")
    all_of(".modal-ux input")[0].send_keys("s3cret")
    press(".modal-ux button[type=submit]")
    press(".modal-ux .btn-done")
    for button in (".opblock-summary-control", ".try-out__btn", ".execute"):
        press(f"{metrics} {button}")
    wait_until(status, "answer")
    assert status() == "200"
    assert chromium.run("return violations") == []
    assert chromium.complaints() == []
    names = chromium.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert any(name.endswith("/metrics") for name in names)
    assert all(name.startswith((service.url, "data:")) for name in names), names


def test_policy_forbids_everything_else(page):
    policy = page.driver.execute_async_script(
        "const done = arguments[0];fetch('.').then((response) => done(response.headers.get('Content-Security-Policy')))"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
