"""Write what a sweep found for people: `sweep.html`, one file without scripts, and `trials.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bedplate.core.files import write_text
from bedplate.evaluation.charts import bar_chart
from bedplate.evaluation.svg import number
from bedplate.experiments import sweep_charts as charts
from bedplate.experiments.search_space import short_names
from bedplate.experiments.sweep_charts import shown, words

_MOST_ROWS = 500
_FIGURES = (
    "validation_accuracy",
    "validation_f1",
    "validation_loss",
    "validation_rmse",
    "seconds",
    "parameters",
    "best_epoch",
)


def write_report(path: Path, found: Mapping[str, Any]) -> None:
    """Write `sweep.html` and `trials.csv` in a folder, from the sweep's result (see `sweep_result.result`)."""
    write_text(path / "sweep.html", render(found))
    write_text(path / "trials.csv", trials_csv(found))


def trials_csv(found: Mapping[str, Any]) -> str:
    """Return the trials as CSV: number, state, objectives, settings (lists as JSON), epochs, seconds, reason."""
    names = [one["name"] for one in found["objectives"]]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", *names, *found["space"], "epochs", "trial_seconds", "reason"])
    for row in found["trials"]:
        values = row["values"] or [""] * len(names)
        settings = [row["params"].get(key, "") for key in found["space"]]
        texts = [json.dumps(value) if isinstance(value, list | dict) else value for value in settings]
        writer.writerow(
            [row["trial"], row["state"], *values, *texts, row["epochs"] or "", row["seconds"], row["reason"] or ""]
        )
    return buffer.getvalue()


def render(found: Mapping[str, Any]) -> str:
    """Return the whole page. Every text is escaped; nothing is loaded from anywhere."""
    loader = jinja2.ChoiceLoader(
        [jinja2.PackageLoader("bedplate.experiments"), jinja2.PackageLoader("bedplate.evaluation")]
    )
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("sweep.html.j2").render(**view(found))


def view(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows."""
    trials, space, objectives = found["trials"], found["space"], found["objectives"]
    names = [one["name"] for one in objectives]
    upward = [one["direction"] == "maximize" for one in objectives]
    best = found["best"]["trial"] if found["best"] else None
    figure = names[0]
    several = len(names) > 1
    short = short_names(space)
    rank, verdict = standing(found)
    return {
        "recipe": found["recipe"],
        "study": found["study"],
        "storage": found["storage"],
        "sampler": found["sampler"],
        "pruner": found["pruner"],
        "seconds": found["seconds"],
        "counts": found["counts"],
        "rank": rank,
        "verdict": verdict,
        "best_trial": best,
        "settings": _settings(found),
        "figures": _figures(found),
        "fronts": [charts.front_chart(trials, found["front"], names, 0, k) for k in range(1, len(names))],
        "histories": [
            charts.history_chart(trials, name, maximize=upward[k], best=None if several else best, index=k)
            for k, name in enumerate(names)
        ],
        "curves": Markup("") if several else charts.curves_chart(trials, figure, maximize=upward[0], best=best),
        "importance": [
            (
                words(name),
                bar_chart([(short[key], share) for key, share in shares.items()], f"Importance for {words(name)}"),
            )
            for name, shares in found["importance"].items()
            if shares
        ],
        "parallel": charts.parallel_chart(trials, space, figure, maximize=upward[0], best=best),
        "slices": [
            charts.slice_chart(trials, key, one, figure, maximize=upward[0], best=best) for key, one in space.items()
        ],
        "keys": list(short.values()),
        "objective_names": [words(name) for name in names],
        "table": _table(found),
    }


def standing(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return how the best trial stands to the recipe itself, as the verdict's class and its sentence."""
    name, best, own = words(found["objectives"][0]["name"]), found["best"], found["own"]
    if best is None:
        return "behind", "No trial came to its end."
    if found["front"] and len(found["front"]) > 1:
        return (
            "alone",
            f"{len(found['front'])} of {found['counts']['complete']} finished trials are worth choosing from.",
        )
    reached = f"{name} {number(best['values'][0])}"
    if own is None:
        return "alone", f"The best trial reached {reached}."
    if best["trial"] == own["trial"]:
        return "level", f"No trial was better than the recipe as it is: {reached}."
    if best["values"] == own["values"]:
        return "level", f"The best trial equals the recipe as it is at {reached}, with a lower validation loss."
    return "ahead", f"The best trial reached {reached}; the recipe as it is, {number(own['values'][0])}."


def _settings(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    own, best = found["own"] or {"params": {}}, found["best"] or {"params": {}}
    lines = []
    for key, one in found["space"].items():
        ends = (
            f"{number(one['low'])} … {number(one['high'])}{' (log)' if one.get('log') else ''}" if "low" in one else ""
        )
        searched = ends or " | ".join(shown(choice) for choice in one["choices"])
        of_own, of_best = (shown(row["params"].get(key, "as given")) for row in (own, best))
        lines.append((key, of_own, of_best, searched))
    return lines


def _figures(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    own, best = (found[key] or {"figures": {}} for key in ("own", "best"))

    def figure(row: Mapping[str, Any], name: str) -> str:
        return number(row["figures"][name]) if name in row["figures"] else "–"

    return [(words(name), figure(own, name), figure(best, name)) for name in _FIGURES if name in best["figures"]]


def _table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the trials' table, the first 500."""
    chosen = {row["trial"] for row in found["front"] or [found["best"]] if row}
    marks = {"complete": "yes", "failed": "no"}
    return [
        {
            "trial": row["trial"],
            "own": row["own"],
            "best": row["trial"] in chosen,
            "mark": marks.get(row["state"], ""),
            "state": {"complete": "finished", "pruned": "stopped"}.get(row["state"], row["state"])
            + (", the recipe" if row["own"] else ""),
            "values": [number(value) for value in row["values"]] if row["values"] else ["–"] * len(found["objectives"]),
            "params": [shown(row["params"][key]) if key in row["params"] else "as given" for key in found["space"]],
            "epochs": row["epochs"] or "",
            "seconds": "" if row["seconds"] is None else f"{row['seconds']:.1f}",
        }
        for row in found["trials"][:_MOST_ROWS]
    ]
