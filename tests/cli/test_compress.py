from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bedplate as bp


def test_one_command_gives_a_front_that_predict_takes(digits: dict[str, Any], tmp_path: Path, bedplate: Any) -> None:
    run, out = Path(digits["bundle"]).parent, tmp_path / "front"
    words = ["compress", str(run), "--max-size-mb", "0.2", "--max-drop", "20", "--effort", "quick", "--out", str(out)]
    done = bedplate(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["feasible"]
    chosen = next(point for point in found["front"] if point["name"] == found["chosen"])
    assert chosen["size_bytes"] <= 200_000
    assert set(chosen["metric"]) == {"name", "value", "drop", "drop_high"}
    assert set(chosen["latency_ms"]) == {"median", "p95"}
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    answer = bedplate("predict", chosen["bundle"], str(picture), "--json")
    assert answer.returncode == 0, answer.stderr
    again = bedplate(*words)
    assert again.returncode == 2
    assert "something already" in again.stderr


def test_an_infeasible_budget_ends_with_3_and_says_what_binds(
    digits: dict[str, Any], tmp_path: Path, bedplate: Any
) -> None:
    run = Path(digits["bundle"]).parent
    words = ["--max-size-mb", "0.00001", "--max-drop", "50", "--effort", "quick", "--out", str(tmp_path / "front")]
    done = bedplate("compress", str(run), *words, "--json")
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert not found["feasible"]
    assert found["binding"] == ["max_size_mb"]
    assert "no candidate meets the budget" in done.stderr
    assert "what binds: --max-size-mb" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--max-drop", "lots"], "not a limit"), (["RUN", "--max-drop", "-1"], "not a limit"),
        (["RUN", "--max-size-mb", "nan"], "not a limit"), (["RUN", "--set", "seed=1"], "are for recipes"),
        (["RUN", "--metric", "acuracy"], "did you mean 'accuracy'"), (["RUN", "--steps", "nowhere.yaml"], "can't be read"),
        (["digits", "--target", "arm"], "a budget is for something trained"),
        (["digits", "--max-drop", "1"], "a budget is for something trained"), (["nowhere/run", "--effort", "quick"], "no run and no bundle"),
    ],
)  # fmt: skip
def test_what_cannot_be(words: list[str], message: str, digits: dict[str, Any], bedplate: Any) -> None:
    run = str(Path(digits["bundle"]).parent)
    done = bedplate("compress", *(run if word == "RUN" else word for word in words))
    assert done.returncode == 2
    assert message in done.stderr


def test_python_has_the_same_verb(digits: dict[str, Any], tmp_path: Path) -> None:
    found = bp.compress(Path(digits["bundle"]).parent, max_drop=30, effort="quick", out=tmp_path / "front")
    assert found.choice.feasible
    assert bp.Bundle.open(found.bundles[found.choice.chosen.name]).name == "digits"
