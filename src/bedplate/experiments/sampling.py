"""How a sweep chooses the next point, and which trials it stops early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from bedplate.core.seeds import derive
from bedplate.recipe.search import SearchSpec

REASON = "reason"
"""The attribute of a failed trial that says why; a failed trial without it was lost, and another takes its place."""


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial counts among the sweep's trials: a lost one doesn't."""
    return trial.state != TrialState.FAIL or REASON in trial.user_attrs


class PositionSeeded(BaseSampler):
    """A sampler made anew for every trial, seeded by the sweep's seed and the trial's position.

    So nothing random is carried from trial to trial: a sweep that was killed and taken up again draws the points that
    it would have drawn, and machines that work on one study draw different ones.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._inner = make(derive(seed, "sweep", 0) % 2**32)
        self._study: optuna.Study | None = None

    def watch(self, study: optuna.Study) -> None:
        """Count positions in `study`; pruners show samplers a part of it."""
        self._study = study

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        trials = (self._study or study).get_trials(deepcopy=False)
        position = sum(counts(other) and other.number < trial.number for other in trials)
        self._inner = self._make(derive(self._seed, "sweep", position) % 2**32)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what the sampler draws together."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw what belongs together."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one setting."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the sampler note a trial's end."""
        self._inner.after_trial(study, trial, state, values)


def make_sampler(spec: SearchSpec, seed: int) -> PositionSeeded:
    """Return the sampler that a recipe asks for; a grid's points are queued, so that none is drawn."""
    start = max(4, min(10, spec.trials // 3))
    population = max(8, min(50, spec.trials // 4))
    makers: dict[str, Callable[[int], BaseSampler]] = {
        "tpe": lambda one: TPESampler(seed=one, n_startup_trials=start),
        "random": lambda one: RandomSampler(seed=one),
        "grid": lambda one: RandomSampler(seed=one),
        "nsga2": lambda one: NSGAIISampler(seed=one, population_size=population),
    }
    return PositionSeeded(makers[spec.sampler], seed)


def make_pruner(name: str, trials: int, epochs: int) -> BasePruner:
    """Return the pruner called `name` for so many trials of so many epochs."""
    if name == "median":
        warm_up = max(1, epochs // 3)  # a schedule that warms up shows nothing in its first epochs
        return MedianPruner(n_startup_trials=max(3, min(5, trials // 4)), n_warmup_steps=warm_up)
    if name == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=max(1, epochs), reduction_factor=3)
    return NopPruner()
