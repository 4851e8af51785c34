"""`bedplate sweep`: what it says, what it prints for machines, and what it exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.experiments.sweeps import recipe


def test_a_sweep_says_its_space_first_and_a_line_a_trial(tmp_path: Path, bedplate: Any) -> None:
    words = [str(recipe(tmp_path)), "--out", str(tmp_path / "s"), "--space", "training.batch_size=[16, 32]"]
    done = bedplate(
        "sweep", *words, "--trials", "3", "--run", "--set", "compression.methods=[]", "evaluation.resamples=100"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "▸ space     4 settings"
    assert any("batch_size" in line and "16 | 32" in line for line in lines[:6])
    assert [line.split()[1] for line in lines if line.strip().startswith("trial ")] == ["0", "1", "2"]
    assert any(line.startswith("▸ best ") for line in lines)
    assert (tmp_path / "s" / "best" / "bundle").is_dir(), "--run carries the best recipe to a bundle"
    assert (tmp_path / "s" / "sweep.html").stat().st_size > 10_000


def test_json_is_one_object_and_quiet_is_a_path(tmp_path: Path, bedplate: Any) -> None:
    words = [
        "sweep",
        str(recipe(tmp_path)),
        "--out",
        str(tmp_path / "s"),
        "--trials",
        "2",
        "--objective",
        "validation_accuracy",
    ]
    done = bedplate(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["objectives"] == [{"name": "validation_accuracy", "direction": "maximize"}]
    assert found["counts"]["complete"] == 2
    assert all(
        Path(found[key]).is_absolute() and Path(found[key]).exists() for key in ("sweep", "best_recipe", "report")
    )
    again = bedplate(*words, "--resume", "--quiet")
    assert again.stdout.strip() == found["best_recipe"]


def test_a_wrong_key_is_exit_code_2_and_writes_nothing(tmp_path: Path, bedplate: Any) -> None:
    done = bedplate("sweep", str(recipe(tmp_path)), "--out", str(tmp_path / "s"), "--space", "model.dropuot=0..0.5")
    assert done.returncode == 2
    assert "did you mean 'dropout'?" in done.stderr
    assert not (tmp_path / "s").exists()
