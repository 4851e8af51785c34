"""What the report's page shows: a story's facts as texts, tables and finished charts, ready for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bedplate.evaluation import charts
from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.evaluation.slices import MIN_ROWS
from bedplate.evaluation.story import (
    METRIC_NAMES,
    PERCENT,
    Standing,
    Story,
    primary_of,
    shown,
    shown_interval,
    verdict_of,
)
from bedplate.evaluation.svg import number

_MOST_CLASSES_DRAWN = 30
_MOST_BARS = 24
_MOST_CONFUSIONS = 8
_MOST_COLUMNS = 40
_SERIES = {"train": "training", "validation": "validation"}


def view(story: Story) -> dict[str, Any]:
    """Return what the template shows: texts, tables and finished charts."""
    standing = verdict_of(story)
    if story.get("verdict"):
        standing = Standing(str(story["verdict"]), "behind" if story.get("failures") else standing.rank)
    report = story.get("report") or {}
    return {
        "title": story["title"],
        "task": story.get("task", ""),
        "created": _moment(story.get("created", "")),
        "standing": standing,
        "rows": story.get("rows") or {},
        "confidence": report.get("confidence", 0.95),
        "metrics": _metrics(story),
        "baselines": _baselines(story),
        "curves": _curves(story),
        "model": _model(story.get("model") or {}),
        "recipe": str(story.get("recipe_yaml") or ""),
        "classes": _classes(report),
        "calibration": charts.reliability_chart(report.get("calibration") or [], "Reliability of probabilities"),
        "numbers": _numbers(report),
        "forecasts": _forecasts(story, report),
        "slices": _slices(report),
        "worst": _worst(story, report),
        "worst_told": _worst_told(report),
        "profile": _profile(story.get("profile") or {}),
        "variants": _variants(story),
        "latency": list(story.get("latency") or []),
        "provenance": _flat(story.get("provenance") or {}),
        "notes": list(story.get("notes") or []),
    }


def human_bytes(size: float | None) -> str:
    """Return a size for people: 1 kB is 1,000 bytes."""
    if not size:
        return "–"
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def plain(value: object) -> str:
    """Return a number, truth or text as people write it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%-d %B %Y, %H:%M")
    except ValueError:
        return text


def _metrics(story: Story) -> list[dict[str, Any]]:
    """The headline figures, the primary one first."""
    primary = primary_of(story)
    names = [primary, *(name for name in story["metrics"] if name != primary)]
    found = []
    for name in names:
        estimate = story["metrics"][name]
        text = shown(name, estimate["value"])
        value, _, unit = text.partition(" ")
        interval = shown_interval(name, estimate) if estimate["low"] < estimate["high"] else ""
        found.append(
            {
                "label": METRIC_NAMES.get(name, name), "value": value, "unit": unit, "interval": interval,
                "better": "lower is better" if name in LOWER_IS_BETTER else "higher is better",
            }
        )  # fmt: skip
    return found


def _baselines(story: Story) -> dict[str, Any] | None:
    baselines: Mapping[str, Mapping[str, float]] = story.get("baselines") or {}
    if not baselines:
        return None
    primary = primary_of(story)
    estimate = story["metrics"][primary]
    model = {"label": "this model", "note": "", **{key: estimate[key] for key in ("value", "low", "high")}}
    rows = [model] + [
        {"label": name, "value": figures[primary], "low": figures[primary], "high": figures[primary], "quiet": True}
        for name, figures in baselines.items()
        if primary in figures
    ]
    label = METRIC_NAMES.get(primary, primary)
    columns = list(story["metrics"])
    table = [("this model", {name: one["value"] for name, one in story["metrics"].items()}), *baselines.items()]

    def best(name: str) -> float:
        values = [float(figures[name]) for _, figures in table if name in figures]
        return min(values) if name in LOWER_IS_BETTER else max(values)

    cells = [
        (label_, [(shown(c, f[c]) if c in f else "–", c in f and f[c] == best(c)) for c in columns])
        for label_, f in table
    ]
    return {
        "metric": label,
        "chart": charts.interval_chart(rows, f"{label} of this model and its baselines", percent=primary in PERCENT),
        "columns": [METRIC_NAMES.get(name, name) for name in columns],
        "table": cells,
    }


def _model(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained, as facts."""
    facts = [(name, plain(model[name])) for name in ("name", "objective", "parameters") if model.get(name) is not None]
    return facts + _flat(model.get("arguments") or {})


def _curves(story: Story) -> list[dict[str, Any]]:
    history: Sequence[Mapping[str, Any]] = story.get("history") or []
    if not history:
        return []
    best = story.get("best_epoch")
    mark = (float(best), "kept") if best is not None else None
    kinds: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for key in history[0]:
        split, _, figure = key.partition("_")
        if split in _SERIES and figure:
            points = [(float(one["epoch"]), float(one[key])) for one in history if one.get(key) is not None]
            kinds.setdefault(figure, {})[_SERIES[split]] = points
    found = []
    for figure, series in kinds.items():
        if list(series) == ["validation"]:
            series = {"": [], **series}  # the loud colour is the second one's
        label = METRIC_NAMES.get(figure, figure.replace("_", " ").capitalize())
        chart = charts.line_chart(series, f"{label} by epoch", "epoch", label.lower(), mark=mark)
        found.append({"label": label, "chart": chart})
    return found


def _classes(report: Mapping[str, Any]) -> dict[str, Any] | None:
    confusion = report.get("confusion")
    if not report.get("per_class"):
        return None
    tags, sets = report["kind"] == "tagging", report["kind"] == "multi-label"
    labels, counts = (confusion["labels"], confusion["counts"]) if confusion else ([], [])
    pairs = sorted(
        (-counts[i][j], labels[i], labels[j], sum(counts[i]))
        for i in range(len(labels)) for j in range(len(labels)) if i != j and counts[i][j]
    )  # fmt: skip
    rows = [{"label": one["label"], "note": f"{one['rows']:,}", **one["f1"]} for one in report["per_class"]]
    rows.sort(key=lambda row: row["value"])
    drawn = 0 < len(labels) <= _MOST_CLASSES_DRAWN
    noun = "type" if tags else "label" if sets else "class"
    return {
        "chart": charts.confusion_chart(labels, counts, "Confusion matrix") if drawn else None,
        "f1": charts.interval_chart(rows[:_MOST_CLASSES_DRAWN], f"F1 of each {noun} with its interval", percent=True),
        "pairs": [(-times, true, answer, -times / total) for times, true, answer, total in pairs[:_MOST_CONFUSIONS]],
        "table": report["per_class"],
        "title": "Entities, type by type" if tags else "Label by label" if sets else "Class by class",
        "noun": noun,
        "counted": "entities" if tags else "rows",
        "left": max(0, len(rows) - _MOST_CLASSES_DRAWN),
    }


def _numbers(report: Mapping[str, Any]) -> dict[str, Any] | None:
    residuals = report.get("residuals")
    if not residuals:
        return None
    return {
        "truth": charts.truth_chart(residuals["points"], "Answers against the truth", "value"),
        "histogram": charts.histogram(
            residuals["edges"], residuals["counts"], "Histogram of residuals", "answer minus truth", zero=True
        ),
        "quantiles": [(f"{100 * float(share):g} %", number(value)) for share, value in residuals["quantiles"].items()],
    }


def _forecasts(story: Story, report: Mapping[str, Any]) -> dict[str, Any] | None:
    """A forecast's error by step and column, and some forecasts beside what came."""
    told = report.get("forecast")
    if not told:
        return None
    steps = [(float(k + 1), value) for k, value in enumerate(told["by_step"])]
    examples = [
        {
            "title": one["title"],
            "chart": charts.line_chart(
                {name: [tuple(point) for point in points] for name, points in one["lines"].items()},
                one["title"], "steps from the last one read", one["column"], mark=(0.0, "now"),
            ),
        }
        for one in story.get("forecasts") or []
    ]  # fmt: skip
    return {
        "by_step": charts.line_chart({"": steps}, "Error by how far ahead", "steps ahead", "mse"),
        "by_column": [(name, number(value)) for name, value in zip(told["columns"], told["by_column"], strict=True)],
        "examples": examples,
    }


def _slices(report: Mapping[str, Any]) -> dict[str, Any] | None:
    slices = report.get("slices") or []
    if not slices:
        return None
    metric = slices[0]["metric"]
    whole = report["metrics"][metric]["value"]
    columns: dict[str, list[dict[str, Any]]] = {}
    for one in slices:
        columns.setdefault(one["column"], []).append(
            {
                "label": one["value"], "value": one["figure"], "low": one["low"], "high": one["high"],
                "bad": one["worse"], "note": f"{one['rows']:,}",
            }
        )  # fmt: skip
    clear = [one for one in slices if one["worse"]]
    worst = (max if metric in LOWER_IS_BETTER else min)(clear, key=lambda one: one["figure"], default=None)
    return {
        "metric": METRIC_NAMES[metric],
        "whole": shown(metric, whole),
        "worst": None if worst is None else worst | {"shown": shown(metric, worst["figure"])},
        "least": MIN_ROWS,
        "charts": [
            (
                column,
                charts.interval_chart(
                    rows[:_MOST_BARS], f"{METRIC_NAMES[metric]} by {column}", reference=whole,
                    reference_label="all rows", percent=metric in PERCENT,
                ),
            )
            for column, rows in columns.items()
        ],
    }  # fmt: skip


def _worst(story: Story, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    pictures: Mapping[str, str] = {str(row): png for row, png in (story.get("pictures") or {}).items()}
    texts: Mapping[str, str] = {str(row): text for row, text in (story.get("texts") or {}).items()}
    return [
        {**one, "picture": pictures.get(str(one["row"])), "text": texts.get(str(one["row"]))}
        for one in report.get("worst") or []
    ]


def _worst_told(report: Mapping[str, Any]) -> str:
    """Return what the worst rows are, and what their error is of."""
    kind, columns = report.get("kind"), (report.get("forecast") or {}).get("columns") or []
    if kind in ("classification", "embedding"):
        return "The rows that the model got most wrong, and was most sure of."
    if kind == "forecast":
        unit = ", in the spread of the column's training values, so that columns compare" if len(columns) > 1 else ""
        return (
            "The windows that were forecast worst, by the time of their first step: the means over their steps of what "
            f"came and of the forecast, and the root mean squared error{unit}. Windows that overlap a worse one are "
            "left out."
        )
    told = {
        "language": "The windows with the largest loss; the error is the mean over their tokens, in nats.",
        "regression": "The rows that are furthest off; the error is the answer less the truth.",
        "multi-label": "The rows with most mistakes; the error counts the labels that were missed or wrongly answered.",
        "tagging": "The sentences with most mistakes; the error counts the entities that were missed or wrongly found.",
    }
    return told.get(str(kind), "The rows that the model got most wrong.")


def _profile(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    if not profile:
        return None
    balance: Mapping[str, int] = profile.get("balance") or {}
    bars = sorted(balance.items(), key=lambda item: -item[1])
    columns = []
    for column in profile.get("columns") or []:
        counts = (column.get("histogram") or {}).get("counts")
        top = column.get("top") or []
        most = max([times for _, times in top], default=1)
        columns.append(
            {
                **column,
                "chart": charts.sparkline(counts, f"Distribution of {column['name']}") if counts else None,
                "top": [(value, times, 100 * times / most) for value, times in top[:3]],
            }
        )
    target = profile.get("target") or {}
    spread, lengths = target.get("histogram"), (profile.get("characters") or {}).get("histogram")
    return {
        **profile,
        "balance_chart": charts.bar_chart(bars[:_MOST_BARS], "Training rows of each class", unit="") if bars else None,
        "target_chart": (
            charts.histogram(spread["edges"], spread["counts"], "Distribution of the target", str(target["name"]))
            if spread else None
        ),
        "lengths_chart": (
            charts.histogram(lengths["edges"], lengths["counts"], "Length of the training texts", "characters")
            if lengths else None
        ),
        "columns": columns[:_MOST_COLUMNS],
        "more_columns": columns[_MOST_COLUMNS:],
        "training_rows": (profile.get("rows") or {}).get("train"),
        "overlap": {name.replace("_", " "): times for name, times in (profile.get("overlap") or {}).items() if times},
    }  # fmt: skip


def _variants(story: Story) -> dict[str, Any] | None:
    variants: Sequence[Mapping[str, Any]] = story.get("variants") or []
    if not variants:
        return None
    primary = primary_of(story)
    largest = max([one["size_bytes"] or 0 for one in variants])
    scale, unit = (100, ", %") if primary in PERCENT else (1, "")
    drawn = [
        {
            "name": one["name"],
            "kept": one["kept"],
            "x": one["latency_ms"]["median"],
            "x_high": one["latency_ms"].get("p95"),
            "y": scale * one["metrics"][primary],
        }
        for one in variants
        if one.get("latency_ms") and primary in (one.get("metrics") or {})
    ]
    label = METRIC_NAMES.get(primary, primary)
    chart = charts.pareto_chart(drawn, f"{label} against latency", "milliseconds for one row", label + unit)
    table = [
        {
            **one,
            "share": 100 * (one["size_bytes"] or 0) / largest if largest else 0,
            "figure": shown(primary, one["metrics"][primary]) if primary in (one.get("metrics") or {}) else "–",
            "default": one["name"] == story.get("default"),
        }
        for one in variants
    ]
    return {"metric": label, "table": table, "chart": chart}


def _flat(fields: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return nested facts as rows of (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{above}{name}.")
        else:
            text = ", ".join(map(plain, value)) if isinstance(value, list | tuple) else plain(value)
            rows.append((f"{above}{name}", text))
    return rows
