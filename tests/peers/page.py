"""Opens the page of `fieldfit serve` in headless Chromium, uses it as a person does, and reads its metrics as Prometheus does.

    python tests/peers/page.py URL [SCREENSHOTS]

URL is what `cargo run -p fieldfit-serve --example sample_page -- FOLDER` prints. Needs selenium, prometheus-client and Debian's
chromium-driver.
"""

import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE = 60


def browser(width: int, dark: bool) -> webdriver.Chrome:
    """A browser window of that width."""
    options = webdriver.ChromeOptions()
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},1600", *quiet]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    # A window is no narrower than some 500 px; a device's screen is.
    screen = {"width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    return opened


def shows(page: webdriver.Chrome, element: str, text: str) -> None:
    """Waits until an element shows a text."""
    waiting = WebDriverWait(page, PATIENCE)
    waiting.until(lambda page: text in page.find_element(By.ID, element).text, f"{element} does not show {text!r}")


def check_use(page: webdriver.Chrome, url: str) -> None:
    """Opens, rolls back by keyboard alone, activates, pauses."""
    page.get(url)
    shows(page, "active", "version 4")
    shows(page, "runtimes", "a second")
    shows(page, "adaptation", "training loss")
    shows(page, "collection", "mud")
    assert "token" not in page.current_url, "the token stays in the address"
    loaded = "return [...document.images].filter(image => image.naturalWidth > 0).length"
    WebDriverWait(page, PATIENCE).until(lambda page: page.execute_script(loaded) > 0, "no image is shown")

    page.find_element(By.ID, "rollback").send_keys(Keys.ENTER)
    WebDriverWait(page, PATIENCE).until(lambda page: page.find_element(By.ID, "yes").is_displayed())
    page.find_element(By.ID, "yes").send_keys(Keys.ENTER)
    shows(page, "active", "version 3")
    shows(page, "history", "version 3")

    page.find_element(By.CSS_SELECTOR, "[aria-label='Activate version 2']").click()
    page.find_element(By.CSS_SELECTOR, "#dialog [value=no]").click()
    shows(page, "active", "version 3")
    page.find_element(By.CSS_SELECTOR, "[aria-label='Activate version 2']").click()
    page.find_element(By.ID, "yes").click()
    shows(page, "active", "version 2")

    page.find_element(By.ID, "pause").click()
    shows(page, "adaptation", "paused")
    page.find_element(By.ID, "resume").click()
    WebDriverWait(page, PATIENCE).until(lambda page: "paused" not in page.find_element(By.ID, "adaptation").text)
    errors = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors


def check_layout(page: webdriver.Chrome, width: int) -> None:
    """Nothing is wider than the screen, and what is pressed is large enough for a finger."""
    actual = page.execute_script("return document.documentElement.scrollWidth")
    assert actual <= width, f"{actual} px wide on a screen of {width} px"
    heights = "return [...document.querySelectorAll('#page button')].map(button => button.getBoundingClientRect().height)"
    assert min(page.execute_script(heights)) >= 40, "a button is too small"


def check_metrics(url: str) -> None:
    """The metrics are what Prometheus reads."""
    parts = urlsplit(url)
    request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/metrics")
    request.add_header("Authorization", f"Bearer {parts.fragment.removeprefix('token=')}")
    text = urllib.request.urlopen(request).read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["fieldfit_frames"].samples[0].value > 0
    assert {"fieldfit_infer_seconds", "fieldfit_collected_images", "fieldfit_adaptation_loss"} <= families.keys()


def main() -> None:
    url = sys.argv[1]
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for width, dark in [(1200, False), (390, True)]:
        page = browser(width, dark)
        try:
            if not dark:
                check_use(page, url)
            page.get(url)
            shows(page, "adaptation", "training loss")
            shows(page, "collection", "mud")
            check_layout(page, width)
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                page.save_screenshot(str(pictures / f"page-{width}.png"))
        finally:
            page.quit()
    check_metrics(url)
    print("page: used by mouse and keyboard, fits 1200 and 390 px, metrics read")


if __name__ == "__main__":
    main()
