"""Write MODEL_CARD.md (Mitchell et al. 2019) from a `Story`: what a model is for, how good it is, and where not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.evaluation.story import METRIC_NAMES, PERCENT, Story, primary_of, shown, shown_interval, verdict_of
from bedplate.evaluation.view import human_bytes, plain

_MOST_CLASSES = 40
_MOST_SLICES = 5


def model_card(story: Story) -> str:
    """Return the card as Markdown; texts of the story are escaped, so that none can change the card's structure.

    Args:
        story: see `bedplate.evaluation.story`.
    """
    sections = [
        _head(story),
        _section("Intended use", [_words(story.get("intended_use") or _default_use(story))]),
        _section("Results on the test split", _results(story)),
        _section("Beside the baselines", _baselines(story)),
        _section("Where it is weaker", _weaknesses(story)),
        _section("Data", _data(story)),
        _section("Variants", _variants(story)),
        _section("Provenance", _provenance(story)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _words(text: object) -> str:
    """Return a text on one line, with what Markdown or HTML would read as markup escaped."""
    flat = re.sub(r"\s+", " ", str(text)).strip()
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat).replace("&", "&amp;")


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [" | ".join(heads), " | ".join("---" if k == 0 else "---:" for k in range(len(heads)))]
    return "\n".join(f"| {line} |" for line in lines + [" | ".join(_words(cell) for cell in row) for row in rows])


def _section(title: str, parts: Sequence[str]) -> str:
    told = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *told]) if told else ""


def _head(story: Story) -> str:
    facts = [str(story[key]) for key in ("task", "created") if story.get(key)]
    verdict = story.get("verdict") or verdict_of(story).text
    parts = (f"# {_words(story['title'])}", _words(" · ".join(facts)), f"**{_words(verdict)}**")
    return "\n\n".join(part for part in parts if part)


def _default_use(story: Story) -> str:
    task = f" ({story['task']})" if story.get("task") else ""
    return (
        f"Rows like those it was trained on{task}. It was judged only on the test split below: on other data, measure "
        "first. Decisions about people need a human who can overrule it."
    )


def _results(story: Story) -> list[str]:
    report = story.get("report") or {}
    metrics: Mapping[str, Mapping[str, float]] = story["metrics"]
    rows = (story.get("rows") or {}).get("test") or report.get("rows")
    level = f"{100 * report.get('confidence', 0.95):g} % interval"
    table = [
        (METRIC_NAMES.get(name, name), shown(name, one["value"]), shown_interval(name, one))
        for name, one in metrics.items()
    ]
    told = f"{rows:,} rows; intervals are bootstrapped." if rows else ""
    classes = report.get("per_class") or []
    heads = ["Class", "Rows", "Precision", "Recall", "F1"]
    by_class = [
        [one["label"], one["rows"], *(shown(name, one[name]["value"]) for name in ("precision", "recall", "f1"))]
        for one in classes[:_MOST_CLASSES]
    ]
    more = f"{len(classes) - _MOST_CLASSES} more classes are in the report." if len(classes) > _MOST_CLASSES else ""
    return [told, _table(["Metric", "Value", level], table), _table(heads, by_class) if classes else "", more]


def _baselines(story: Story) -> list[str]:
    baselines: Mapping[str, Mapping[str, float]] = story.get("baselines") or {}
    if not baselines:
        return []
    primary = primary_of(story)
    better = "lower" if primary in LOWER_IS_BETTER else "higher"
    rows = [("this model", shown(primary, story["metrics"][primary]["value"]))]
    rows += [(name, shown(primary, figures[primary])) for name, figures in baselines.items() if primary in figures]
    return [_table(["Model", f"{METRIC_NAMES.get(primary, primary)} ({better} is better)"], rows)]


def _weaknesses(story: Story) -> list[str]:
    report: Mapping[str, Any] = story.get("report") or {}
    slices = [one for one in report.get("slices") or [] if one["worse"]]
    lines = []
    if slices:
        metric = slices[0]["metric"]
        slices.sort(key=lambda one: one["figure"], reverse=metric in LOWER_IS_BETTER)
        for one in slices[:_MOST_SLICES]:
            figure = shown(metric, one["figure"])
            lines.append(f"{one['column']} = {one['value']}: {METRIC_NAMES[metric]} {figure} on {one['rows']:,} rows")
    elif report.get("slices"):
        lines.append("No slice of the test rows is clearly worse than the whole")
    confusion = report.get("confusion")
    if confusion:
        labels, counts = confusion["labels"], confusion["counts"]
        pairs = [
            (counts[i][j], i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and counts[i][j]
        ]
        for times, i, j in sorted(pairs, reverse=True)[:3]:
            lines.append(f"'{labels[i]}' was taken for '{labels[j]}' {times:,} times of {sum(counts[i]):,}")
    return ["\n".join(f"- {_words(line)}" for line in lines)]


def _data(story: Story) -> list[str]:
    rows: Mapping[str, int] = story.get("rows") or {}
    profile: Mapping[str, Any] = story.get("profile") or {}
    lines = [", ".join(f"{count:,} {name}" for name, count in rows.items()) + " rows"] if rows else []
    if profile and "text" in profile:
        lines.append(", ".join(f"{count:,} {name}" for name, count in profile["text"].items()) + " to learn from")
    elif profile:
        lines.append(f"{profile.get('duplicates', 0):,} exact duplicates; own splits never divide them")
    lines += [f"{times:,}: {name.replace('_', ' ')}" for name, times in (profile.get("overlap") or {}).items() if times]
    lines += [str(note) for note in story.get("notes") or []]
    return ["\n".join(f"- {_words(line)}" for line in lines)] if lines else []


def _variants(story: Story) -> list[str]:
    variants: Sequence[Mapping[str, Any]] = story.get("variants") or []
    if not variants:
        return []
    primary = primary_of(story)
    rows = []
    for one in variants:
        latency, metrics = one.get("latency_ms"), one.get("metrics") or {}
        verdict = "served" if one["name"] == story.get("default") else "kept" if one["kept"] else "rejected"
        rows.append(
            [
                one["name"], verdict, human_bytes(one["size_bytes"]), f"{latency['median']:.3f} ms" if latency else "–",
                shown(primary, metrics[primary]) if primary in metrics else "–", one["reason"],
            ]
        )  # fmt: skip
    unit = " (%)" if primary in PERCENT else ""
    return [_table(["Variant", "", "Size", "One row", METRIC_NAMES.get(primary, primary) + unit, "Why"], rows)]


def _provenance(story: Story) -> list[str]:
    def lines(fields: Mapping[str, Any], above: str = "") -> list[str]:
        found = []
        for name, value in fields.items():
            if isinstance(value, Mapping):
                found += lines(value, f"{above}{name}.")
            else:
                text = ", ".join(map(plain, value)) if isinstance(value, list | tuple) else plain(value)
                found.append(f"- {_words(above + name)}: {_words(text)}")
        return found

    return ["\n".join(lines(story.get("provenance") or {}))]
