"""One trial: it trains, reports and stops, and looks at no test row."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from tests.experiments.sweeps import TINY, recipe

from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.experiments.storage import WORKER, queue
from bedplate.experiments.sweep_plan import settle
from bedplate.experiments.trial import Bench, run_trial
from bedplate.stages.data import load_data
from bedplate.stages.folder import RunFolder
from bedplate.stages.work import Work


class Untouchable:
    """Rows that nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test rows' {name} was asked for")

    def __len__(self) -> int:
        raise AssertionError("the test rows were counted")


def bench_of(folder: Path, text: str = TINY, prune: str | None = None) -> Bench:
    settled = settle(str(recipe(folder, text)))
    quiet = Console(quiet=True)
    dataset = dataclasses.replace(load_data(settled.resolved, quiet), test=Untouchable())  # type: ignore[arg-type]
    base = folder / "base.yaml"
    base.write_text(settled.base)
    work = Work(settled.resolved, dataset, RunFolder(folder / "trials"), quiet)
    return Bench(base, work, settled.space, settled.objectives, folder / "trials", prune)


def nothing(epoch: int, epochs: int, figures: dict[str, float]) -> None:
    """Hear of an epoch."""


def test_a_trial_trains_and_looks_at_no_test_row(tmp_path: Path) -> None:
    bench, study = bench_of(tmp_path), optuna.create_study()
    trial = study.ask()
    heard: list[tuple[int, int]] = []
    before = time.time()
    ended = run_trial(bench, trial, lambda epoch, epochs, _: heard.append((epoch, epochs)))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert ended.values == [ended.figures["validation_loss"]]
    assert set(ended.figures) >= {"validation_loss", "validation_accuracy", "seconds", "parameters", "best_epoch"}
    assert set(trial.params) == set(bench.space.dimensions)
    assert trial.user_attrs[WORKER]["process"] > 0
    assert trial.user_attrs["beat"] >= before
    assert list((tmp_path / "trials").iterdir()) == [], "a finished trial leaves nothing behind"


def test_the_first_trial_is_the_recipe_itself(tmp_path: Path) -> None:
    bench, study = bench_of(tmp_path), optuna.create_study()
    queue(study, bench.space.encode(bench.space.own), own=True)
    trial = study.ask()
    ended = run_trial(bench, trial, nothing)
    assert bench.space.decode(trial.params) == {
        "training.optimizer.lr": 2e-3, "model.dropout": 0.1, "model.hidden": [8],
    }  # fmt: skip
    study.enqueue_trial(trial.params)
    again = run_trial(bench, study.ask(), nothing)
    assert again.values == ended.values, "the same settings train to the same weights"


def test_a_trial_that_falls_behind_is_stopped(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, prune="validation_loss")
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=1e-9))
    trial = study.ask()
    ended = run_trial(bench, trial, nothing)
    assert ended.values is None
    assert ended.reason is None
    study.tell(trial, state=TrialState.PRUNED)
    assert list(study.trials[0].intermediate_values) == [1]


def test_a_trial_that_diverges_says_so(tmp_path: Path) -> None:
    text = TINY.replace("name: adamw, lr: 2.0e-3", "name: sgd, lr: 2.0e-3").replace("high: 1.0e-1", "high: 1.0e+30")
    bench, study = bench_of(tmp_path, text), optuna.create_study()
    queue(study, {"training.optimizer.lr": 1e30})
    ended = run_trial(bench, study.ask(), nothing)
    assert ended.values is None
    assert ended.reason is not None
    assert ended.reason.startswith("diverged: ")


def test_a_trial_whose_model_does_not_fit_says_so_and_the_recipes_own_raises(tmp_path: Path) -> None:
    text = """\
name: small
task: image-classification
data: {source: digits, limit: 60}
model: {name: cnn, widths: [4, 4, 4, 4], dense: [8], padding: valid}
training: {epochs: 1}
search: {space: {model.padding: [same, valid]}}
"""
    bench, study = bench_of(tmp_path, text), optuna.create_study()
    queue(study, {"model.padding": '"valid"'})
    ended = run_trial(bench, study.ask(), nothing)
    assert ended.reason is not None
    assert "too small" in ended.reason
    queue(study, {"model.padding": '"valid"'}, own=True)
    with pytest.raises(InputError, match="too small"):
        run_trial(bench, study.ask(), nothing)


def test_a_space_that_touches_the_data_reads_them_anew(tmp_path: Path) -> None:
    text = TINY.replace("model.dropout: 0..0.5", "data.limit: [20, 60]")
    bench, study = bench_of(tmp_path, text), optuna.create_study()
    assert bench.space.touches_data()
    rows = []
    for limit in ("20", "60"):
        queue(study, {"data.limit": limit})
        rows.append(run_trial(bench, study.ask(), nothing).values)
    assert rows[0] != rows[1]
