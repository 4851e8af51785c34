"""What the cells say together: each arm's mean and spread, its difference to the reference, and if it is real."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.core.files import read_json
from bedplate.evaluation import Report
from bedplate.evaluation.comparison import mcnemar, paired_interval
from bedplate.evaluation.metrics import LOWER_IS_BETTER, within_range
from bedplate.evaluation.significance import FEW_RUNS, FEWEST_RUNS, Significance, holm, mean_interval, paired_t
from bedplate.evaluation.story import PERCENT
from bedplate.experiments.matrix import Cell, Matrix

Facts = Mapping[str, Any]
_RESAMPLES = 2000


def analyse(matrix: Matrix, found: Mapping[Cell, Facts], path: Path) -> dict[str, Any]:
    """Return the comparison as JSON: arms, differences, verdicts and notes.

    Args:
        matrix: the experiment.
        found: what each finished cell wrote.
        path: the experiment's folder, where the cells' reports lie.
    """
    spec, metric, split = matrix.spec, matrix.metric, matrix.spec.split
    overlap = _overlap(matrix, found, split)
    values = {
        arm: {cell.key: _value(found[cell], split, metric) for cell in matrix.of(arm) if cell in found}
        for arm in matrix.arms
    }
    reference = values[matrix.reference]
    arms = [_arm(arm, matrix, found, overlap) for arm in matrix.arms]
    rows = _row_errors(matrix, found, path)
    comparisons = {}
    for arm in matrix.arms:
        if arm == matrix.reference:
            continue
        shared = [key for key in values[arm] if key in reference]
        comparisons[arm] = _compare(
            [values[arm][key] for key in shared], [reference[key] for key in shared], matrix, overlap,
            rows.get(arm), rows.get(matrix.reference),
        )  # fmt: skip
    tested = [arm for arm, one in comparisons.items() if one["p_value"] is not None]
    for arm, adjusted in zip(tested, holm([comparisons[arm]["p_value"] for arm in tested]), strict=True):
        comparisons[arm]["p_holm"] = adjusted
    for one in comparisons.values():
        one["verdict"] = verdict(one, metric, spec.confidence, "fold" if spec.folds else "seed")
    for entry in arms:
        entry["comparison"] = comparisons.get(entry["name"])
    best = _best(arms, metric, split)
    return {
        "metric": metric, "judged_on": split, "reference": matrix.reference, "confidence": spec.confidence,
        "seeds": spec.seed_list, "folds": spec.folds, "resplit": spec.resplit, "overlap": overlap, "arms": arms,
        "best": best, "correction": "Holm" if len(tested) > 1 else None,
        "notes": [*_notes(matrix, arms, overlap, len(tested)), *_unseen(comparisons, metric)],
    }  # fmt: skip


def _value(facts: Facts, split: str, metric: str) -> float:
    entry = facts["metrics"][split].get(metric)
    return float(entry["value"]) if entry else math.nan


def _overlap(matrix: Matrix, found: Mapping[Cell, Facts], split: str) -> float:
    """Return rows judged / rows trained on where cells share rows across different splits, else 0."""
    if not found or not (matrix.spec.folds or (matrix.spec.resplit and len({f["split"] for f in found.values()}) > 1)):
        return 0.0
    return float(np.mean([facts["rows"][split] / facts["rows"]["train"] for facts in found.values()]))


def _arm(arm: str, matrix: Matrix, found: Mapping[Cell, Facts], overlap: float) -> dict[str, Any]:
    cells = [cell for cell in matrix.of(arm) if cell in found]
    facts = [found[cell] for cell in cells]
    entry: dict[str, Any] = {
        "name": arm, "n": len(cells), "runs": [],
        "parameters": facts[0]["parameters"] if facts else None,
        "seconds": float(np.mean([one["seconds"] for one in facts])) if facts else None,
        "curves": _curves([one["history"] for one in facts]),
    }  # fmt: skip
    for cell, one in zip(cells, facts, strict=True):
        figures = {split: _or_none(_value(one, split, matrix.metric)) for split in ("validation", "test")}
        entry["runs"].append({"seed": cell.seed, "fold": cell.fold, "folder": cell.folder, **figures})
    for split in ("validation", "test"):
        known = [run[split] for run in entry["runs"] if run[split] is not None]
        entry[split] = _summary(known, matrix, overlap) if known else None
    return entry


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _summary(values: Sequence[float], matrix: Matrix, overlap: float) -> dict[str, Any]:
    mean, low, high = mean_interval(values, matrix.spec.confidence, overlap=overlap)
    low, high = within_range(matrix.metric, low), within_range(matrix.metric, high)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": mean, "sd": spread, "low": low, "high": high, "n": len(values)}


def _curves(histories: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, list[list[float]]]:
    """Return the mean validation figures by epoch, over the runs that came that far: `{figure: [[epoch, mean]]}`."""
    found: dict[str, list[list[float]]] = {}
    for figure in ("validation_f1", "validation_accuracy", "validation_rmse", "validation_loss"):
        by_epoch: dict[int, list[float]] = {}
        for history in histories:
            for entry in history:
                if figure in entry and math.isfinite(entry[figure]):
                    by_epoch.setdefault(int(entry["epoch"]), []).append(float(entry[figure]))
        if by_epoch:
            found[figure] = [[epoch, float(np.mean(by_epoch[epoch]))] for epoch in sorted(by_epoch)]
    return found


def _row_errors(matrix: Matrix, found: Mapping[Cell, Facts], path: Path) -> dict[str, np.ndarray]:
    """Return each arm's row errors [runs,N] where all cells judged the same rows with accuracy or RMSE, else nothing.

    For classes 1 is wrong; for numbers it is the residual.
    """
    if matrix.metric not in ("accuracy", "rmse") or not found:
        return {}
    file = "validation.json" if matrix.spec.split == "validation" else "evaluate/report.json"
    digests, errors = set(), {}
    for arm in matrix.arms:
        reports = [Report.from_json(read_json(path / c.folder / file)) for c in matrix.of(arm) if c in found]
        digests |= {report.rows_digest for report in reports}
        if reports and len(digests) == 1:
            errors[arm] = np.stack([report.row_errors.astype(np.float64) for report in reports])
    return errors if len(digests) == 1 else {}


def _compare(
    values: Sequence[float],
    reference: Sequence[float],
    matrix: Matrix,
    overlap: float,
    mine: np.ndarray | None,
    yours: np.ndarray | None,
) -> dict[str, Any]:
    """Return the difference of an arm to the reference, as far as the runs allow to say something."""
    confidence = matrix.spec.confidence
    finite = [(a, b) for a, b in zip(values, reference, strict=True) if math.isfinite(a) and math.isfinite(b)]
    empty = dict.fromkeys(("difference", "low", "high", "p_value", "p_holm", "effect", "detectable", "spread"))
    found: dict[str, Any] = {"n": len(finite), "over": None, "method": None, "rows": None, **empty}
    if not finite:
        return found
    if mine is not None and yours is not None:
        found["rows"] = _over_rows(mine, yours, matrix.metric == "rmse", confidence)
    if len(finite) == 1:
        found["difference"] = finite[0][0] - finite[0][1]
        if found["rows"]:
            found |= {"over": "rows", **found["rows"]}
        return found
    test: Significance = paired_t(*zip(*finite, strict=True), confidence=confidence, overlap=overlap)
    return {**found, **test.to_json(), "over": "runs"}


def _over_rows(mine: np.ndarray, yours: np.ndarray, rmse: bool, confidence: float) -> dict[str, Any]:
    """Return the difference over the judged rows, each side's runs taken together (the mean of their row errors)."""
    count = min(len(mine), len(yours))
    mine, yours = mine[:count], yours[:count]
    if rmse:
        first, second = (np.sqrt(np.square(side).mean(axis=0)) for side in (mine, yours))
    else:
        first, second = ((1 - side).mean(axis=0) for side in (mine, yours))
    difference, low, high = paired_interval(
        first, second, rmse=rmse, confidence=confidence, resamples=_RESAMPLES, seed=0
    )
    if count == 1 and not rmse:
        p_value = mcnemar(int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum()))
        method = "McNemar's exact test on the same rows"
    else:
        p_value = paired_t(np.square(first) if rmse else first, np.square(second) if rmse else second).p_value
        method = "paired t-test over the same rows" + ("' squared errors" if rmse else "")
    return {"difference": difference, "low": low, "high": high, "p_value": p_value, "method": method}


def verdict(one: Mapping[str, Any], metric: str, confidence: float, pairs: str = "seed") -> str:
    """Return a comparison in words; it counts as real where the Holm-corrected p is below 1 - confidence."""
    if one["difference"] is None:
        return "no runs to compare"
    if one["p_holm"] is None:
        return "one run each: says nothing"
    better = (one["difference"] < 0) == (metric in LOWER_IS_BETTER)
    word, real = "better" if better else "worse", one["p_holm"] < 1 - confidence
    if one["over"] == "rows":
        ending = f"one run each, other {pairs}s may say otherwise"
        return f"{word} on these rows ({ending})" if real else f"no difference shown ({ending})"
    if one["n"] < FEWEST_RUNS:
        return f"too few runs to conclude (n = {one['n']})"
    if not real:
        few = f" (n = {one['n']} is few)" if one["n"] < FEW_RUNS else ""
        return f"no difference shown{few}"
    rows = one["rows"]
    if rows and rows["low"] <= 0 <= rows["high"]:
        return f"{word} on these rows, not shown beyond them"
    return f"{word}, real"


def _unseen(comparisons: Mapping[str, Mapping[str, Any]], metric: str) -> list[str]:
    """Say how large a difference would have had to be, where none is shown."""
    silent = {
        arm: float(one["detectable"])
        for arm, one in comparisons.items()
        if one["verdict"].startswith("no difference") and one["detectable"]
    }
    if not silent:
        return []
    told = ", ".join(
        f"{100 * least:.2g} points ({arm})" if metric in PERCENT else f"{least:.3g} ({arm})"
        for arm, least in silent.items()
    )
    return [f"Where no difference is shown, only one of about this size could have been: {told}."]


def _best(arms: Sequence[Mapping[str, Any]], metric: str, split: str) -> str | None:
    known = [arm for arm in arms if arm[split]]
    if not known:
        return None
    pick = min if metric in LOWER_IS_BETTER else max
    return str(pick(known, key=lambda arm: arm[split]["mean"])["name"])


def _notes(matrix: Matrix, arms: Sequence[Mapping[str, Any]], overlap: float, tested: int) -> list[str]:
    """Return what the reader must know to take the table for what it is."""
    spec = matrix.spec
    runs = max(arm["n"] for arm in arms)
    notes = []
    if spec.folds:
        repeated = f", repeated with {len(spec.seed_list)} seeds" if len(spec.seed_list) > 1 else ""
        notes.append(
            f"{spec.folds}-fold cross-validation{repeated}: each figure is of rows that its run was not trained on. "
            "Folds share training rows, so plain t-tests would find differences where there are none; the variance is "
            f"corrected by rows judged / rows trained on, here {overlap:.3g} (Nadeau and Bengio 2003)."
        )  # fmt: skip
        cells = {cell.resolved.recipe.data.split.by for cell in matrix.cells}
        if "time" in cells:
            notes.append("Folds by time train on more and more rows; the correction uses their mean share, roughly.")
    elif spec.resplit:
        notes.append(
            "Every seed divides the rows anew. The test is corrected for the rows that the splits share (Nadeau and "
            "Bengio 2003)." if overlap else "Every seed divides the rows anew where the data has no official splits."
        )  # fmt: skip
    else:
        notes.append(
            "All runs share one split. The spread over seeds is that of initial weights, the order of rows and "
            "augmentation; “resplit: true” or “folds” also vary the rows."
        )
    if matrix.instead_of:
        notes.append(
            f"The arms' tokens differ, and {matrix.instead_of} is one of a token, so they are compared by "
            f"{matrix.metric} instead."
        )
    if spec.split == "validation":
        notes.append(
            "Arms are compared and chosen on the validation rows, on which each run also chose its best epoch: their "
            "level is a little flattered, alike for all arms. The test column is reported once an arm and chose "
            "nothing."
        )
    elif not spec.folds:
        notes.append(
            f"{len(arms)} arms were compared on the test rows. Whoever picks an arm by this table picks on the test "
            "split: the winner's figure is then too good, and no longer that of unseen rows."
        )
    if runs < FEWEST_RUNS:
        notes.append(
            f"With {runs} run{'s' * (runs != 1)} an arm nothing can be concluded about the arms themselves: give "
            f"{FEW_RUNS} seeds or more."
        )
    elif runs < FEW_RUNS:
        notes.append(f"n = {runs} is few: “no difference shown” may be a real one that so few runs can't show.")
    if tested > 1:
        notes.append(
            f"p-values are corrected for {tested} comparisons with the reference (Holm 1979). Intervals are those of "
            "one comparison alone."
        )
    missing = [arm["name"] for arm in arms if arm["n"] < runs]
    if missing:
        notes.append(f"Runs are missing of: {', '.join(missing)}. Only pairs that are there are compared.")
    return notes
