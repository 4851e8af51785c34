"""What a sweep found, as plain JSON: every trial, the recipe's own, the best or the Pareto front, what mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from bedplate.experiments.sampling import REASON, counts
from bedplate.experiments.search_space import SearchSpace
from bedplate.experiments.storage import OWN, WORKER, Direction
from bedplate.experiments.trial import FIGURES

LEAST_FOR_IMPORTANCE = 6
"""With fewer finished trials nothing is said of importance."""

Row = dict[str, Any]


def direction(objective: str) -> Direction:
    """Return whether more of a figure is better: "maximize" or "minimize"."""
    return "maximize" if objective.endswith(("accuracy", "f1")) else "minimize"


def rows(study: optuna.Study, space: SearchSpace) -> list[Row]:
    """Return the trials that count, in order, each with its position as `trial`."""
    found = []
    for position, trial in enumerate(one for one in study.get_trials(deepcopy=False) if counts(one)):
        started, ended = trial.datetime_start, trial.datetime_complete
        found.append(
            {
                "trial": position,
                "own": bool(trial.user_attrs.get(OWN)),
                "state": _state(trial),
                "reason": trial.user_attrs.get(REASON),
                "params": space.decode(trial.params),
                "values": list(trial.values) if trial.state == TrialState.COMPLETE and trial.values else None,
                "figures": trial.user_attrs.get(FIGURES, {}),
                "epochs": len(trial.intermediate_values) or trial.user_attrs.get(FIGURES, {}).get("epochs"),
                "curve": [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
                "seconds": round((ended - started).total_seconds(), 3) if started and ended else None,
                "host": trial.user_attrs.get(WORKER, {}).get("host", "").partition("/")[0],
            }
        )
    return found


def _state(trial: FrozenTrial) -> str:
    if REASON in trial.user_attrs:
        return "failed"
    return {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}.get(trial.state, trial.state.name.lower())


def order(row: Row, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return what sorts finished trials, best first; equal ones by validation loss, then by number."""
    signed = [-v if direction(name) == "maximize" else v for v, name in zip(row["values"], objectives, strict=True)]
    return (*signed, row["figures"].get("validation_loss", math.inf), row["trial"])


def pareto(finished: Sequence[Row], objectives: Sequence[str]) -> list[Row]:
    """Return the trials that no other one beats in every objective, best in the first objective first.

    Of trials that are equal in all objectives, the one with the lower validation loss is taken.
    """
    front: list[Row] = []
    signed: list[tuple[float, ...]] = []
    for row in sorted(finished, key=lambda one: order(one, objectives)):
        mine = order(row, objectives)[: len(objectives)]
        # Whatever could beat this trial is sorted before it.
        if not any(all(a <= b for a, b in zip(other, mine, strict=True)) for other in signed):
            front.append(row)
            signed.append(mine)
    return front


def importance(finished: Sequence[Row], space: SearchSpace, objective: int, seed: int) -> dict[str, float]:
    """Return the share of an objective's variance that each setting explains (fANOVA; Hutter et al. 2014), most first.

    Ranges on a logarithm are taken on it. Empty where fewer than six trials have every setting, or all came out equal.
    """
    whole = [row for row in finished if set(row["params"]) == set(space.dimensions)]
    if len(whole) < LEAST_FOR_IMPORTANCE or len({row["values"][objective] for row in whole}) < 2:
        return {}
    distributions: dict[str, BaseDistribution] = {}
    logarithmic = {key for key, dimension in space.dimensions.items() if dimension.log}
    for key, one in space.distributions().items():
        if isinstance(one, CategoricalDistribution):
            distributions[key] = one
        else:
            low, high = float(one.low), float(one.high)  # type: ignore[attr-defined]
            if key in logarithmic:
                low, high = math.log10(low), math.log10(high)
            distributions[key] = FloatDistribution(low - 1e-9, high + 1e-9)
    study = optuna.create_study()
    for row in whole:
        stored = space.encode(row["params"])
        params = {key: math.log10(value) if key in logarithmic else value for key, value in stored.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=row["values"][objective]))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed % 2**32))
    return {key: round(float(value), 4) for key, value in found.items()}


def result(
    study: optuna.Study, space: SearchSpace, objectives: Sequence[str], *, seed: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the sweep's result: what `--json` prints and `sweep.json` holds.

    Args:
        study: with its trials.
        space: what was searched.
        objectives: by what trials were judged.
        seed: of the importance's forest.
        facts: what else the result says: folder, storage, sampler, seconds.
    """
    trials = rows(study, space)
    finished = [row for row in trials if row["state"] == "complete"]
    front = pareto(finished, objectives)
    best = min(finished, key=lambda row: order(row, objectives), default=None)
    own = next((row for row in finished if row["own"]), None)
    states = [row["state"] for row in trials]
    return {
        **facts,
        "objectives": [{"name": name, "direction": direction(name)} for name in objectives],
        "space": space.to_json(),
        "counts": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "own": own and _short(own),
        "best": best and _short(best),
        "front": [_short(row) for row in front] if len(objectives) > 1 else None,
        "importance": {name: importance(finished, space, index, seed) for index, name in enumerate(objectives)},
        "trials": trials,
    }


def _short(row: Row) -> Row:
    return {key: row[key] for key in ("trial", "params", "values", "figures")}
