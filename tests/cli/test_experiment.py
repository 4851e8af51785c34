"""`bedplate experiment` and `bedplate compare … vs …` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FILE = """
name: small
base: wine
overrides: {training.epochs: 1, evaluation.resamples: 100}
arms: {full: {}, tiny: {model.hidden: [2]}}
seeds: 2
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, bedplate: Any) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(FILE)
    done = bedplate("experiment", "small.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["metric"] == "accuracy"
    assert [arm["n"] for arm in figures["arms"]] == [2, 2]
    assert "2/4" in done.stderr
    return folder


def test_the_report_lies_in_the_default_folder(small: Path) -> None:
    out = small / "runs" / "small"
    assert {path.name for path in out.iterdir()} >= {"experiment.html", "experiment.json", "table.csv", "table.md"}


def test_a_second_time_needs_a_word(small: Path, bedplate: Any) -> None:
    done = bedplate("experiment", "small.yaml", cwd=small)
    assert done.returncode == 2
    assert "--resume" in done.stderr
    again = bedplate("experiment", "small.yaml", "--resume", "--quiet", cwd=small)
    assert again.returncode == 0
    assert again.stdout.strip().endswith("experiment.html")


def test_a_failed_run_is_named_and_exits_with_1(tmp_path: Path, bedplate: Any) -> None:
    broken = FILE.replace("tiny: {model.hidden: [2]}", "broken: {training.optimizer.lr: 1.0e+30}")
    (tmp_path / "e.yaml").write_text(broken.replace("seeds: 2", "seeds: 1"))
    done = bedplate("experiment", "e.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "broken, seed 0" in done.stderr
    assert list(json.loads(done.stdout)["failures"]) == ["broken, seed 0"]


def test_misspelt_files_end_with_2(tmp_path: Path, bedplate: Any) -> None:
    (tmp_path / "e.yaml").write_text(FILE.replace("model.hidden", "model.hiden"))
    done = bedplate("experiment", "e.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'hidden'" in done.stderr


def test_compare_takes_sides(small: Path, bedplate: Any) -> None:
    cells = small / "runs" / "small" / "cells"
    runs = [str(cells / arm / f"seed-{seed}") for arm in ("full", "tiny") for seed in (0, 1)]
    done = bedplate("compare", *runs[:2], "vs", *runs[2:], "--json")
    assert done.returncode == 0, done.stderr
    (verdict,) = json.loads(done.stdout)["verdicts"].values()
    assert verdict["paired"] is True
    assert "too few" in verdict["text"]
    whole = bedplate("compare", str(small / "runs" / "small"))
    assert whole.returncode == 0, whole.stderr
    assert "small: tiny" in whole.stdout
    one = bedplate("compare", runs[0], runs[2], "--json")
    assert json.loads(one.stdout)["verdicts"][runs[2]]["n"] == 1
