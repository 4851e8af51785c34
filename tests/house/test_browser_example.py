"""The browser example answers in Chromium as `bedplate predict` does, and asks no other host for anything."""

from __future__ import annotations

import base64
import functools
import io
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from tests.conftest import CHROMIUM

from bedplate import pipeline
from bedplate.bundle import Bundle

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DROP = """data => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], "digit.png", {type: "image/png"}));
  document.querySelector("#pad").dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    settings = ["training.epochs=10", "gate={}", "evaluation.baselines=false", "compression.methods=[]"]
    run = pipeline.run("digits", tmp_path_factory.mktemp("digits") / "run", overrides=settings)
    return Bundle.open(run.path / "bundle")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[str]:
    """Serve a copy of the example with its packages and the bundle, as its README says."""
    folder = tmp_path_factory.mktemp("site") / "browser"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "bundle"))
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(
            f"npm can't install onnxruntime-web: {(done.stderr.strip() or 'no message').splitlines()[-1][:200]}"
        )
    shutil.copytree(bundle.path, folder / "bundle")
    broken = shutil.copytree(bundle.path, folder / "broken")
    graph = broken / "graphs" / "f32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(site: str) -> Iterator[Page]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 900, "height": 760})
        page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
        yield page
        browser.close()


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def shares(page: Page) -> list[float]:
    return [float(text.rstrip(" %")) / 100 for text in page.locator("#bars li span:last-child").all_text_contents()]


def test_golden_rows_agree_and_no_other_host_is_asked(page: Page, site: str, bundle: Bundle) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(site)
    expect(page.locator("#golden")).to_have_class("good", timeout=30_000)
    rows = bundle.golden.rows
    expect(page.locator("#golden")).to_contain_text(f"{rows} of {rows} agree")
    expect(page.locator("h1")).to_have_text("digits")
    expect(page.locator("#about")).to_contain_text(f"{bundle.id[:12]}, f32")
    expect(page.locator("#about")).to_contain_text("every file is as it was sealed")
    assert asked - {""} == {urlsplit(site).netloc}


def test_dropped_digits_get_the_labels_of_predict(page: Page, site: str, bundle: Bundle, tmp_path: Path) -> None:
    page.goto(site)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes", timeout=30_000)
    for digit in bundle.golden.inputs["image"][:6, ..., 0]:
        large = np.asarray(Image.fromarray(digit).resize((100, 60), Image.Resampling.BICUBIC))
        for picture in (png(digit), png(large), png(np.stack([large, 255 - large, large // 2], axis=-1))):
            wanted = bundle.predict([picture])[0]
            page.locator("#clear").click()
            page.evaluate(DROP, base64.b64encode(picture).decode())
            expect(page.locator("#label")).to_have_text(wanted["answer"])
            np.testing.assert_allclose(shares(page), list(wanted["probabilities"].values()), atol=0.01)
    expect(page.locator("#time")).to_have_text(re.compile(r"[\d.]+ ms"))
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_a_drawing_is_answered_and_cleared(page: Page, site: str) -> None:
    page.goto(site)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes", timeout=30_000)
    box = page.locator("#pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 128, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 128, box["y"] + 226, steps=8)
    page.mouse.up()
    expect(page.locator("#label")).to_have_text(re.compile(r"^\d$"))
    assert sum(shares(page)) == pytest.approx(1, abs=0.01)
    page.locator("#clear").click()
    expect(page.locator("#label")).to_have_text("?")


def test_what_is_no_image_or_not_as_it_was_sealed_is_refused(page: Page, site: str) -> None:
    page.goto(site)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes", timeout=30_000)
    page.evaluate(DROP, base64.b64encode(b"no image").decode())
    expect(page.locator("#error")).to_contain_text("can't be read as an image")
    page.goto(f"{site}/?bundle=broken/")
    expect(page.locator("#error")).to_contain_text("'graphs/f32.onnx' isn't the file that was sealed")
    expect(page.locator("#golden")).to_have_text("Not replayed yet.")
