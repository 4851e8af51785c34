"""Tell what an experiment found: the page, the table as CSV and Markdown, and the lines for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bedplate.core.console import human_seconds
from bedplate.core.files import write_text
from bedplate.evaluation import charts
from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.evaluation.story import METRIC_NAMES, PERCENT
from bedplate.evaluation.svg import number
from bedplate.evaluation.view import plain
from bedplate.experiments.arm_chart import arm_chart

Figures = Mapping[str, Any]

_FEWEST_P = 1e-4


def _scaled(metric: str, value: float) -> float:
    return 100 * value if metric in PERCENT else value


def _precise(metric: str, value: float) -> str:
    """Return a figure with two decimals in percent, else with four digits."""
    return f"{100 * value:.2f}" if metric in PERCENT else number(value)


def mean_and_spread(summary: Mapping[str, Any] | None, metric: str) -> str:
    """Return `mean ± standard deviation`, in percent for shares."""
    if summary is None:
        return "–"
    unit = " %" if metric in PERCENT else ""
    spread = "" if summary["sd"] is None else f" ± {_precise(metric, summary['sd'])}"
    return f"{_precise(metric, summary['mean'])}{spread}{unit}"


def shown_difference(one: Mapping[str, Any] | None, metric: str) -> str:
    """Return `difference (low to high)`, in points for shares."""
    if one is None or one["difference"] is None:
        return ""

    def signed(value: float) -> str:
        if metric in PERCENT:
            return f"{100 * value:+.2f}".replace("-", "−")
        return ("+" if value > 0 else "") + number(value)

    if one["low"] is None:
        return signed(one["difference"])
    return f"{signed(one['difference'])} ({signed(one['low'])} to {signed(one['high'])})"


def shown_p(value: float | None) -> str:
    """Return a p-value for people."""
    if value is None:
        return ""
    return f"< {_FEWEST_P:g}" if value < _FEWEST_P else f"{value:.2g}"


def _rows(figures: Figures) -> list[dict[str, str]]:
    """Return the table's rows as texts, by column."""
    metric, split = figures["metric"], figures["judged_on"]
    other = "test" if split == "validation" else "validation"
    name = METRIC_NAMES.get(metric, metric)
    judged = "fold left out" if figures["folds"] else split
    rows = []
    for arm in figures["arms"]:
        one = arm["comparison"]
        row = {
            "arm": arm["name"] + (" (reference)" if arm["name"] == figures["reference"] else ""),
            "n": str(arm["n"]),
            f"{name}, {judged}": mean_and_spread(arm[split], metric),
            "difference": shown_difference(one, metric),
            "p": shown_p(one["p_value"]) if one else "",
            "p (Holm)": shown_p(one["p_holm"]) if one else "",
            "effect": f"{one['effect']:.2g}".replace("-", "−") if one and one["effect"] is not None else "",
            "verdict": one["verdict"] if one else "",
            f"{name}, {other}": mean_and_spread(arm[other], metric),
            "parameters": f"{arm['parameters']:,}" if arm["parameters"] else "–",
            "seconds": f"{arm['seconds']:.1f}" if arm["seconds"] is not None else "–",
        }
        rows.append(row)
    return rows


def markdown_table(figures: Figures) -> str:
    """Return the table as Markdown, with what it means below it."""
    rows = _rows(figures)
    heads = list(rows[0])
    lines = [" | ".join(heads), " | ".join("---" if k == 0 else "---:" for k in range(len(heads)))]
    lines += [" | ".join(text.replace("|", r"\|") for text in row.values()) for row in rows]
    return "\n".join([f"| {line} |" for line in lines] + ["", caption(figures), *figures["notes"]]) + "\n"


def caption(figures: Figures) -> str:
    """Return what the columns are, in a sentence or two."""
    pairs = "folds" if figures["folds"] else "seeds"
    methods = {arm["comparison"]["method"] for arm in figures["arms"] if arm["comparison"]} - {None}
    test = f"; test: {', '.join(sorted(methods))}" if methods else ""
    corrected = ", p corrected for several comparisons (Holm)" if figures["correction"] else ""
    lower = " Lower is better." if figures["metric"] in LOWER_IS_BETTER else ""
    unit = " in percentage points" if figures["metric"] in PERCENT else ""
    return (
        f"Mean ± standard deviation over n runs ({pairs}). Differences{unit} to “{figures['reference']}” with their "
        f"{100 * figures['confidence']:.3g} % confidence interval{test}{corrected}. Effect: mean difference over its "
        f"standard deviation (Hedges' g of the pairs).{lower}"
    )


def csv_table(figures: Figures) -> str:
    """Return one line a run: arm, seed, fold, and the metric on both splits, as plain numbers."""
    buffer = io.StringIO()
    metric = figures["metric"]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["arm", "seed", "fold", f"validation_{metric}", f"test_{metric}", "parameters", "folder"])
    for arm in figures["arms"]:
        for run in arm["runs"]:
            values = ["" if run[split] is None else repr(run[split]) for split in ("validation", "test")]
            fold = "" if run["fold"] is None else run["fold"]
            writer.writerow([arm["name"], run["seed"], fold, *values, arm["parameters"], run["folder"]])
    return buffer.getvalue()


def headline(figures: Figures) -> str:
    """Return the report's first line: what was really different."""
    compared = [(arm["name"], arm["comparison"]) for arm in figures["arms"] if arm["comparison"]]
    if not any(arm["n"] for arm in figures["arms"]):
        return "No run was finished."
    if not compared:
        arm = figures["arms"][0]
        return f"{arm['name']}: {mean_and_spread(arm[figures['judged_on']], figures['metric'])} over {arm['n']} runs."
    real = [(name, one) for name, one in compared if one["verdict"].startswith(("better", "worse"))]
    reference = figures["reference"]
    if not real:
        return f"No difference to “{reference}” is shown: {compared[0][1]['verdict']}." if len(compared) == 1 else (
            f"None of {len(compared)} arms is shown to differ from “{reference}”."
        )  # fmt: skip
    told = "; ".join(
        f"“{name}” is {one['verdict']}, {shown_difference(one, figures['metric'])}"
        + (" points" if figures["metric"] in PERCENT else "")
        for name, one in real
    )
    return f"Beside “{reference}”: {told}."


def summary_lines(figures: Figures) -> list[str]:
    """Return the table and its notes for the terminal."""
    rows = _rows(figures)
    keep = [head for head in rows[0] if head not in ("p", "parameters", "seconds")]
    table = [keep, *([row[head] for head in keep] for row in rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(keep))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.insert(1, "  ".join("─" * width for width in widths))
    lines += [f"note: {note}" for note in figures["notes"]]
    ensemble = figures.get("ensemble")
    if ensemble:
        lines.append(f"ensemble beside its best member: {ensemble['verdict']['text']}")
        lines.append(f"ensemble bundle {ensemble['bundle']}")
    return lines


def _charts(figures: Figures) -> dict[str, Any]:
    metric, split = figures["metric"], figures["judged_on"]
    percent = metric in PERCENT
    arms = [
        {"label": arm["name"], "runs": [run[split] for run in arm["runs"] if run[split] is not None],
         "reference": arm["name"] == figures["reference"], **(arm[split] or {})}
        for arm in figures["arms"]
    ]  # fmt: skip
    compared = [arm for arm in figures["arms"] if arm["comparison"] and arm["comparison"]["low"] is not None]
    differences = [
        {
            "label": arm["name"],
            **{key: _scaled(metric, arm["comparison"][of]) for key, of in
               (("value", "difference"), ("low", "low"), ("high", "high"))},
            "note": "", "bad": arm["comparison"]["verdict"].startswith("worse"),
            "quiet": not arm["comparison"]["verdict"].startswith(("better", "worse")),
        }
        for arm in compared
    ]  # fmt: skip
    return {
        "arms": arm_chart(arms, f"{METRIC_NAMES.get(metric, metric)} of every run", percent=percent),
        "differences": charts.interval_chart(
            differences, f"Differences to {figures['reference']}", reference=0.0,
            reference_label=str(figures["reference"]),
        ),
        "curves": _curves(figures),
    }  # fmt: skip


def _curves(figures: Figures) -> list[tuple[str, Markup]]:
    """Return a chart of validation figures by epoch for each arm, the reference quiet beside it."""
    by_name = {arm["name"]: arm["curves"] for arm in figures["arms"]}
    figure = next(
        (f for f in ("validation_f1", "validation_accuracy", "validation_rmse") if f in by_name[figures["reference"]]),
        None,
    )
    if figure is None:
        return []
    metric = figure.removeprefix("validation_")

    def scaled(curves: Mapping[str, Any]) -> list[tuple[float, float]]:
        return [(epoch, _scaled(metric, value)) for epoch, value in curves[figure]]

    own = {"reference": scaled(by_name[figures["reference"]])}
    found = []
    for name, curves in by_name.items():
        if (name == figures["reference"] and len(by_name) > 1) or figure not in curves:
            continue
        series = {**(own if len(by_name) > 1 else {}), "this arm": scaled(curves)}
        label = METRIC_NAMES[metric] + (", %" if metric in PERCENT else "")
        found.append((name, charts.line_chart(series, f"{name}: {label} by epoch", "epoch", label)))
    return found


def render_experiment(figures: Figures) -> str:
    """Return the whole page; every text is escaped, and nothing is loaded from anywhere."""
    loader = jinja2.ChoiceLoader(
        [jinja2.PackageLoader("bedplate.experiments"), jinja2.PackageLoader("bedplate.evaluation")]
    )
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": plain, "duration": human_seconds}
    rows = _rows(figures)
    best = next((arm for arm in figures["arms"] if arm["name"] == figures["best"]), None)
    real = any(
        arm["comparison"] and arm["comparison"]["verdict"].startswith(("better", "worse")) for arm in figures["arms"]
    )
    return environment.get_template("experiment.html.j2").render(
        figures=figures, heads=list(rows[0]), rows=rows, caption=caption(figures), headline=headline(figures),
        rank="behind" if figures["failures"] else "ahead" if real else "level", charts=_charts(figures), best=best,
        metric=METRIC_NAMES.get(figures["metric"], figures["metric"]),
        ensemble=_ensemble(figures),
    )  # fmt: skip


def _ensemble(figures: Figures) -> dict[str, Any] | None:
    found = figures.get("ensemble")
    if not found:
        return None
    metric = figures["metric"]

    def estimate(metrics: Mapping[str, Any]) -> str:
        one = metrics[metric]
        return f"{_precise(metric, one['value'])} ({_precise(metric, one['low'])} to {_precise(metric, one['high'])})"

    return {**found, "own": estimate(found["metrics"]), "single": estimate(found["best_member_metrics"])}


def write_experiment_report(figures: Figures, path: Path) -> None:
    """Write `experiment.html`, `table.csv` and `table.md` into the experiment's folder."""
    write_text(path / "experiment.html", render_experiment(figures))
    write_text(path / "table.csv", csv_table(figures))
    write_text(path / "table.md", markdown_table(figures))
