"""How points are drawn: by position alone, so that a sweep that was cut off draws what it would have drawn."""

from __future__ import annotations

import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import TrialState

from bedplate.experiments.sampling import REASON, counts, make_pruner, make_sampler
from bedplate.recipe.search import SearchSpec


def draw(sampler: str, trials: int, *, seed: int = 5, lose: int | None = None) -> list[float]:
    """Return the points of a study on a parabola; trial `lose` is cut off, and begun again by a new process."""
    study = optuna.create_study()

    def begin() -> None:
        made = make_sampler(SearchSpec(sampler=sampler), seed)  # type: ignore[arg-type]
        made.watch(study)
        study.sampler = made

    begin()
    while sum(map(counts, study.trials)) < trials:
        trial = study.ask()
        x = trial.suggest_float("x", -1, 1)
        if trial.number == lose:
            study.tell(trial, state=TrialState.FAIL)
            study.enqueue_trial({"x": x})
            begin()
            continue
        study.tell(trial, x * x)
    return [trial.params["x"] for trial in study.trials if counts(trial)]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_sweep_that_was_cut_off_draws_the_same_points(sampler: str) -> None:
    whole = draw(sampler, 14)
    assert len(set(whole)) == 14
    assert draw(sampler, 14) == whole
    for lost in (0, 3, 9):
        assert draw(sampler, 14, lose=lost) == whole
    assert draw(sampler, 14, seed=6) != whole


def test_tpe_comes_nearer_than_chance() -> None:
    def nearest(sampler: str) -> float:
        return sum(min(abs(x) for x in draw(sampler, 25, seed=seed)[10:]) for seed in range(6))

    assert nearest("tpe") < nearest("random")


def test_a_lost_trial_does_not_count_and_a_diverged_one_does() -> None:
    study = optuna.create_study()
    lost, diverged = study.ask(), study.ask()
    diverged.set_user_attr(REASON, "diverged")
    for trial in (lost, diverged):
        study.tell(trial, state=TrialState.FAIL)
    assert [counts(trial) for trial in study.trials] == [False, True]


def test_pruners_by_name() -> None:
    assert isinstance(make_pruner("median", 20, 10), MedianPruner)
    assert isinstance(make_pruner("hyperband", 20, 10), HyperbandPruner)
    assert isinstance(make_pruner("none", 20, 10), NopPruner)
