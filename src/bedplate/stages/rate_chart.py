"""The chart of a learning-rate range test: the loss over the rate, with the suggestion marked."""

from __future__ import annotations

import math
from importlib.resources import files

from markupsafe import Markup, escape

from bedplate.evaluation import svg
from bedplate.evaluation.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, number
from bedplate.training.find_rate import RateCurve

_BARS = "▁▂▃▄▅▆▇█"


def rate_chart(curve: RateCurve) -> Markup:
    """Draw each step's loss (quiet) and the smoothed loss (loud) over the rate on a logarithmic axis.

    The y axis ends a little above the first loss: what lies beyond says only that training went astray.
    """
    smooth, top = _seen(curve)
    low = min([*smooth, *(value for value in curve.losses if math.isfinite(value))])
    x = Scale(curve.rates[0], curve.rates[-1], LEFT, WIDTH - RIGHT, log=True)
    y = Scale(max(low * 0.95, 0.0) if low >= 0 else low * 1.05, top, HEIGHT - BOTTOM, TOP)
    ticks = x.ticks()
    parts = [svg.axes(x, y, "learning rate (log)", "loss", x_ticks=ticks[:: max(1, -(-len(ticks) // 6))])]
    marks = [("suggested", curve.suggestion), ("diverged", curve.diverged)]
    for name, rate in marks:
        if rate is not None:
            place = x(rate)
            side = -5 if place > WIDTH / 2 else 5
            parts += [
                svg.line(place, TOP, place, HEIGHT - BOTTOM, "mark"),
                svg.text(
                    place + side, TOP + 8, f"{name} {number(rounded(rate))}", "tick", "end" if side < 0 else "start"
                ),
            ]
    for values, kind in ((curve.losses, "line c0"), (curve.smoothed, "line c1")):
        for run in _within(curve.rates, values, y):
            parts.append(svg.path([(x(rate), y(value)) for rate, value in run], kind))
    return svg.figure(parts, "Loss over the learning rate")


def _seen(curve: RateCurve) -> tuple[list[float], float]:
    """Return the finite smoothed losses, and the loss at which drawings are cut."""
    smooth = [value for value in curve.smoothed if math.isfinite(value)]
    low, first = min(smooth), smooth[0]
    return smooth, min(max(smooth), first + 0.5 * (first - low)) + 0.02 * (first - low)


def _within(rates: tuple[float, ...], values: tuple[float, ...], y: Scale) -> list[list[tuple[float, float]]]:
    """Return the stretches of a line that lie within the axis."""
    runs: list[list[tuple[float, float]]] = [[]]
    for rate, value in zip(rates, values, strict=True):
        if math.isfinite(value) and value <= y.high:
            runs[-1].append((rate, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def rounded(rate: float) -> float:
    """Return a rate to two significant digits: the test knows it no better."""
    return float(f"{rate:.1e}")


def _style() -> str:
    return files("bedplate.evaluation").joinpath("templates", "report.css").read_text(encoding="utf-8")


def as_svg(curve: RateCurve) -> str:
    """Return the chart as a file of its own, with the house's style in it."""
    chart = str(rate_chart(curve))
    size = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
    style = f"<style>{escape(_style())}</style>".replace("&#34;", '"').replace("&#39;", "'")
    return chart.replace("<svg ", f"<svg {size}", 1).replace("</title>", f"</title>{style}", 1) + "\n"


def as_html(curve: RateCurve, title: str, lines: list[str]) -> str:
    """Return a page with the chart and what was found; nothing is loaded from anywhere."""
    said = "".join(f"<p>{escape(line)}</p>" for line in lines[1:])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)} – learning rate</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<header>\n"
        f'<p class="eyebrow">learning-rate range test · {len(curve.rates)} steps of {curve.batch_size} rows</p>\n'
        f'<h1>{escape(title)}</h1>\n<p class="verdict">{escape(lines[0])}</p>\n</header>\n<main>\n<section>\n'
        f'<div class="panel">{rate_chart(curve)}</div>\n{said}\n</section>\n</main>\n</body>\n</html>\n'
    )


def sparkline(curve: RateCurve, width: int = 50) -> str:
    """Return the smoothed loss as a line of bars, one a column, from the first rate to the last."""
    smooth, high = _seen(curve)
    low = min(smooth)
    columns = min(width, len(smooth))
    picked = [smooth[round(k * (len(smooth) - 1) / max(columns - 1, 1))] for k in range(columns)]
    span = max(high - low, 1e-12)
    return "".join(_BARS[min(int((min(value, high) - low) / span * 8), 7)] for value in picked)
