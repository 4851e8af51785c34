"""Packing: what must not leave stays, and what the recipe asks for by name must exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bedplate import pipeline
from bedplate.bundle import Bundle
from bedplate.core.errors import GateError, InputError
from bedplate.data.embedded import embedded_table

QUICK = ["training.epochs=2", "evaluation.resamples=100", "evaluation.baselines=false", "compression.methods=[]"]


def test_synthetic_golden_rows_keep_the_raw_rows_home(tmp_path: Path) -> None:
    outcome = pipeline.run("wine", tmp_path / "run", overrides=[*QUICK, "serving.golden=synthetic"])
    golden = Bundle.open(outcome.figures["bundle"]).golden
    assert golden.origin == "synthetic"
    assert golden.labels is None
    real = np.array([float(value) for value in embedded_table("wine").columns["proline"]])  # type: ignore[arg-type]
    alcohol = np.array([float(value) for value in embedded_table("wine").columns["alcohol"]])  # type: ignore[arg-type]
    rows = set(zip(real.tolist(), alcohol.tolist(), strict=True))
    assert not rows & set(zip(golden.inputs["proline"].tolist(), golden.inputs["alcohol"].tolist(), strict=True))


def test_real_golden_rows_carry_their_labels(tmp_path: Path) -> None:
    outcome = pipeline.run("wine", tmp_path / "run", overrides=[*QUICK, "serving.golden_rows=9"])
    golden = Bundle.open(outcome.figures["bundle"]).golden
    assert golden.rows == 9
    assert golden.labels is not None
    assert set(golden.labels.tolist()) == {0, 1, 2}


def test_an_unknown_slice_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no slices by"):
        pipeline.run("wine", tmp_path / "run", overrides=[*QUICK, "evaluation.slices=[nothing]"])
    assert not (tmp_path / "run").exists()


def test_the_gate_can_be_raised_from_python(tmp_path: Path) -> None:
    outcome = pipeline.run(
        "wine", tmp_path / "run", overrides=[*QUICK, "gate.minimum={accuracy: 1.0}", "gate.maximum={log_loss: 0.0}"]
    )
    assert not outcome.passed
    with pytest.raises(GateError, match="log_loss is"):
        outcome.raise_for_gate()


def test_a_gate_on_an_unknown_metric_is_a_recipe_error() -> None:
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        pipeline.run("wine", overrides=["gate.minimum={acuracy: 1.0}"])
