"""`evaluate` judges any `Predict`: a torch model, a baseline, an ONNX session or a remote server, all in one way."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.core.arrays import Arrays, Predict, count, predict_in_batches
from bedplate.core.errors import GateError, InputError
from bedplate.evaluation.bootstrap import Estimate, bootstrap, estimates, interval, share_interval
from bedplate.evaluation.calibration import reliability
from bedplate.evaluation.judge_counted import as_wide, judge_label_sets, judge_tags
from bedplate.evaluation.metrics import (
    CLASSIFICATION,
    FEWEST_RESAMPLES,
    FORECASTS,
    LANGUAGE,
    PER_CLASS,
    QUANTILES,
    RANKING_WORK,
    REGRESSION,
    ClassificationFacts,
    ForecastFacts,
    LanguageFacts,
    RegressionFacts,
    token_losses,
)
from bedplate.evaluation.neighbours import EMBEDDINGS, EmbeddingFacts
from bedplate.evaluation.report import Report
from bedplate.evaluation.setting import WORST, Setting

_POINTS = 500
_HISTOGRAM_BINS = 31
_MOST_SCORES, _MOST_WINDOWS = 1 << 23, 16


def evaluate(
    predict: Predict,
    inputs: Arrays,
    targets: np.ndarray,
    answers: Answers,
    *,
    ids: Sequence[str] = (),
    slices: Mapping[str, np.ndarray] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    batch_size: int = 512,
) -> Report:
    """Judge a `Predict` on labelled rows.

    Args:
        predict: gives `answers.output`: probabilities [N,K], values [N], forecasts [N, steps, columns (, levels)],
            vectors [N, D] of any length D, labels' probabilities [N, K], tags' probabilities [N, words, tags], or the
            scores of every next token [N, tokens, vocabulary].
        inputs: what `predict` takes, N rows.
        targets: class indices [N] (of vectors, too), whether each label is there [N, K], values [N], what came
            [N, steps, columns], tags' numbers [N, words], or the next tokens [N, tokens].
        answers: the labels or tags, or that the answer is a number, a vector or a forecast.
        ids: where each row came from, for the list of worst rows.
        slices: texts [N] by column, to slice by beside the class.
        resamples: of the bootstrap; 0 for no intervals.
        confidence: of the intervals.
        seed: of the bootstrap.
        batch_size: rows given to `predict` at a time.

    Raises:
        InputError: no rows, or inputs, targets and answers that don't fit together.
        GateError: the model's answers are not finite.
    """
    if len(targets) == 0 or len(targets) != count(inputs):
        raise InputError(
            "nothing to evaluate" if len(targets) == 0 else "inputs and targets differ in rows",
            received=f"{count(inputs)} input rows and {len(targets)} targets",
        )
    wanted: tuple[int, ...] = (len(targets),) if answers.labels is None else (len(targets), len(answers.labels))
    if answers.sizes:
        outputs, wanted = losses_of(predict, inputs, targets, answers), targets.shape
    else:
        outputs = np.asarray(predict_in_batches(predict, inputs, batch_size)[answers.output])
    if answers.columns is not None:
        wanted = (len(targets), answers.horizon, len(answers.columns))
        if answers.levels and outputs.ndim == 3:  # a baseline that answers one number: all of its quantiles are that
            outputs = np.repeat(outputs[..., None], len(answers.levels), axis=-1)
        wanted += (len(answers.levels),) if answers.levels else ()
    if answers.dimensions:  # a baseline's vectors may be of another length
        wanted = (len(targets), outputs.shape[-1])
    if answers.many is not None:
        wanted = (len(targets), len(answers.many))
    if answers.tags is not None and outputs.ndim == 3:
        outputs, targets = as_wide(outputs, np.asarray(targets))
        wanted = (*targets.shape, len(answers.tags))
    if outputs.size == wanted[0] and len(wanted) == 1:
        outputs = outputs.reshape(-1)
    if outputs.shape != wanted:
        raise InputError(
            f"the model's '{answers.output}' has another shape than the task", expected=str(list(wanted)),
            received=str(list(outputs.shape)),
        )  # fmt: skip
    bad = int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())
    if bad:
        raise GateError(
            "the model's answers are not finite", received=f"NaN or infinity in {bad} of {len(outputs)} rows",
            hint="the training may have diverged: try a smaller training.optimizer.lr",
        )  # fmt: skip
    judge = _judge_number if answers.labels is None else _judge_classes
    if answers.columns is not None:
        judge = _judge_forecast
    if answers.dimensions:
        judge = _judge_vectors
    if answers.tags is not None:
        judge = judge_tags
    if answers.many is not None:
        judge = judge_label_sets
    names = list(ids) or [str(i) for i in range(len(targets))]
    setting = Setting(resamples, confidence, seed, names, slices or {})
    if answers.sizes:
        return _judge_language(outputs, np.asarray(targets), answers, setting)
    return judge(outputs, np.asarray(targets), answers, setting)


def losses_of(predict: Predict, inputs: Arrays, targets: np.ndarray, answers: Answers) -> np.ndarray:
    """Return the loss of every token in nats, float32 [N, tokens].

    The scores that it is taken from are a vocabulary wide, and what a network holds on its way to them is wider yet, so
    few rows are asked for at a time, those of like length together. Where the target is -1, the loss is 0.
    """
    rows = max(1, min(_MOST_WINDOWS, _MOST_SCORES // (targets.shape[1] * len(answers.sizes))))
    lengths = targets.shape[1] - (targets[:, ::-1] >= 0).argmax(axis=1)
    order = np.argsort(lengths, kind="stable")
    found = np.zeros(targets.shape, np.float32)
    for start in range(0, len(targets), rows):
        part = order[start : start + rows]
        width = int(lengths[part[-1]])
        given = {name: np.ascontiguousarray(array[part][:, :width]) for name, array in inputs.items()}
        logits = np.asarray(predict(given)[answers.output])
        wanted = (len(part), width, len(answers.sizes))
        if logits.shape != wanted:
            raise InputError(
                f"the model's '{answers.output}' has another shape than the task", expected=str(list(wanted)),
                received=str(list(logits.shape)),
            )  # fmt: skip
        found[part, :width] = token_losses(logits, targets[part][:, :width])
    return found


def _judge_classes(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    labels = list(answers.labels or ())
    facts = ClassificationFacts(outputs, targets, answers.positive)
    once = np.ones((1, facts.rows))
    values = facts.measure(once) | facts.ranking(once)
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    # Ranking costs a pass a class, so with very many classes it is resampled less often.
    affordable = max(FEWEST_RESAMPLES, RANKING_WORK // (facts.rows * facts.classes))
    samples |= bootstrap(facts.ranking, facts.rows, min(setting.resamples, affordable), setting.seed)
    metrics = estimates({name: values[name] for name in CLASSIFICATION}, samples, setting.confidence)
    if setting.resamples:
        metrics |= _mended(metrics, float(facts.correct.sum()), facts.rows, setting.confidence)
    wrong = (1 - facts.correct).astype(np.uint8)
    by_class = {"class": np.asarray(labels, dtype=object)[facts.targets]} if len(labels) > 1 else {}
    counts = np.bincount(facts.targets * len(labels) + facts.answers, minlength=len(labels) ** 2)
    return Report(
        kind="classification", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=metrics, per_class=_per_class(facts, labels, samples, setting.confidence),
        confusion={"labels": labels, "counts": counts.reshape(len(labels), len(labels)).tolist()},
        calibration=reliability(facts, setting.confidence), residuals=None,
        slices=setting.sliced(wrong.astype(np.float64), {**by_class, **setting.slices}, False),
        worst=_worst_answers(facts, labels, setting.ids), rows_digest=setting.digest(targets), row_errors=wrong,
        outputs=outputs,
    )  # fmt: skip


def _mended(metrics: Mapping[str, Estimate], right: float, rows: int, confidence: float) -> dict[str, Estimate]:
    """Return honest intervals for the shares where all answers are right (or wrong): see `share_interval`."""
    names = ("accuracy", *PER_CLASS) if right == rows else ("accuracy",)
    bounds = {name: share_interval(right, rows, confidence, (metrics[name].low, metrics[name].high)) for name in names}
    return {name: Estimate(metrics[name].value, *bounds[name]) for name in names}


def _per_class(
    facts: ClassificationFacts, labels: list[str], samples: Mapping[str, np.ndarray], confidence: float
) -> list[dict[str, Any]]:
    values = facts.measure(np.ones((1, facts.rows)))["by_class"][0]
    low, high = interval(samples["by_class"], confidence) if samples else (values, values)
    rows = np.bincount(facts.targets, minlength=facts.classes).tolist()

    if samples:  # a class without a mistake is not certainly without one: see share_interval
        flawless = np.array([share_interval(n, max(n, 1), confidence, (0.0, 1.0))[0] for n in rows])
        low = np.where(values == 1, np.minimum(low, flawless), low)

    def figures(k: int) -> dict[str, dict[str, float]]:
        bounds = zip(PER_CLASS, values[:, k].tolist(), low[:, k].tolist(), high[:, k].tolist(), strict=True)
        return {name: Estimate(*three).to_json() for name, *three in bounds}

    return [{"label": label, "rows": rows[k], **figures(k)} for k, label in enumerate(labels)]


def _worst_answers(facts: ClassificationFacts, labels: list[str], ids: list[str]) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(facts.correct == 0)
    order = wrong[np.argsort(-facts.confidence[wrong], kind="stable")][:WORST]
    return [
        {
            "row": row, "id": ids[row], "expected": labels[facts.targets[row]], "answer": labels[facts.answers[row]],
            "confidence": float(facts.confidence[row]),
        }
        for row in order.tolist()
    ]  # fmt: skip


def _judge_number(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    facts = RegressionFacts(outputs, targets)
    values = facts.measure(np.ones((1, facts.rows)))
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    return Report(
        kind="regression", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=estimates({name: values[name] for name in REGRESSION}, samples, setting.confidence), per_class=[],
        confusion=None, calibration=[], residuals=_residuals(facts),
        slices=setting.sliced(facts.errors, {**_quarters(facts.targets, answers.target), **setting.slices}, True),
        worst=_worst_values(facts, setting.ids), rows_digest=setting.digest(targets),
        row_errors=facts.errors.astype(np.float32), outputs=outputs,
    )  # fmt: skip


def _judge_forecast(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    """Judge forecasts; windows overlap, so the intervals come of blocks as long as a future or a season.

    The worst windows are told column by column, since one may be far off where the others are not.
    """
    assert answers.columns is not None
    facts = ForecastFacts(outputs, targets, answers.scale, answers.naive, answers.levels)
    names = (*FORECASTS, *(QUANTILES if answers.levels else ()))
    middle = outputs[..., answers.levels.index(0.5)] if answers.levels else outputs
    values = facts.measure(np.ones((1, facts.rows)))
    # Of fewer than five blocks every draw would be nearly the same, and the intervals narrower than they are.
    block = min(max(answers.horizon, answers.season), max(1, facts.rows // 5))
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed, block)
    return Report(
        kind="forecast", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=estimates({name: values[name] for name in names}, samples, setting.confidence), per_class=[],
        confusion=None, calibration=[], residuals=None, slices=[],
        worst=_worst_windows(middle, targets, answers, setting.ids),
        rows_digest=setting.digest(targets.reshape(len(targets), -1)),
        row_errors=np.sqrt(facts.squares).astype(np.float32), outputs=outputs,
        forecast={
            "columns": list(answers.columns), "season": answers.season, "by_step": facts.by_step.tolist(),
            "by_column": facts.by_column.tolist(), **({"levels": list(answers.levels)} if answers.levels else {}),
        },
    )  # fmt: skip


def _worst_windows(
    middle: np.ndarray, targets: np.ndarray, answers: Answers, ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the worst windows of each column, the largest error first; what overlaps a worse one tells nothing new.

    The error is a window's root mean squared error; of several columns in each one's spread, so that they compare.
    """
    columns = answers.columns or ()
    misses = np.sqrt(np.square(middle - targets).mean(axis=1))
    if len(columns) > 1:
        misses = misses / np.asarray(answers.scale)
    found: list[dict[str, Any]] = []
    apart: list[tuple[int, int]] = []
    for place in np.argsort(-misses, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(columns))
        if any(own == column and abs(row - other) < answers.horizon for other, own in apart):
            continue
        apart.append((row, column))
        name = f", {columns[column]}" if len(columns) > 1 else ""
        found.append(
            {
                "row": row, "id": f"{ids[row]}{name}", "expected": float(targets[row, :, column].mean()),
                "answer": float(middle[row, :, column].mean()), "error": float(misses[row, column]),
            }
        )  # fmt: skip
        if len(found) == WORST:
            break
    return found


def _judge_vectors(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    """Judge vectors by their neighbours; a row is wrong where its nearest neighbour has another label."""
    if len(targets) < 2:
        raise InputError("one row has no neighbours", expected="2 rows or more", received="1")
    facts = EmbeddingFacts(outputs, targets)
    values = facts.measure(np.ones((1, facts.rows)))
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    wrong = (1 - facts.hits).astype(np.uint8)
    names = setting.slices.get(answers.target, targets.astype(str))
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-facts.cosines[order, 0], kind="stable")][:WORST]
    return Report(
        kind="embedding", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=setting.edged(estimates({name: values[name] for name in EMBEDDINGS}, samples, setting.confidence),
        dict.fromkeys(EMBEDDINGS, facts.rows)), per_class=[],
        confusion=None, calibration=[], residuals=None,
        slices=setting.sliced(wrong.astype(np.float64), setting.slices, False, "recall_at_1"),
        worst=[
            {
                "row": row, "id": setting.ids[row], "expected": str(names[row]),
                "answer": str(names[facts.near[row, 0]]), "confidence": float(facts.cosines[row, 0]),
            }
            for row in order.tolist()
        ],
        rows_digest=setting.digest(targets), row_errors=wrong, outputs=outputs,
    )  # fmt: skip


def _judge_language(losses: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    """Judge a language model by the loss of every token; of the worst windows their mean loss is told."""
    facts = LanguageFacts(losses, targets, answers.sizes)
    values = facts.measure(np.ones((1, facts.rows)))
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    means = facts.losses / facts.tokens
    order = np.argsort(-means, kind="stable")[:WORST]
    return Report(
        kind="language", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=estimates({name: values[name] for name in LANGUAGE}, samples, setting.confidence), per_class=[],
        confusion=None, calibration=[], residuals=None, slices=[],
        worst=[{"row": row, "id": setting.ids[row], "error": float(means[row])} for row in order.tolist()],
        rows_digest=setting.digest(targets), row_errors=means.astype(np.float32), outputs=losses,
    )  # fmt: skip


def _quarters(targets: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Return each row's quarter of the target, as a column to slice by; none where the target has too few values."""
    edges = np.unique(np.quantile(targets, [0, 0.25, 0.5, 0.75, 1]))
    if len(edges) < 3:
        return {}
    codes = np.clip(np.searchsorted(edges, targets, side="left") - 1, 0, len(edges) - 2)
    texts = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges.tolist())]
    return {name: np.asarray(texts, dtype=object)[codes]}


def _residuals(facts: RegressionFacts) -> dict[str, Any]:
    """Describe the residuals; the histogram spans all but the outermost 1 %, which its end bins take in."""
    low, high = np.quantile(facts.errors, [0.005, 0.995])
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    counts, _ = np.histogram(np.clip(facts.errors, edges[0], edges[-1]), edges)
    shown = np.unique(np.linspace(0, facts.rows - 1, min(_POINTS, facts.rows)).astype(np.int64))
    marks = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "points": np.stack([facts.values[shown], facts.targets[shown]], axis=1).tolist(),
        "quantiles": {f"{mark:g}": float(np.quantile(facts.errors, mark)) for mark in marks},
    }


def _worst_values(facts: RegressionFacts, ids: list[str]) -> list[dict[str, Any]]:
    order = np.argsort(-np.abs(facts.errors), kind="stable")[:WORST]
    return [
        {
            "row": row, "id": ids[row], "expected": float(facts.targets[row]), "answer": float(facts.values[row]),
            "error": float(facts.errors[row]),
        }
        for row in order.tolist()
    ]  # fmt: skip
