"""Charts of a report as inline SVG: each is a function from plain numbers to markup, without scripts or assets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bedplate.evaluation import svg
from bedplate.evaluation.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, number

Point = tuple[float, float]

_LOG_FROM = 30.0
_CONFUSION_NUMBERS = 16
_LABEL, _LABEL_ROOM = 34, 232.0


def _frame(
    x_range: Point,
    y_range: Point,
    *,
    x_log: bool = False,
    y_log: bool = False,
    height: float = HEIGHT,
    right: float = RIGHT,
) -> tuple[Scale, Scale]:
    return (
        Scale(*x_range, LEFT, WIDTH - right, x_log),
        Scale(*y_range, height - BOTTOM, TOP, y_log),
    )


def line_chart(
    series: Mapping[str, Sequence[Point]],
    title: str,
    x_label: str,
    y_label: str,
    *,
    mark: tuple[float, str] | None = None,
) -> Markup:
    """Draw lines by name, each labelled at its end; `mark` is an x with a word for it.

    The first series is the quiet one (training), the second the loud one (validation). The y axis is logarithmic where
    all values are positive and span more than a factor of 30.
    """
    points = [point for one in series.values() for point in one if math.isfinite(point[1])]
    if not points:
        return Markup("")
    ys = [y for _, y in points]
    log = min(ys) > 0 and max(ys) / min(ys) > _LOG_FROM
    xs = [x for x, _ in points]
    x_range = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    y_range = (min(ys) * 0.9, max(ys) * 1.1) if log else svg.padded(ys)
    if min(ys) >= 0:
        y_range = (max(y_range[0], 0.0) if not log else y_range[0], y_range[1])
    x, y = _frame(x_range, y_range, y_log=log, right=86)
    whole = sorted({round(tick) for tick in x.ticks(6) if x_range[0] <= round(tick) <= x_range[1]})
    parts = [svg.axes(x, y, x_label, y_label + (" (log)" if log else ""), x_ticks=whole)]
    if mark is not None:
        place = x(mark[0])
        anchor = "start" if place < WIDTH - 180 else "end"
        parts += [
            svg.line(place, TOP, place, HEIGHT - BOTTOM, "mark"),
            svg.text(place + (5 if anchor == "start" else -5), TOP + 8, mark[1], "tick", anchor),
        ]
    ends: list[tuple[float, str, int]] = []
    for k, (name, one) in enumerate(series.items()):
        drawn = [(x(px), y(py)) for px, py in one if math.isfinite(py)]
        if not drawn:
            continue
        parts.append(svg.path(drawn, f"line c{k}"))
        if len(drawn) <= 40:
            parts += [
                svg.dot(px, py, 2.2, f"c{k} solid", f"{name}, {x_label} {number(vx)}: {number(vy)}")
                for (px, py), (vx, vy) in zip(drawn, [p for p in one if math.isfinite(p[1])], strict=True)
            ]
        ends.append((drawn[-1][1], name, k))
    ends.sort()
    last = -math.inf
    for place, name, k in ends:  # labels that would overlap move down
        last = max(place, last + 14)
        parts.append(svg.text(WIDTH - 80, last + 4, name, f"series c{k}", "start"))
    return svg.figure(parts, title)


def bar_chart(items: Sequence[tuple[str, float]], title: str, *, kind: str = "c1", unit: str = "") -> Markup:
    """Draw horizontal bars with their label and value, in the order given."""
    if not items:
        return Markup("")
    most = max(max(value for _, value in items), 1e-12)
    label_width = min(170.0, 12 + 7.2 * max(len(svg.cut(label, 24)) for label, _ in items))
    step, room = 22.0, WIDTH - label_width - 74
    parts = []
    for k, (label, value) in enumerate(items):
        middle = 4 + k * step + step / 2
        parts += [
            svg.text(label_width - 8, middle + 4, svg.cut(label, 24), "label", "end"),
            svg.rect(
                label_width, middle - 7, room * value / most, 14, f"bar {kind}", hint=f"{label}: {number(value)}{unit}"
            ),
            svg.text(label_width + room * value / most + 6, middle + 4, f"{number(value)}{unit}", "tick", "start"),
        ]
    return svg.figure(parts, title, height=8 + step * len(items))


def interval_chart(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    *,
    reference: float | None = None,
    reference_label: str = "",
    percent: bool = False,
) -> Markup:
    """Draw a dot with its interval for each row `{label, value, low, high, note, bad, quiet}`.

    `bad` rows are red, `quiet` ones grey; `reference` is a dashed line.
    """
    if not rows:
        return Markup("")
    values = [float(row[key]) for row in rows for key in ("value", "low", "high")]
    low, high = svg.padded([*values, *([reference] if reference is not None else [])], 0.05, 1e-4)
    if percent:
        low, high = max(low, 0.0), min(high, 1.0)
    label_width = min(_LABEL_ROOM, 14 + 6.6 * max(len(svg.cut(row["label"], _LABEL)) for row in rows))
    x = Scale(low, high, label_width, WIDTH - 86)
    step, top = 22.0, 20.0 if reference is not None else 6.0
    bottom = top + step * len(rows)

    def shown(value: float) -> str:
        return f"{100 * value:.1f}" if percent else number(value)

    parts = [svg.line(x(tick), top, x(tick), bottom, "grid") for tick in x.ticks(4)]
    parts += [svg.text(x(tick), bottom + 14, number(100 * tick if percent else tick), "tick") for tick in x.ticks(4)]
    if reference is not None:
        parts += [
            svg.line(x(reference), top - 4, x(reference), bottom, "mark"),
            svg.text(x(reference), top - 8, reference_label, "tick"),
        ]
    for k, row in enumerate(rows):
        middle = top + k * step + step / 2
        kind = "c0" if row.get("quiet") else "c2" if row.get("bad") else "c1"
        hint = (
            f"{row['label']}: {shown(row['value'])} ({shown(row['low'])} to {shown(row['high'])}) {row.get('note', '')}"
        )
        parts += [
            svg.text(label_width - 10, middle + 4, svg.cut(row["label"], _LABEL), "label", "end"),
            svg.line(x(row["low"]), middle, x(row["high"]), middle, f"whisker {kind}"),
            svg.dot(x(row["value"]), middle, 4, f"{kind} solid", hint),
            svg.text(WIDTH - 78, middle + 4, shown(row["value"]), "tick strong", "start"),
            svg.text(WIDTH - 2, middle + 4, row.get("note", ""), "tick", "end"),
        ]
    return svg.figure(parts, title, height=bottom + 20)


def confusion_chart(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> Markup:
    """Draw a confusion matrix: true classes down, answers across; right answers blue, mistakes red by their share."""
    size = len(labels)
    side = 460.0
    margin = min(116.0, 36 + 6.4 * max(len(svg.cut(label, 14)) for label in labels))
    cell = (side - margin) / size
    slanted = max(len(str(label)) for label in labels) * 6.5 > cell
    head = 30 + (margin * 0.62 if slanted else 14)
    parts = [svg.text(margin + (side - margin) / 2, 13, "answered", "label")]
    middle = head + (side - margin) / 2
    parts.append(f'<g transform="rotate(-90 10 {middle:.0f})">{svg.text(10, middle, "true class", "label")}</g>')
    for i, row in enumerate(counts):
        total = max(sum(row), 1)
        parts.append(svg.text(margin - 7, head + (i + 0.5) * cell + 4, svg.cut(labels[i], 14), "tick", "end"))
        place = margin + (i + 0.5) * cell
        name = svg.text(place, head - 7, svg.cut(labels[i], 14), "tick", "start" if slanted else "middle")
        parts.append(f'<g transform="rotate(-38 {place:.0f} {head - 7:.0f})">{name}</g>' if slanted else name)
        for j, times in enumerate(row):
            share = times / total
            strength = share if i == j else share**0.5
            hint = f"{times} of {total} '{labels[i]}' answered '{labels[j]}' ({share:.1%})"
            x, y = margin + j * cell, head + i * cell
            parts.append(svg.rect(x, y, cell - 1, cell - 1, "cell", hint=hint))
            if times:
                kind = "c1" if i == j else "c2"
                opacity = 0.08 + 0.87 * strength
                parts.append(svg.rect(x, y, cell - 1, cell - 1, f"heat {kind}", opacity=opacity, hint=hint))
                if size <= _CONFUSION_NUMBERS:
                    ink = "on" if opacity > 0.5 else "tick"
                    parts.append(svg.text(x + cell / 2, y + cell / 2 + 4, times, f"count {ink}"))
    return svg.figure(parts, title, width=side + 8, height=head + size * cell + 6, kind="square")


def reliability_chart(bins: Sequence[Mapping[str, float]], title: str) -> Markup:
    """Draw observed accuracy against stated probability; below it, how many rows each bin holds."""
    if not bins:
        return Markup("")
    height = 360.0
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, height - 110, TOP)
    parts = [svg.axes(x, y, "", "share that is right")]
    parts.append(svg.line(x(0), y(0), x(1), y(1), "mark"))
    most = max(one["rows"] for one in bins)
    for one in bins:
        place = x(one["confidence"])
        hint = f"{one['rows']:,} rows at {one['confidence']:.2f}: {one['accuracy']:.1%} right"
        parts += [
            svg.line(place, y(one["low"]), place, y(one["high"]), "whisker c1"),
            svg.dot(place, y(one["accuracy"]), 3 + 4 * (one["rows"] / most) ** 0.5, "c1 solid", hint),
        ]
        bar = 44 * one["rows"] / most
        parts.append(svg.rect(place - 6, height - 30 - bar, 12, bar, "bar quiet", hint=hint))
    parts.append(svg.line(LEFT, height - 30, WIDTH - RIGHT, height - 30, "axis"))
    parts.append(svg.text(LEFT - 7, height - 34, "rows", "tick", "end"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, height - 10, "probability of the answer", "label"))
    return svg.figure(parts, title, height=height)


def histogram(edges: Sequence[Any], counts: Sequence[float], title: str, x_label: str, *, zero: bool = False) -> Markup:
    """Draw a histogram; `zero` marks zero, if it lies inside."""
    x, y = _frame((edges[0], edges[-1]), (0, max([*counts, 1]) * 1.05))
    parts = [svg.axes(x, y, x_label, "rows")]
    for low, high, times in zip(edges[:-1], edges[1:], counts, strict=True):
        hint = f"{number(low)} to {number(high)}: {times:,}"
        parts.append(svg.rect(x(low), y(times), x(high) - x(low) - 1, y(0) - y(times), "bar c1", hint=hint))
    if zero and edges[0] < 0 < edges[-1]:
        parts.append(svg.line(x(0), TOP, x(0), HEIGHT - BOTTOM, "mark"))
    return svg.figure(parts, title)


def sparkline(counts: Sequence[float], title: str) -> Markup:
    """Draw a histogram without axes, for a table's cell."""
    if not counts:
        return Markup("")
    most, step = max([*counts, 1]), 150 / len(counts)
    parts = [
        svg.rect(k * step, 34 - 32 * times / most, step - 0.8, max(32 * times / most, 0.6), "bar c1")
        for k, times in enumerate(counts)
    ]
    return svg.figure(parts, title, width=150, height=36, kind="spark")


def truth_chart(points: Sequence[Sequence[float]], title: str, target: str) -> Markup:
    """Draw answers against the truth, `points` being [answer, truth]; on the diagonal they agree."""
    if not points:
        return Markup("")
    low, high = svg.padded([value for point in points for value in point], 0.03)
    height = 360.0
    x, y = _frame((low, high), (low, high), height=height)
    parts = [
        svg.axes(x, y, f"true {svg.cut(target, 30)}", "answer"),
        svg.line(x(low), y(low), x(high), y(high), "mark"),
    ]
    parts += [
        svg.dot(x(truth), y(answer), 2.6, "c1 faint", f"true {number(truth)}, answered {number(answer)}")
        for answer, truth in points
    ]
    return svg.figure(parts, title, height=height)


def pareto_chart(variants: Sequence[Mapping[str, Any]], title: str, x_label: str, y_label: str) -> Markup:
    """Draw variants `{name, kept, x, x_high, y, y_low, y_high}`: what each costs against how good it is.

    Kept ones are filled, rejected ones hollow; whiskers are drawn where their ends are given.
    """
    if not variants:
        return Markup("")
    xs = [float(v[key]) for v in variants for key in ("x", "x_high") if v.get(key) is not None]
    ys = [float(v[key]) for v in variants for key in ("y", "y_low", "y_high") if v.get(key) is not None]
    log = min(xs) > 0 and max(xs) / min(xs) > _LOG_FROM
    x_range = (min(xs) / 1.5, max(xs) * 1.5) if log else (0.0, max(xs) * 1.15)
    x, y = _frame(x_range, svg.padded(ys, 0.25, 1e-3 * max(abs(v) for v in ys)), x_log=log)
    parts = [svg.axes(x, y, x_label, y_label)]
    labels: list[tuple[float, float, str, str]] = []
    for variant in variants:
        px, py = x(variant["x"]), y(variant["y"])
        kind = "c1" if variant["kept"] else "c2"
        if variant.get("x_high") is not None:
            parts.append(svg.line(px, py, x(variant["x_high"]), py, f"whisker {kind}"))
        if variant.get("y_low") is not None and variant.get("y_high") is not None:
            parts.append(svg.line(px, y(variant["y_low"]), px, y(variant["y_high"]), f"whisker {kind}"))
        hint = f"{variant['name']}: {number(variant['x'])}, {number(variant['y'])}"
        parts.append(svg.dot(px, py, 5.5, f"{kind} {'solid' if variant['kept'] else 'hollow'}", hint))
        labels.append((px, py, str(variant["name"]), kind))
    taken: list[tuple[float, float, float, float]] = []
    for px, py, name, kind in labels:
        parts.append(_free_label(px, py, name, kind, taken))
    return svg.figure(parts, title)


def _free_label(px: float, py: float, name: str, kind: str, taken: list[tuple[float, float, float, float]]) -> str:
    """Return a label beside a point, at the first of four places that no other label has taken."""
    width = 7.2 * len(name)
    for side, below in ((1, -9.0), (1, 19.0), (-1, -9.0), (-1, 19.0)):
        left = px + 9 if side > 0 else px - 9 - width
        box = (left, py + below - 11, left + width, py + below + 3)
        if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            break
    taken.append(box)
    return svg.text(px + 9 * side, py + below, name, f"series {kind}", "start" if side > 0 else "end")
