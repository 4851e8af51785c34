"""The page in a real browser, as a person uses it: drop an image, read the answer, watch the chart, look at versions."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.bundle.texts import text_bundle
from tests.conftest import CHROMIUM
from tests.serving.running import command, running

from bedplate.bundle import Bundle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DROP = """([selector, data]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], "digit.png", {type: "image/png"}));
  document.querySelector(selector).dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1100, "height": 1100})
        page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
        yield page
        browser.close()


def test_a_dropped_image_is_answered(server: str, page: Page, png: bytes, image_box: Bundle) -> None:
    page.goto(f"{server}/#small")
    expect(page.locator("h1")).to_have_text("small")
    page.evaluate(DROP, [".drop", base64.b64encode(png).decode()])
    expect(page.locator("p.answer")).to_have_text(image_box.predict([png])[0]["answer"])
    expect(page.locator(".drop img")).to_be_visible()
    page.evaluate(DROP, [".drop", base64.b64encode(b"no image").decode()])
    expect(page.locator("#answer p.error")).to_contain_text("image")


def test_a_row_is_filled_in_and_asked_about(server: str, page: Page, table_box: Bundle) -> None:
    page.goto(f"{server}/#prices")
    expect(page.locator("h1")).to_have_text("prices")
    page.get_by_role("button", name="Ask", exact=True).click()
    first = page.locator("p.answer").text_content()
    expect(page.locator("p.answer")).not_to_have_class(re.compile("none"))
    page.get_by_role("button", name="Another example").click()
    expect(page.locator("p.answer")).not_to_have_text(first or "")


def test_the_chart_moves_with_the_load(server: str, page: Page, png: bytes, tmp_path: Path) -> None:
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server) as client:
            while not stop.is_set():
                client.post("/predict/small", content=png)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        page.goto(f"{server}/#small")
        chart = page.locator("#charts svg").first
        expect(chart).to_have_attribute("aria-label", re.compile(r"requests [1-9][\d.]* a second"), timeout=10_000)
        expect(page.locator("#charts svg").nth(1)).to_have_attribute(
            "aria-label", re.compile(r"p50 [\d.]+ ms · p99 [\d.]+ ms")
        )
        expect(page.locator("#charts path.requests")).to_have_attribute("d", re.compile(r"M.*L"), timeout=10_000)
        before = page.locator("#figures").text_content() or ""
        expect(page.locator("#figures")).not_to_have_text(before, timeout=5000)
        assert "requests so far" in before
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert (tmp_path / "page.png").stat().st_size > 20_000
    finally:
        stop.set()
        thread.join()


def test_versions_and_labels_are_shown(page: Page, image_box: Bundle) -> None:
    with command(image_box.path) as server:
        page.goto(server.url)
        cells = page.locator("#versions td")
        expect(cells.nth(1)).to_have_text("available")
        expect(cells.nth(2)).to_have_text(image_box.id[:12])
        assert httpx.put(f"{server.url}/models/small/labels/stable", json={"version": 1}).status_code == 200
        expect(page.locator("#versions .tag")).to_have_text("stable", timeout=10_000)


def test_a_token_opens_the_page(page: Page, image_box: Bundle, tmp_path: Path, png: bytes) -> None:
    token = "a-token-for-the-page"
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [{"token": token, "roles": ["predict", "metrics"]}]}))
    file.chmod(0o600)
    with command(image_box.path, "--token-file", file) as server:
        page.goto(server.url)
        expect(page.locator("#locked")).to_be_visible()
        page.locator("#token").fill(token)
        page.locator("#token").press("Tab")
        expect(page.locator("h1")).to_have_text("small")
        page.evaluate(DROP, [".drop", base64.b64encode(png).decode()])
        expect(page.locator("p.answer")).to_have_text(image_box.predict([png])[0]["answer"])
        expect(page.locator("#locked")).to_be_hidden()


def test_a_text_is_gone_on_with(tmp_path: Path, page: Page) -> None:
    box = text_bundle(tmp_path / "writer")
    with running([("", box.path)]) as server:
        page.goto(f"{server.url}/#writer")
        expect(page.locator("h1")).to_have_text("writer")
        page.get_by_label("the beginning of a text").fill("so it")
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#answer pre")).to_have_text(box.predict(["so it"])[0]["answer"], use_inner_text=False)
        page.get_by_label("the beginning of a text").fill("so 猫")
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#answer p.error")).to_contain_text("never seen")
