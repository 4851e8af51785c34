"""The evaluation stage: judge the trained network and its baselines on the test split."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, Predict
from bedplate.core.files import read_json, write_json
from bedplate.data.dataset import Rows
from bedplate.evaluation import Report, evaluate
from bedplate.evaluation.story import coverage_told, missing_lead
from bedplate.generation import Generator
from bedplate.models import Network, predictor
from bedplate.models.baselines import fit_baselines, fit_text_vectors
from bedplate.models.label_baselines import fit_label_baselines
from bedplate.models.language_baselines import fit_language_baselines
from bedplate.models.series_baselines import fit_series_baselines
from bedplate.models.tag_baselines import fit_tag_baselines
from bedplate.stages.evaluate_texts import baseline_texts, judge_texts, writer
from bedplate.stages.work import Work

REPORT, BASELINES = "report.json", "baselines.json"


def judge(work: Work, predict: Predict, inputs: Arrays, rows: Rows, write: Generator | None = None) -> Report:
    """Evaluate a `Predict` on `rows` as the recipe says, and where texts are answered by texts, what `write` writes."""
    spec = work.recipe.evaluation
    slices: Mapping[str, np.ndarray] = rows.slices
    if spec.slices is not None:
        slices = {name: rows.slices[name] for name in spec.slices}
    report = evaluate(
        predict,
        inputs,
        rows.targets,
        work.dataset.answers,
        ids=rows.ids,
        slices=slices,
        resamples=spec.resamples,
        confidence=spec.confidence,
        seed=work.recipe.seed,
    )
    return report if write is None or rows.texts is None else judge_texts(work, report, rows, write)


def evaluate_stage(work: Work, network: Network) -> Report:
    """Judge the network, or return what was found before."""
    fingerprint = work.fingerprint("evaluate")
    folder = work.folder.stage("evaluate")
    if work.folder.manifest("evaluate", fingerprint) is not None:
        work.console.stage("evaluate", "done before")
        return Report.from_json(read_json(folder / REPORT))
    work.folder.begin("evaluate")
    started = time.monotonic()
    test = work.dataset.test
    work.console.stage("evaluate", f"{len(test):,} test rows")
    report = judge(work, predictor(network), work.features(test), test, writer(work, network))
    for line in metric_lines(report):
        work.console.detail(line)
    if missing := missing_lead(work.task.primary, report.metrics):
        work.console.detail(missing)
    if report.forecast is not None:
        work.console.detail("mse and mae are of numbers divided by each column's spread among the training steps")
        covered = coverage_told(report.forecast, report.to_json()["metrics"])
        if covered is not None:
            work.console.detail(covered)
    baselines = _baselines(work) if work.recipe.evaluation.baselines else {}
    if baselines:
        work.console.detail("beside baselines:")
        work.console.table(["", *(names := list(report.metrics))], _rows(report, baselines, names))
    write_json(folder / REPORT, report.to_json())
    write_json(folder / BASELINES, baselines)
    work.folder.finish("evaluate", fingerprint, {"seconds": round(time.monotonic() - started, 3)})
    return report


def _baselines(work: Work) -> dict[str, dict[str, float]]:
    """Return each baseline's test metrics."""
    dataset = work.dataset
    if dataset.test.texts is not None:
        return baseline_texts(work)
    spec = dataset.codec.feature_spec()
    train, targets = work.features(dataset.train), dataset.train.targets
    if dataset.answers.dimensions:
        fitted = fit_text_vectors(train, dataset.answers.dimensions, work.recipe.seed)
    elif dataset.answers.sizes:
        fitted = fit_language_baselines(train, targets, len(dataset.answers.sizes))
    elif dataset.answers.tags is not None:
        fitted = fit_tag_baselines(train, targets, len(dataset.answers.tags))
    elif dataset.answers.many is not None:
        fitted = fit_label_baselines(train, targets)
    elif dataset.answers.columns is not None:
        fitted = fit_series_baselines(train, targets, spec, dataset.answers.season, work.recipe.seed)
    else:
        fitted = fit_baselines(train, targets, spec, work.outputs.classes, work.recipe.seed)
    test = work.features(dataset.test)
    found = {}
    for name, predict in fitted.items():
        report = evaluate(predict, test, dataset.test.targets, dataset.answers, resamples=0, seed=work.recipe.seed)
        # A baseline of a series answers with one number: it has no interval that could hold what came.
        found[name] = {metric: one.value for metric, one in report.metrics.items() if metric != "coverage"}
    return found


def _rows(report: Report, baselines: dict[str, dict[str, float]], names: list[str]) -> list[list[str]]:
    rows = [["this model", *(f"{report.metrics[name].value:.4g}" for name in names)]]
    return rows + [
        [label, *(f"{figures[name]:.4g}" if name in figures else "–" for name in names)]
        for label, figures in baselines.items()
    ]


def metric_lines(report: Report) -> list[str]:
    """Return each metric with its interval, for the terminal."""
    return [
        f"{name:<10} {e.value:.4f}  ({e.low:.4f} to {e.high:.4f})"
        if abs(e.value) < 100
        else f"{name:<10} {e.value:,.1f}  ({e.low:,.1f} to {e.high:,.1f})"
        for name, e in report.metrics.items()
    ]


def baselines_of(work: Work) -> dict[str, dict[str, float]]:
    """Return the baselines that the evaluation stage wrote."""
    found: dict[str, dict[str, float]] = read_json(work.folder.stage("evaluate") / BASELINES)
    return found


def metrics_json(report: Report) -> dict[str, Any]:
    """Return `{name: {value, low, high}}`."""
    return {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in report.metrics.items()}
