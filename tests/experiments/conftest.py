"""One small experiment on the wine table that the room's tests share; nothing writes into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.experiments.experiment import ExperimentOutcome, experiment

WINE = """
name: wine-parts
base: wine
overrides: {training.epochs: 6, evaluation.resamples: 100, training.optimizer.lr: 0.003, serving.golden_rows: 8,
            compression.methods: [int8-dynamic]}
arms:
  full: {}
  tiny: {model.hidden: [1], model.bins: false}
seeds: 3
ensemble: {of: full, combine: vote}
"""


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOutcome:
    folder = tmp_path_factory.mktemp("wine")
    (folder / "wine.yaml").write_text(WINE)
    return experiment(folder / "wine.yaml", folder / "out").raise_for_failures()


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """The same experiment as a file of its own, without an ensemble, that a test may change."""
    path = tmp_path / "wine.yaml"
    path.write_text(WINE.replace("ensemble: {of: full, combine: vote}", ""))
    return path
