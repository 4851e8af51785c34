"""The story of a run: the plain, JSON-able facts from which `report.html` and MODEL_CARD.md are written.

    title        str, the run's or model's name
    task         str, such as "image-classification"
    created      str, an ISO 8601 moment
    primary      str, the metric that leads ("accuracy", "rmse"); left out: accuracy where there is one, else rmse
    verdict      str, the report's first line; left out, `verdict_of` writes it from metrics and baselines
    failures     [str], what a gate said no to; the first line is then marked as a warning
    model        {name, arguments, parameters, objective}, shown above the training curves
    recipe_yaml  str, the resolved recipe, shown as it is
    rows         {"train": int, "validation": int, "test": int}
    metrics      {name: {value, low, high}}, on the test split
    baselines    {name: {metric: value}}, on the same rows
    history      [{epoch, train_loss, validation_loss, validation_accuracy?, learning_rate?, seconds?}], one an epoch
    best_epoch   int, the epoch whose weights were kept
    report       `Report.to_json()`
    profile      what `bedplate.data.profile` says of the data, plus for images `examples` [{label, png}] (base64)
    pictures     {row index as text: base64 PNG}, for the worst mistakes
    forecasts    [{title, column, lines: {name: [[step, value]]}}], some windows of a series
    texts        {row index as text: the text, its first letters}, likewise
    variants     [{name, kept, reason, size_bytes, latency_ms: {median, p95} or None, metrics: {name: value}}]
    default      str, the variant that is served by default
    latency      [{column: text or number}], a table as it is
    provenance   {name: text, number, list or mapping}, shown as it is
    notes        [str], what the run has to say about the data and itself
    intended_use str, for the model card; what the model is for

Only `title` and `metrics` are needed; every other part appears where it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.evaluation.svg import number

Story = Mapping[str, Any]

METRIC_NAMES: Mapping[str, str] = {
    "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "log_loss": "Log loss",
    "auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score", "ece": "Calibration error", "rmse": "RMSE",
    "mae": "MAE", "r2": "R²", "mse": "MSE", "mase": "MASE", "pinball": "Pinball loss",
    "coverage": "Coverage", "recall_at_1": "Recall at 1", "recall_at_10": "Recall at 10",
    "precision_at_10": "Precision at 10", "knn_accuracy": "Accuracy of 10 nearest neighbours",
    "bleu": "BLEU", "exact": "Exact matches",
    "loss": "Loss", "perplexity": "Perplexity", "bits_per_byte": "Bits a byte",
    "macro_f1": "Mean F1 of the labels", "subset_accuracy": "Sets that are right", "hamming_loss": "Hamming loss",
    "token_accuracy": "Accuracy of words", "sentence_accuracy": "Accuracy of sentences",
}  # fmt: skip
"""Metrics by the names that people read."""

PERCENT = frozenset(
    {
        "accuracy", "coverage", "precision", "recall", "f1", "recall_at_1", "recall_at_10", "precision_at_10",
        "knn_accuracy", "macro_f1", "subset_accuracy", "hamming_loss", "token_accuracy", "sentence_accuracy",
    }
)  # fmt: skip


_LEADING = ("accuracy", "rmse", "mse", "exact", "loss")
"""Metrics that lead where the story names none that is defined, in this order."""


@dataclass(frozen=True)
class Standing:
    """How the model stands beside its baselines: `text` says it, `rank` is "ahead", "level", "behind" or "alone"."""

    text: str
    rank: str


def shown(metric: str, value: float) -> str:
    """Return a metric's value for people: shares in percent, the rest with four significant digits."""
    return f"{100 * value:.2f} %" if metric in PERCENT else number(value)


def shown_interval(metric: str, estimate: Mapping[str, float]) -> str:
    """Return `low–high` for people, or `low to high` where a bound is negative."""
    if estimate["low"] < 0:
        return f"{number(estimate['low'])} to {number(estimate['high'])}"
    if metric in PERCENT:
        return f"{100 * estimate['low']:.2f}–{100 * estimate['high']:.2f} %"
    return f"{number(estimate['low'])}–{number(estimate['high'])}"


def primary_of(story: Story) -> str:
    """Return the metric that leads the story: the task's where it is defined (BLEU isn't where answers are short)."""
    known = story["metrics"]
    return str(next(name for name in (story.get("primary"), *_LEADING, *known) if name in known))


def missing_lead(primary: str, known: Collection[str]) -> str | None:
    """Return, in a sentence, that and why the task's leading metric isn't among those that are known; else None."""
    if primary in known:
        return None
    why = ": no answer that was written has four words (of texts without spaces: characters)"
    return f"{METRIC_NAMES.get(primary, primary)} is not defined on these rows{why if primary == 'bleu' else ''}."


def best_baseline(story: Story) -> tuple[str, float] | None:
    """Return the name and figure of the baseline with the best primary metric, or None."""
    metric = primary_of(story)
    baselines = story.get("baselines") or {}
    found = {name: float(figures[metric]) for name, figures in baselines.items() if metric in figures}
    if not found:
        return None
    pick = min if metric in LOWER_IS_BETTER else max
    best = pick(found, key=lambda name: found[name])
    return best, found[best]


def coverage_told(forecast: Mapping[str, Any] | None, metrics: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return in a sentence which share of what came a forecast's quantiles hold, and should; None where it has none."""
    levels, found = (forecast or {}).get("levels"), metrics.get("coverage")
    if not levels or found is None or len(levels) < 2:
        return None
    asked = levels[-1] - levels[0]
    fault = ": too few" if found["high"] < asked else ": too many" if found["low"] > asked else ""
    return (
        f"Between the quantiles {levels[0]:g} and {levels[-1]:g} lies {found['value']:.1%} of what came, of "
        f"{asked:.0%} that should{fault}."
    )


def verdict_of(story: Story) -> Standing:
    """Return the report's first line: whether a baseline wins, by the primary metric and its interval.

    Of a forecast with quantiles a second sentence says whether they hold what they should.
    """
    standing = _standing(story)
    covered = coverage_told((story.get("report") or {}).get("forecast"), story["metrics"])
    return standing if covered is None else Standing(f"{standing.text} {covered}", standing.rank)


def _standing(story: Story) -> Standing:
    metric = primary_of(story)
    estimate = story["metrics"][metric]
    name, lower = METRIC_NAMES.get(metric, metric), metric in LOWER_IS_BETTER
    word = name.lower() if metric in PERCENT and metric != "f1" else name
    own = f"{word} {shown(metric, estimate['value'])} ({shown_interval(metric, estimate)})"
    best = best_baseline(story)
    if best is None:
        return Standing(f"On unseen rows: {own}.", "alone")
    rival, figure = best
    sign = -1 if lower else 1
    against = f"the baseline “{rival}” has {shown(metric, figure)}"
    if sign * figure > sign * estimate["value"]:
        if sign * figure > sign * estimate["low" if lower else "high"]:
            return Standing(f"A baseline wins: {against}, this model {own}. Prefer the baseline.", "behind")
        return Standing(f"A baseline is ahead, though not clearly: {against}, this model {own}.", "behind")
    if sign * figure >= sign * estimate["high" if lower else "low"]:
        return Standing(f"About level with a baseline: this model has {own}, {against}.", "level")
    return Standing(f"Better than every baseline: {own}; {against}.", "ahead")
