"""The page: self-contained, escaped, whole for any part of a story, and good to look at in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.stories import diabetes, digits

from bedplate.evaluation.html import picture, render
from bedplate.evaluation.view import human_bytes

VOID = {"meta", "img", "br", "link", "hr", "input", "circle", "rect", "line", "polyline"}


class Reader(HTMLParser):
    """Collect what a page shows and loads, and check that its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"a script in {tag}"
            if name in {"src", "href", "srcset", "action", "data", "xlink:href"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.add(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(page: str) -> Reader:
    """Parse a page, which must be well formed."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("make", [digits, diabetes])
def test_the_page_is_one_file_that_loads_nothing(make: Any) -> None:
    page = render(make())
    reader = read(page)
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert "@import" not in page
    assert "url(" not in page
    for address in reader.addresses:
        assert address.startswith(("#", "data:image/png;base64,")), address
        if address.startswith("#"):
            assert address[1:] in reader.ids
    assert "default-src 'none'" in page


def test_the_page_tells_the_whole_story() -> None:
    words = " ".join(" ".join(read(render(digits())).words).split())
    for part in (
        "digits",
        "image classification",
        "1 March 2026",
        "baseline",
        "Accuracy",
        "270 unseen rows",
        "Confusion matrix",
        "Reliability",
        "by ink",
        "Worst mistakes",
        "% sure",
        "Training examples",
        "int8-static",
        "rejected",
        "kept",
        "neither smaller nor faster",
        "rows a second",
        "93,322",
        "cross-entropy",
        "name: digits seed: 7",
        "data.fingerprint",
        "logistic regression (5,000 rows)",
    ):
        assert part in words, part
    other = " ".join(" ".join(read(render(diabetes())).words).split())
    for part in (
        "RMSE",
        "Answers against the truth",
        "patient_id",
        "identifier, set aside",
        "north side",
        "ragged: 9 fields",
    ):
        assert part in other, part


def test_the_first_line_says_that_a_baseline_wins() -> None:
    words = " ".join(read(render(diabetes())).words)
    assert re.search(r"A baseline is ahead, though not clearly: the baseline “linear regression” has 53.4", words)
    assert 'class="verdict behind"' in render(diabetes())
    told = render({**digits(), "verdict": "The gate says no.", "failures": ["accuracy"]})
    assert '<p class="verdict behind">The gate says no.</p>' in told


EVIL = "</title></svg><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}"


def poison(value: Any, key: str = "") -> Any:
    """The same story with every text replaced by a hostile one, except words that steer the page."""
    if isinstance(value, dict):
        changed = {}
        for name, one in value.items():
            renamed = EVIL + name if key in {"baselines", "balance", "provenance", "data", "rows_of_latency"} else name
            changed[renamed] = poison(one, name)
        return changed
    if isinstance(value, list):
        return [poison(one, key) for one in value]
    if isinstance(value, str) and key not in {"primary", "metric", "kind", "row_errors", "rows_digest"}:
        return EVIL
    return value


@pytest.mark.parametrize("make", [digits, diabetes])
def test_nothing_in_a_story_can_break_out_of_the_page(make: Any) -> None:
    story = poison(make())
    story["latency"] = [{EVIL: EVIL}]
    page = render(story)
    reader = read(page)
    assert "script" not in reader.tags
    assert "<script" not in page.lower()
    assert "{{7*7}}" in page
    for address in reader.addresses:
        assert address.startswith(("#", "data:"))
    assert any("alert(1)" in words for words in reader.words)


def test_a_picture_must_be_a_png() -> None:
    assert picture("javascript:alert(1)") == "data:,"
    assert picture("PHN2Zz48L3N2Zz4=") == "data:,"
    assert picture('iVBORw0KGgo="><script>') == "data:,"
    assert picture("iVBORw0KGgo=") == "data:image/png;base64,iVBORw0KGgo="


def test_the_smallest_story_is_a_page() -> None:
    page = render({"title": "tiny", "metrics": {"accuracy": {"value": 0.5, "low": 0.5, "high": 0.5}}})
    assert "50.00" in page
    read(page)


@pytest.mark.parametrize("make", [digits, diabetes])
@pytest.mark.parametrize("seed", range(6))
def test_any_part_of_a_story_may_be_left_out(make: Any, seed: int) -> None:
    story = make()
    rng = np.random.default_rng(seed)
    kept = {key: value for key, value in story.items() if key in {"title", "metrics"} or rng.random() < 0.5}
    page = render(kept)
    read(page)
    assert story["title"] in page


def test_hundreds_of_classes_and_columns_stay_a_page() -> None:
    story = {**digits()}
    size = 120
    labels = [f"class number {k}" for k in range(size)]
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    story["report"] = {
        **story["report"],
        "confusion": {"labels": labels, "counts": np.ones((size, size), int).tolist()},
        "per_class": [
            {"label": label, "rows": size, "precision": figure, "recall": figure, "f1": figure} for label in labels
        ],
    }
    story["profile"] = {**diabetes()["profile"], "columns": diabetes()["profile"]["columns"] * 20}
    page = render(story)
    read(page)
    assert len(page) < 2_000_000
    assert "more columns" in page


def test_sizes_for_people() -> None:
    assert [human_bytes(n) for n in (None, 0, 999, 1000, 1_234_567, 5e9)] == [
        "–",
        "–",
        "999 B",
        "1 kB",
        "1.23 MB",
        "5 GB",
    ]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 420])
def test_a_browser_shows_it(tmp_path: Path, width: int) -> None:
    """Chromium draws the page: text, charts and pictures in their colours, and nothing wider than the window."""
    page = tmp_path / "report.html"
    page.write_text(render(digits()), encoding="utf-8")
    shot = tmp_path / "shot.png"
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}/profile",
        f"--window-size={width},6000",
        f"--screenshot={shot}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.exists(), done.stderr
    assert "Refused to" not in done.stderr
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    paper = np.abs(pixels - [250, 249, 246]).max(axis=2) <= 2
    red, green, blue = (pixels[..., c] for c in range(3))
    assert paper.mean() > 0.2
    assert ((blue - red > 60) & (blue - green > 30)).sum() > 2000, "no right answers in blue"
    assert ((red - blue > 20) & (red - green > 20)).sum() > 300, "no mistakes in red"
    assert paper[:, -4:].all(), "something reaches over the right edge"
