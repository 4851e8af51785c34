"""The report of a compression: `report.html` with the front drawn and told, and `front.svg`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bedplate.core.files import write_text
from bedplate.evaluation import svg
from bedplate.evaluation.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale
from bedplate.evaluation.view import human_bytes, plain

Figures = Mapping[str, Any]
"""What `compress.json` holds."""

_STYLE = (
    "svg{font:12px system-ui,sans-serif;background:#fff}.grid{stroke:#e3e1da}.axis{stroke:#868d97}.tick{fill:#545b65}"
    ".label{fill:#191b1f}.line{fill:none;stroke:#2a5db0}.dot{fill:#2a5db0}.dot.other{fill:#9aa0a9}.dot.own{fill:#c2452d}"
    ".whisker{stroke:#2a5db0}.limit{stroke:#c2452d;stroke-dasharray:4 3}"
)
"""Of the picture that stands alone; in the page the page's own style holds."""

_BUDGET = {"max_latency_ms": "latency, ms a row", "max_size_mb": "size, MB", "max_drop": "drop"}


def write_compression_report(folder: Path, figures: Figures) -> None:
    """Write `report.html` and `front.svg` into the folder of a front."""
    by_size, by_time = front_chart(figures, "size"), front_chart(figures, "latency")
    write_text(folder / "front.svg", _alone(by_size))
    write_text(folder / "report.html", render_compression(figures, [by_size, by_time]))


def _alone(chart: Markup) -> str:
    """Return a chart as a file of its own."""
    return str(chart).replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" ', 1
    ).replace("<title>", f"<style>{_STYLE}</style><title>", 1)  # fmt: skip


def unit_of(figures: Figures) -> str:
    """Return what a drop is counted in."""
    name = figures["baseline"]["metric"]["name"]
    relative = name in ("log_loss", "brier", "ece", "rmse", "mae")
    return f"% of {name}" if relative else f"points of {name}"


def front_chart(figures: Figures, cost: str) -> Markup:
    """Return the drop of each point over its size or latency, with bars to the drop's bound and the time's interval.

    Args:
        figures: what `compress.json` holds.
        cost: "size" (MB) or "latency" (ms); the axis is logarithmic.
    """
    front, others = figures["front"], figures["others"]
    places = {id(one): _cost(one, cost) for one in (*front, *others)}
    drops = [one["metric"][key] for one in front for key in ("drop", "drop_high")] + [0.0]
    x = Scale(min(places.values()) / 1.2, max(places.values()) * 1.2, LEFT, WIDTH - RIGHT, log=True)
    low, high = svg.padded(drops, least=0.2)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    label = "size, MB" if cost == "size" else "median latency of a row, ms"
    parts = [svg.axes(x, y, label, f"drop, {unit_of(figures)}")]
    limit = figures["budget"]["max_size_mb" if cost == "size" else "max_latency_ms"]
    if limit is not None and x.low <= limit <= x.high:
        parts.append(svg.line(x(limit), TOP, x(limit), HEIGHT - BOTTOM, "limit"))
    if (most := figures["budget"]["max_drop"]) is not None and low <= most <= high:
        parts.append(svg.line(LEFT, y(most), WIDTH - RIGHT, y(most), "limit"))
    for one in others:
        if low <= one["metric"]["drop"] <= high:
            parts.append(svg.dot(x(places[id(one)]), y(one["metric"]["drop"]), 2.6, "dot other", _hint(one)))
    for one in front:
        parts += _point(one, figures, x, y, places[id(one)], cost)
    return svg.figure(parts, f"What is lost over {label}")


def _cost(one: Figures, cost: str) -> float:
    return float(one["size_bytes"] / 1e6 if cost == "size" else one["latency_ms"]["median"])


def _point(one: Figures, figures: Figures, x: Scale, y: Scale, place: float, cost: str) -> list[str]:
    drop, bound = one["metric"]["drop"], one["metric"]["drop_high"]
    parts = [svg.line(x(place), y(drop), x(place), y(bound), "whisker")]
    if cost == "latency":
        ratio = one["latency_ratio"]
        ends = [min(max(place * ratio[key] / ratio["value"], x.low), x.high) for key in ("low", "high")]
        parts.append(svg.line(x(ends[0]), y(drop), x(ends[1]), y(drop), "whisker"))
    chosen = one["name"] == figures["chosen"]
    parts.append(svg.dot(x(place), y(drop), 6 if chosen else 4, "dot own" if chosen else "dot", _hint(one)))
    return parts


def _hint(one: Figures) -> str:
    metric = one["metric"]
    return (
        f"{one['name']}: {human_bytes(one['size_bytes'])}, {one['latency_ms']['median']:.3f} ms, "
        f"{metric['name']} {metric['value']:.4f}, drop {metric['drop']:+.2f} (at most {metric['drop_high']:.2f})"
    )


def headline(figures: Figures) -> str:
    """Return what came of it in a sentence."""
    base = figures["baseline"]
    chosen = next(one for one in figures["front"] if one["name"] == figures["chosen"])
    size, time = (
        base["size_bytes"] / chosen["size_bytes"],
        base["latency_ms"]["median"] / chosen["latency_ms"]["median"],
    )
    drop = chosen["metric"]["drop"]
    told = (
        f"‘{chosen['name']}’ is {size:.1f} times smaller and {time:.1f} times as fast; it "
        f"{'loses' if drop >= 0 else 'gains'} {abs(drop):.2f} {unit_of(figures)} and loses at most "
        f"{chosen['metric']['drop_high']:.2f}"
    )
    if figures["feasible"]:
        return f"{told}."
    binding = " or ".join(_BUDGET[name] for name in figures["binding"])
    return f"Nothing meets the budget: {binding} is in the way. Nearest is {told}."


def render_compression(figures: Figures, charts: Sequence[Markup]) -> str:
    """Return the whole page; every text is escaped, and nothing is loaded from anywhere."""
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader("bedplate.stages"), jinja2.PackageLoader("bedplate.evaluation")])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": plain, "bytes": human_bytes}
    limits = {
        _BUDGET[key]: value for key, value in figures["budget"].items() if key in _BUDGET and value is not None
    }  # fmt: skip
    return environment.get_template("compress.html.j2").render(
        figures=figures, charts=charts, headline=headline(figures), unit=unit_of(figures), limits=limits,
        calibrated="calibration_error" in figures["baseline"],
    )  # fmt: skip
