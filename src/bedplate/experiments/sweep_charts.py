"""Charts of a sweep's report as inline SVG, each from the plain rows of `sweep.json`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from bedplate.evaluation import svg
from bedplate.evaluation.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, number
from bedplate.experiments.search_space import short_names
from bedplate.experiments.sweep_result import direction

Row = Mapping[str, Any]

_LOG_FROM = 30.0
_WIDE = 1060.0
_MOST_LINES = 300


def words(objective: str) -> str:
    """Return an objective's name for people."""
    return objective.replace("_", " ")


def shown(value: Any) -> str:
    """Return a setting's value for people."""
    return number(value) if isinstance(value, float) else str(value).replace("'", "")


def scale_of(values: Sequence[float], start: float, end: float, *, maximize: bool) -> Scale:
    """Return a scale on which the good values have room.

    It is logarithmic where all values are above zero and span more than a factor of 30; else values far worse than most
    lie beyond it and are drawn at its edge.
    """
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        return Scale(low / 1.15, high * 1.15, start, end, log=True)
    best, middle = (high if maximize else low), statistics.median(values)
    edge = middle - 4 * (best - middle)
    within = [value for value in values if (value >= edge if maximize else value <= edge)]
    padded = svg.padded(within)
    return Scale(max(padded[0], 0.0) if low >= 0 else padded[0], padded[1], start, end)


def _place(scale: Scale, value: float) -> float:
    return scale(min(max(value, scale.low), scale.high))


def _figure(parts: Sequence[str], title: str, description: str, width: float = WIDTH, height: float = HEIGHT) -> Markup:
    return svg.figure([f"<desc>{escape(description)}</desc>", *parts], title, width, height)


def _hint(row: Row) -> str:
    settings = ", ".join(f"{key} {shown(value)}" for key, value in row["params"].items())
    values = ", ".join(number(value) for value in row["values"] or ())
    return f"trial {row['trial']}{' (the recipe)' if row['own'] else ''}: {values or row['state']}; {settings}"


def _dots(places: Sequence[tuple[Row, float, float]], best: int | None) -> list[str]:
    """Return the trials' dots: the recipe's own red, the best large."""
    parts = []
    for row, x, y in sorted(places, key=lambda one: (one[0]["own"], one[0]["trial"] == best)):
        kind = "c2 solid" if row["own"] else "c1 solid" if row["trial"] == best else "c1 faint"
        parts.append(svg.dot(x, y, 5.5 if row["trial"] == best or row["own"] else 4, kind, _hint(row)))
    return parts


def history_chart(trials: Sequence[Row], objective: str, *, maximize: bool, best: int | None, index: int = 0) -> Markup:
    """Draw each trial's value in the order of the trials, stopped ones hollow, with the best so far as a line."""
    finished = [row for row in trials if row["values"]]
    if not finished:
        return Markup("")
    y = scale_of([row["values"][index] for row in finished], HEIGHT - BOTTOM, TOP, maximize=maximize)
    last = max(row["trial"] for row in trials)
    x = Scale(-0.5, last + 0.5, LEFT, WIDTH - RIGHT)
    whole = sorted({round(tick) for tick in x.ticks(8) if 0 <= round(tick) <= last})
    parts = [svg.axes(x, y, "trial", words(objective) + (" (log)" if y.log else ""), x_ticks=whole)]
    leading = -math.inf if maximize else math.inf
    stairs: list[tuple[float, float]] = []
    for row in finished:
        value = row["values"][index]
        leading = max(leading, value) if maximize else min(leading, value)
        if stairs:
            stairs.append((x(row["trial"]), stairs[-1][1]))
        stairs.append((x(row["trial"]), _place(y, leading)))
    stairs.append((x(last + 0.5), stairs[-1][1]))
    parts.append(svg.path(stairs, "line c1"))
    parts += [
        svg.dot(x(row["trial"]), _place(y, row["curve"][-1]), 4, "stopped", f"trial {row['trial']}: {row['state']}")
        for row in trials
        if row["state"] == "pruned" and row["curve"] and math.isfinite(row["curve"][-1])
    ]
    parts += _dots([(row, x(row["trial"]), _place(y, row["values"][index])) for row in finished], best)
    described = f"{len(finished)} finished trials; the best {words(objective)} is {number(leading)}."
    return _figure(parts, f"{words(objective).capitalize()} of every trial", described)


def curves_chart(trials: Sequence[Row], figure: str, *, maximize: bool, best: int | None) -> Markup:
    """Draw every trial's validation figure by epoch: stopped ones grey, finished ones blue, the recipe's own red."""
    drawn = [row for row in trials if len(row["curve"]) > 1][-_MOST_LINES:]
    values = [value for row in drawn for value in row["curve"] if math.isfinite(value)]
    if not values:
        return Markup("")
    x = Scale(1, max(len(row["curve"]) for row in drawn), LEFT, WIDTH - RIGHT)
    y = scale_of(values, HEIGHT - BOTTOM, TOP, maximize=maximize)
    whole = sorted({round(tick) for tick in x.ticks(6) if 1 <= round(tick) <= x.high})
    parts = [svg.axes(x, y, "epoch", words(figure) + (" (log)" if y.log else ""), x_ticks=whole)]
    for row in sorted(drawn, key=lambda one: (one["state"] == "complete", one["own"], one["trial"] == best)):
        points = [(x(k), _place(y, value)) for k, value in enumerate(row["curve"], 1) if math.isfinite(value)]
        parts.append(svg.path(points, _line_kind(row, best)))
    stopped = sum(row["state"] == "pruned" for row in trials)
    described = f"{len(drawn)} trials, of which {stopped} were stopped early; the recipe's own is red."
    return _figure(parts, f"{words(figure).capitalize()} by epoch", described)


def _line_kind(row: Row, best: int | None) -> str:
    if row["own"]:
        return "line c2"
    if row["trial"] == best:
        return "line c1"
    return "line c1 thin" if row["state"] == "complete" else "line c0 thin"


def axis_of(dimension: Mapping[str, Any], start: float, end: float) -> tuple[Scale, list[tuple[float, str]]]:
    """Return a setting's scale and its ticks as (value on the scale, label); choices stand at 0, 1 and so on."""
    if "choices" in dimension:
        labels = [shown(choice) for choice in dimension["choices"]]
        return Scale(-0.5, len(labels) - 0.5, start, end), [(float(k), label) for k, label in enumerate(labels)]
    scale = Scale(float(dimension["low"]), float(dimension["high"]), start, end, bool(dimension.get("log")))
    ticks = scale.ticks(4)
    if len(ticks) < 2:
        ticks = [scale.low, scale.high]
    return scale, [(tick, number(tick)) for tick in ticks]


def spot(dimension: Mapping[str, Any], value: Any) -> float:
    """Return where a value stands on the scale of `axis_of`."""
    return float(dimension["choices"].index(value)) if "choices" in dimension else float(value)


def parallel_chart(
    trials: Sequence[Row], space: Mapping[str, Mapping[str, Any]], objective: str, *, maximize: bool, best: int | None
) -> Markup:
    """Draw finished trials as lines across one axis a setting and the objective's; the better third is blue."""
    whole = [row for row in trials if row["values"] and set(row["params"]) == set(space)][-_MOST_LINES:]
    if len(whole) < 2 or not space:
        return Markup("")
    height, left, right, top, bottom = 340.0, 70.0, _WIDE - 76, 44.0, 320.0
    y = scale_of([row["values"][0] for row in whole], bottom, top, maximize=maximize)
    axes = {key: axis_of(one, bottom, top) for key, one in space.items()}
    step = (right - left) / len(space)
    short = short_names(space)
    parts: list[str] = []
    ranked = sorted(whole, key=lambda row: row["values"][0], reverse=maximize)
    good = {row["trial"] for row in ranked[: max(1, len(ranked) // 3)]}
    for row in sorted(whole, key=lambda one: (one["trial"] in good, one["own"], one["trial"] == best)):
        points = [(left + k * step, axes[key][0](spot(space[key], row["params"][key]))) for k, key in enumerate(space)]
        points.append((right, _place(y, row["values"][0])))
        plain = "line c1 thin" if row["trial"] in good else "line c0 thin"
        kind = _line_kind(row, best) if row["own"] or row["trial"] == best else plain
        parts.append(f"<g><title>{escape(_hint(row))}</title>{svg.path(points, kind)}</g>")
    for k, key in enumerate(space):
        place = left + k * step
        parts += [
            svg.line(place, top, place, bottom, "axis"),
            svg.text(place, 16 if k % 2 == 0 else 30, svg.cut(short[key], 26), "label strong"),
        ]
        parts += [_tick(place, axes[key][0](value), label) for value, label in axes[key][1]]
    parts += [svg.line(right, top, right, bottom, "axis"), svg.text(right, 16, words(objective), "label strong")]
    parts += [svg.text(right + 8, y(tick) + 4, number(tick), "tick", "start") for tick in y.ticks()]
    described = f"{len(whole)} trials; each line joins a trial's settings and its {words(objective)} at the right."
    return _figure(parts, "Settings and what came of them", described, _WIDE, height + 10)


def _tick(x: float, y: float, label: str) -> str:
    return svg.line(x - 4, y, x, y, "axis") + svg.text(x - 7, y + 4, svg.cut(label, 15), "tick", "end")


def slice_chart(
    trials: Sequence[Row], key: str, dimension: Mapping[str, Any], objective: str, *, maximize: bool, best: int | None
) -> Markup:
    """Draw the objective against one setting, a dot a finished trial."""
    having = [row for row in trials if row["values"] and key in row["params"]]
    if not having:
        return Markup("")
    y = scale_of([row["values"][0] for row in having], HEIGHT - BOTTOM, TOP, maximize=maximize)
    x, ticks = axis_of(dimension, LEFT + 8, WIDTH - RIGHT - 8)
    logarithm = " (log)" if dimension.get("log") else ""
    frame = Scale(x.low, x.high, LEFT, WIDTH - RIGHT, x.log)
    parts = [svg.axes(frame, y, f"{key}{logarithm}", words(objective), x_ticks=[])]
    for value, label in ticks:
        parts += [
            svg.line(x(value), HEIGHT - BOTTOM, x(value), HEIGHT - BOTTOM + 4, "axis"),
            svg.text(x(value), HEIGHT - BOTTOM + 16, svg.cut(label, 16), "tick"),
        ]
    spots = [(row, x(spot(dimension, row["params"][key])), _place(y, row["values"][0])) for row in having]
    parts += _dots(spots, best)
    return _figure(parts, f"{words(objective).capitalize()} by {key}", f"{len(having)} finished trials.")


def front_chart(trials: Sequence[Row], front: Sequence[Row], names: Sequence[str], first: int, second: int) -> Markup:
    """Draw two objectives against each other; what no trial beats in both is joined by a line and numbered."""
    finished = [row for row in trials if row["values"]]
    if not finished:
        return Markup("")
    height = 360.0
    xs, ys = ([row["values"][k] for row in finished] for k in (second, first))
    x = scale_of(xs, LEFT, WIDTH - RIGHT - 20, maximize=direction(names[second]) == "maximize")
    y = scale_of(ys, height - BOTTOM, TOP, maximize=direction(names[first]) == "maximize")
    labels = [words(names[k]) + (" (log)" if scale.log else "") for k, scale in ((second, x), (first, y))]
    parts = [svg.axes(x, y, labels[0], labels[1])]
    members = {row["trial"] for row in front}
    joined = sorted((_place(x, row["values"][second]), _place(y, row["values"][first])) for row in front)
    parts.append(svg.path(joined, "line c1"))
    for row in finished:
        px, py = _place(x, row["values"][second]), _place(y, row["values"][first])
        kind = "c2 solid" if row["own"] else "c1 solid" if row["trial"] in members else "c1 faint"
        parts.append(svg.dot(px, py, 5 if row["trial"] in members else 4, kind, _hint(row)))
        if row["trial"] in members:
            parts.append(svg.text(px + 8, py + 14, row["trial"], "series c1", "start"))
    described = f"{len(members)} of {len(finished)} finished trials form the front; the recipe's own is red."
    return _figure(
        parts, f"{words(names[first]).capitalize()} against {words(names[second])}", described, height=height
    )
