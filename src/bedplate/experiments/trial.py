"""One trial of a sweep: the training stage alone, told of every epoch, stopped where it falls behind."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from bedplate.core.console import Console
from bedplate.core.errors import GateError, InputError, RunError
from bedplate.experiments.search_space import SearchSpace, overrides
from bedplate.experiments.storage import BEAT, BEAT_SECONDS, OWN, RETRY, WORKER, worker
from bedplate.stages.data import load_data
from bedplate.stages.folder import RunFolder
from bedplate.stages.resolve import resolve
from bedplate.stages.train import history, train_stage
from bedplate.stages.work import Work
from bedplate.training.run import Event, Run

FIGURES = "figures"
Told = Callable[[int, int, dict[str, float]], None]
"""Takes an epoch's number, how many there are, and its figures."""


@dataclass(frozen=True)
class Bench:
    """What the trials of a sweep share.

    Attributes:
        recipe: the file that every trial starts from.
        work: the recipe's own work: its data serve every trial, unless the space touches them.
        space: what a trial may change.
        objectives: what it is judged by.
        folder: where trials train; a finished trial's folder is removed.
        prune: the epoch's figure by which a trial may be stopped, or None.
    """

    recipe: Path
    work: Work
    space: SearchSpace
    objectives: Sequence[str]
    folder: Path
    prune: str | None


@dataclass(frozen=True)
class Ended:
    """How a trial ended: its objectives' values, or why there are none; with the figures of the weights it kept."""

    values: list[float] | None
    figures: dict[str, float]
    reason: str | None = None


class _Watch:
    """The training hook: says that the worker lives, reports each epoch, and stops a trial that falls behind."""

    def __init__(self, trial: optuna.Trial, figure: str | None, *, prune: bool, told: Told) -> None:
        self._trial, self._figure, self._prune, self._told = trial, figure, prune, told
        self._reported = 0
        self._beaten = time.time()

    def __call__(self, event: Event, run: Run) -> None:
        """Take note of a step or an epoch."""
        now = time.time()
        if now - self._beaten > BEAT_SECONDS:
            self._beaten = now
            self._trial.set_user_attr(BEAT, now)
        if event != "epoch":
            return
        for entry in run.history[self._reported :]:  # a trial that was taken up again has several to report
            if self._figure is not None:
                self._trial.report(entry[self._figure], step=int(entry["epoch"]))
        self._reported = len(run.history)
        self._told(run.epoch, run.epochs, run.history[-1])
        if self._prune and not run.finished and self._trial.should_prune():
            raise optuna.TrialPruned


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return a trial's value of one setting."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def run_trial(bench: Bench, trial: optuna.Trial, told: Told) -> Ended:
    """Train one trial and return how it ended. The test rows are never looked at.

    The first trial is the recipe itself: what keeps it from training is raised, and it is never stopped early.

    Raises:
        Interrupted: the trial's checkpoint is kept, and whoever takes it up again continues from there.
    """
    trial.set_user_attr(WORKER, worker())
    trial.set_user_attr(BEAT, time.time())
    own = bool(trial.user_attrs.get(OWN))
    distributions = bench.space.distributions()
    wanted = bench.space.own if own else distributions
    drawn = {key: suggest(trial, key, distributions[key]) for key in wanted}
    folder = RunFolder(bench.folder / f"{trial.user_attrs.get(RETRY, trial.number):05d}")
    watch = _Watch(trial, bench.prune, prune=bench.prune is not None and not own, told=told)
    try:
        ended = _trained(bench, {} if own else bench.space.decode(drawn), folder, watch)
    except optuna.TrialPruned:
        ended = Ended(None, {})
    except GateError as error:
        ended = Ended(None, {}, f"diverged: {error.received or error.what}")
    except (InputError, MemoryError, torch.OutOfMemoryError) as error:
        if own:
            raise
        ended = Ended(None, {}, str(error).splitlines()[0] if str(error) else "out of memory")
    shutil.rmtree(folder.path, ignore_errors=True)
    return ended


def _trained(bench: Bench, changes: dict[str, Any], folder: RunFolder, watch: _Watch) -> Ended:
    resolved = resolve(str(bench.recipe), overrides(changes))
    quiet = Console(quiet=True)
    if bench.space.touches_data() and changes:
        work = Work(resolved, load_data(resolved, quiet), folder, quiet)
    else:
        work = bench.work.sibling(resolved, folder, quiet)
    try:
        train_stage(work, resume=True, hooks=(watch,))
    except RunError:  # what was left of it can't be continued exactly: another thread count, another torch
        train_stage(work, resume=False, hooks=(watch,))
    facts = folder.manifest("train")
    assert facts is not None
    kept = history(work)[facts["best_epoch"] - 1]
    figures = {key: value for key, value in kept.items() if key.startswith("validation_")}
    figures |= {key: facts[key] for key in ("seconds", "parameters", "epochs", "best_epoch")}
    return Ended([float(figures[name]) for name in bench.objectives], figures)
