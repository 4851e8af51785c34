"""Judge what is counted in each row: entities found by a tagger, and the labels of rows that may have several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.tags import TagSet, decoded
from bedplate.core.errors import listing
from bedplate.evaluation.bootstrap import Estimate, bootstrap, estimates, interval
from bedplate.evaluation.label_sets import LabelSetFacts
from bedplate.evaluation.metrics import FEWEST_RESAMPLES, LABEL_SETS, PER_CLASS, RANKING_WORK, TAGGING
from bedplate.evaluation.report import Report
from bedplate.evaluation.setting import WORST, Setting
from bedplate.evaluation.tagging import TaggingFacts

_TOLD = 12
"""So many of a sentence's entities are listed."""


def as_wide(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tags' probabilities and numbers filled up to the same words."""
    width = max(outputs.shape[1], targets.shape[1])
    wide = np.pad(outputs, ((0, 0), (0, width - outputs.shape[1]), (0, 0)))
    return wide, np.pad(targets, ((0, 0), (0, width - targets.shape[1])), constant_values=-1)


def judge_tags(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    """Judge tags' probabilities [N, words, tags] by the entities that they make."""
    tags = answers.tag_set
    targets = targets.astype(np.int64)
    facts = TaggingFacts(decoded(outputs, (targets >= 0).sum(axis=1), answers.transitions), targets, tags)
    values = facts.measure(np.ones((1, facts.rows)))
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    units = _sentences_with(facts.found.sum(axis=1), facts.truth.sum(axis=1))
    per_type = _each(tags.types, values["by_type"][0], samples.get("by_type"), facts.found, facts.truth, setting)
    worst = np.argsort(-facts.mistakes, kind="stable")[:WORST]
    size = len(tags.tags)
    there = targets >= 0
    counts = np.bincount(targets[there] * size + facts.answers[there], minlength=size * size)
    return Report(
        kind="tagging", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=setting.edged(
            estimates({name: values[name] for name in TAGGING}, samples, setting.confidence), units
        ),
        per_class=per_type,
        confusion={"labels": list(tags.tags), "counts": counts.reshape(size, size).tolist()}, calibration=[],
        residuals=None, slices=[],
        worst=[
            {
                "row": row, "id": setting.ids[row], "expected": _told(tags, targets[row]),
                "answer": _told(tags, facts.answers[row]), "error": float(facts.mistakes[row]),
            }
            for row in worst.tolist() if facts.mistakes[row]
        ],
        rows_digest=setting.digest(targets), row_errors=facts.counts.astype(np.float32), outputs=outputs,
    )  # fmt: skip


def judge_label_sets(outputs: np.ndarray, targets: np.ndarray, answers: Answers, setting: Setting) -> Report:
    """Judge labels' probabilities [N, K]; of the worst rows it is told how many labels are wrong."""
    names = np.asarray(answers.many, object)
    facts = LabelSetFacts(outputs, targets)
    once = np.ones((1, facts.rows))
    values = facts.measure(once) | facts.ranking(once)
    samples = bootstrap(facts.measure, facts.rows, setting.resamples, setting.seed)
    affordable = max(FEWEST_RESAMPLES, RANKING_WORK // (facts.rows * facts.labels))
    samples |= bootstrap(facts.ranking, facts.rows, min(setting.resamples, affordable), setting.seed)
    units = _rows_with(facts.found.sum(axis=1), facts.truth.sum(axis=1)) | {"subset_accuracy": facts.rows}
    per_label = _each(names.tolist(), values["by_label"][0], samples.get("by_label"), facts.found, facts.truth, setting)
    worst = np.argsort(-facts.wrong, kind="stable")[:WORST]
    return Report(
        kind="multi-label", rows=facts.rows, confidence=setting.confidence, resamples=setting.resamples,
        metrics=setting.edged(
            estimates({name: values[name] for name in LABEL_SETS}, samples, setting.confidence), units
        ),
        per_class=per_label, confusion=None, calibration=[], residuals=None,
        slices=setting.sliced((facts.wrong > 0).astype(np.float64), setting.slices, False, "subset_accuracy"),
        worst=[
            {
                "row": row, "id": setting.ids[row], "expected": listing(names[facts.truth[row] > 0]) or "none",
                "answer": listing(names[facts.found[row] > 0]) or "none", "error": float(facts.wrong[row]),
            }
            for row in worst.tolist() if facts.wrong[row]
        ],
        rows_digest=setting.digest(targets), row_errors=facts.counts.astype(np.float32), outputs=outputs,
    )  # fmt: skip


def _each(
    names: Sequence[str], values: np.ndarray, samples: np.ndarray | None, found: np.ndarray, truth: np.ndarray,
    setting: Setting,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return precision, recall and F1 of every name, with how often it is true.

    Args:
        names: of types or labels [K].
        values: the three figures [3, K].
        samples: of the bootstrap [R, 3, K], or None.
        found: how often each row was given each name [N, K].
        truth: how often each row has it [N, K].
        setting: of the intervals.
    """
    low, high = (values, values) if samples is None else interval(samples, setting.confidence)
    told = []
    for k, name in enumerate(names):
        given = {
            metric: Estimate(float(values[n, k]), float(low[n, k]), float(high[n, k]))
            for n, metric in enumerate(PER_CLASS)
        }
        scores = setting.edged(given, _rows_with(found[:, k], truth[:, k]))
        told.append({"label": name, "rows": int(truth[:, k].sum())} | {key: s.to_json() for key, s in scores.items()})
    return told


def _sentences_with(found: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Return how many sentences each metric rests on, of found and true entities [N]; they are what is drawn."""
    return _rows_with(found, truth) | {"token_accuracy": len(found), "sentence_accuracy": len(found)}


def _rows_with(found: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Return how many rows precision, recall and F1 rest on, of what was found and what is true in each [N]."""
    either = int(((found + truth) > 0).sum())
    return {"precision": int((found > 0).sum()), "recall": int((truth > 0).sum()), "f1": either}


def _told(tags: TagSet, codes: np.ndarray) -> str:
    """Return a sentence's entities, such as "PER 1–2, LOC 7" (words counted from 1)."""
    spans = [
        f"{tags.types[kind]} {first + 1}" + (f"–{behind}" if behind > first + 1 else "")
        for _, first, behind, kind in tags.entities(codes[None]).tolist()
    ]
    more = [f"and {len(spans) - _TOLD} more"] if len(spans) > _TOLD else []
    return ", ".join([*spans[:_TOLD], *more]) or "none"
