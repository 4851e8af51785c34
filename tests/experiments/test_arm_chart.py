"""The chart of arms: every run has its dot, and nothing is drawn outside."""

from __future__ import annotations

import re

from bedplate.experiments.arm_chart import arm_chart


def test_every_run_has_a_dot_inside_the_drawing() -> None:
    rows = [
        {"label": "a & b", "runs": [0.9, 0.91, 0.95], "mean": 0.92, "low": 0.5, "high": 1.0, "reference": True},
        {"label": "c", "runs": [0.8], "mean": 0.8, "low": 0.8, "high": 0.8, "reference": False},
        {"label": "none", "runs": [], "reference": False},
    ]
    drawn = str(arm_chart(rows, "runs", percent=True))
    assert drawn.count("<circle") == 4 + 2
    assert "a &amp; b" in drawn
    places = [float(x) for x in re.findall(r'cx="([-0-9.]+)"', drawn)]
    assert all(0 <= x <= 520 for x in places)
    assert arm_chart([], "nothing") == ""
