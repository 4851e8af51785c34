"""The pages are self-contained, and a browser shows an answer on them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.conftest import CHROMIUM


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_need_nothing_from_elsewhere(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|@import|[:\s]url\(", reply.text)
    assert "innerHTML" not in reply.text  # names and labels come from data and are never read as HTML


def shown(url: str, folder: Path) -> str:
    """The page's document after its scripts have run, as a real browser sees it."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--virtual-time-budget=8000", f"--user-data-dir={folder}", "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.browser
def test_a_person_sees_the_answer_to_an_image_and_to_a_row(server: str, tmp_path: Path) -> None:
    image = shown(f"{server}/#small/0", tmp_path / "one")
    assert re.search(r'<p class="answer">(zero|one|two)</p>', image)
    assert 'class="best fill"' in image or 'class="fill best"' in image
    assert "image-classification" in image
    row = shown(f"{server}/#prices/1", tmp_path / "two")
    assert re.search(r'<p class="answer">-?[\d.,]+</p>', row)
    assert 'placeholder="2020-01-31, or nothing"' in row
    assert 'class="error"' not in image + row


@pytest.mark.browser
def test_the_interface_is_rendered(server: str, tmp_path: Path) -> None:
    page = shown(f"{server}/docs", tmp_path)
    for path in ("/predict/small", "/v2/models/prices/infer", "/v1/models/small:predict", "/metrics"):
        assert path in page
