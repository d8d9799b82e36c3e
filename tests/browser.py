"""A headless Chromium."""

from __future__ import annotations

import json

import pytest

from support import CHROMEDRIVER, CHROMIUM

webdriver = pytest.importorskip("selenium.webdriver")


def start_chromium(*switches: str, **preferences: str) -> webdriver.Chrome:
    """Start it; it keeps what the console and the network say. Call ``quit`` at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *switches):
        options.add_argument(argument)
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))


def set_screen(driver: webdriver.Chrome, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    """Set the size in pixels, a phone's below 500, and the colours that the reader prefers, light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def requested(driver: webdriver.Chrome) -> set[str]:
    """The addresses that were asked for since the log was read last."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
