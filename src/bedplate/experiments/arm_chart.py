"""The chart of an experiment's arms: every run a small dot, the mean a large one, its interval a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bedplate.evaluation import svg
from bedplate.evaluation.svg import WIDTH, Scale, number

_LABEL, _STEP = 30, 30.0


def arm_chart(rows: Sequence[Mapping[str, Any]], title: str, *, percent: bool = False) -> Markup:
    """Draw a line for each arm `{label, runs, mean, low, high, reference}`.

    `runs` are the single figures; the reference arm is grey and its mean a dashed line through all. The interval is cut
    at the drawing's edge, which lies a little outside the runs.
    """
    rows = [row for row in rows if row["runs"]]
    if not rows:
        return Markup("")
    runs = [value for row in rows for value in row["runs"]]
    spread = max(runs) - min(runs)
    bounds = [min(max(row[side], min(runs) - spread), max(runs) + spread) for row in rows for side in ("low", "high")]
    low, high = svg.padded([*runs, *bounds], 0.05, 1e-4)
    if percent:
        low, high = max(low, 0.0), min(high, 1.0)
    scale = 100 if percent else 1
    low, high = low * scale, high * scale
    label_width = min(220.0, 14 + 6.8 * max(len(svg.cut(row["label"], _LABEL)) for row in rows))
    x = Scale(low, high, label_width, WIDTH - 70)
    bottom = 8 + _STEP * len(rows)
    parts = []
    for tick in x.ticks(5):
        parts += [svg.line(x(tick), 8, x(tick), bottom, "grid"), svg.text(x(tick), bottom + 15, number(tick), "tick")]
    for row in rows:
        if row["reference"]:
            parts.append(svg.line(x(scale * row["mean"]), 4, x(scale * row["mean"]), bottom, "mark"))
    for k, row in enumerate(rows):
        middle = 8 + (k + 0.5) * _STEP
        kind = "c0" if row["reference"] else "c1"
        ends = [x(min(max(scale * row[side], low), high)) for side in ("low", "high")]
        mean = number(round(scale * row["mean"], 6))
        hint = f"{row['label']}: {mean} ({number(scale * row['low'])} to {number(scale * row['high'])})"
        parts.append(svg.text(label_width - 10, middle + 4, svg.cut(row["label"], _LABEL), "label", "end"))
        parts += [svg.dot(x(scale * value), middle + 8, 2.4, f"{kind} solid", number(scale * value))
                  for value in row["runs"]]  # fmt: skip
        if len(row["runs"]) > 1:
            parts.append(svg.line(ends[0], middle, ends[1], middle, f"whisker {kind}"))
        parts.append(svg.dot(x(scale * row["mean"]), middle, 4.5, f"{kind} solid", hint))
        parts.append(svg.text(WIDTH - 62, middle + 4, mean, "tick strong", "start"))
    return svg.figure(parts, title, height=bottom + 22)
