"""The range test's chart is well-formed, stands alone, and shows what was found."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from bedplate.stages.rate_chart import as_html, as_svg, rounded, sparkline
from bedplate.training.find_rate import RateCurve

RATES = tuple(10 ** (k / 20 - 5) for k in range(100))
LOSSES = tuple(
    2.0 - 1.5 / (1 + math.exp(-2 * (math.log(rate) + 7))) if k < 90 else 50.0 for k, rate in enumerate(RATES)
)
CURVE = RateCurve(RATES, (*LOSSES[:-1], math.inf), (*LOSSES[:-1], math.inf), 0.00123456, 0.05, 0.3, 32)


def test_the_picture_is_one_well_formed_file_with_its_style() -> None:
    root = ElementTree.fromstring(as_svg(CURVE))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert "suggested 0.0012" in texts
    assert "diverged 0.3" in texts
    assert "learning rate (log)" in texts
    style = next(element.text for element in root.iter() if element.tag.endswith("style"))
    assert style is not None
    assert "--c1:" in style
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        places = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        assert all(0 <= x <= 520 and 0 <= y <= 280 for x, y in places), "what diverged is cut, not drawn outside"


def test_the_page_escapes_its_title_and_loads_nothing() -> None:
    page = as_html(CURVE, "<b>digits</b>", ["The verdict.", "More & more."])
    assert "&lt;b&gt;digits" in page
    assert "More &amp; more." in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_line_for_the_terminal_falls_and_rises() -> None:
    line = sparkline(CURVE, 40)
    assert len(line) == 40
    assert set(line) <= set("▁▂▃▄▅▆▇█")
    assert line[0] > line[30] == "▁"
    assert line[-1] == "█"
    assert rounded(0.00123456) == 0.0012
