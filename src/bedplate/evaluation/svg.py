"""The pieces of inline SVG charts: scales, ticks, axes and text. Colours are the page's CSS variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 40


def number(value: float) -> str:
    """Return a number for people: four significant digits, thousands apart, no needless zeros."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    form = ".3g" if size >= 1e7 or size < 1e-4 else ",.0f" if size >= 1000 else ".4g"
    return f"{value:{form}}".replace("-", "−")


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within low..high, at most about `most`."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Scale:
    """A linear (or logarithmic) map from data to the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of `value`, rounded to a tenth of a unit."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(one, 1e-300)) for one in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers for an axis."""
        if not self.log:
            return ticks(self.low, self.high, most)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        fine = [m * 10.0**p for p in powers for m in ((1, 2, 5) if len(powers) < 4 else (1,))]
        return [value for value in fine if self.low * 0.999 <= value <= self.high * 1.001]


def padded(values: Sequence[float], share: float = 0.06, least: float = 0.0) -> tuple[float, float]:
    """Return the range of values with some air, at least `least` wide."""
    low, high = min(values), max(values)
    span = max(high - low, least, abs(high) * 1e-9, 1e-12)
    middle = (low + high) / 2
    return middle - span * (0.5 + share), middle + span * (0.5 + share)


def text(x: float, y: float, words: object, kind: str = "", anchor: str = "middle") -> str:
    """Return a text; `words` are escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a line of a class."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, *, opacity: float = 1.0, hint: object = "") -> str:
    """Return a rectangle of a class, with `hint` as its tooltip."""
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" class="{kind}" '
        f'fill-opacity="{opacity:.3f}">{inner}</rect>'
    )


def dot(x: float, y: float, radius: float, kind: str, hint: object = "") -> str:
    """Return a circle of a class, with `hint` as its tooltip."""
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{kind}">{inner}</circle>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Return a line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" class="{kind}"/>'


def cut(words: object, most: int) -> str:
    """Return a label, cut to `most` characters."""
    label = str(words)
    return label if len(label) <= most else label[: most - 1] + "…"


def axes(x: Scale, y: Scale, x_label: str, y_label: str, *, x_ticks: Sequence[float] | None = None) -> str:
    """Return both axes: quiet grid lines across, numbers outside, labels below and above."""
    left, right, bottom, top = x.start, x.end, y.start, y.end
    parts = []
    for value in y.ticks():
        parts += [
            line(left, y(value), right, y(value), "grid"),
            text(left - 7, y(value) + 3.5, number(value), "tick", "end"),
        ]
    for value in x.ticks(6) if x_ticks is None else x_ticks:
        parts += [
            line(x(value), bottom, x(value), bottom + 4, "axis"),
            text(x(value), bottom + 16, number(value), "tick"),
        ]
    parts.append(line(left, bottom, right, bottom, "axis"))
    parts.append(text((left + right) / 2, bottom + 33, x_label, "label"))
    if y_label:
        middle = (top + bottom) / 2
        parts.append(f'<g transform="rotate(-90 12 {middle:.0f})">{text(12, middle, y_label, "label")}</g>')
    return "".join(parts)


def figure(parts: Sequence[str], title: str, width: float = WIDTH, height: float = HEIGHT, kind: str = "") -> Markup:
    """Wrap parts as one accessible SVG with a title; `title` is escaped."""
    words = escape(title)
    return Markup(  # noqa: S704 - every text in `parts` and the title is escaped
        f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{words}" '
        f'preserveAspectRatio="xMidYMid meet"><title>{words}</title>{"".join(parts)}</svg>'
    )
