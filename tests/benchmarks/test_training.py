"""What the training benchmark keeps: a part that is measured anew takes nothing from the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.training import __main__ as training

FIGURES = {
    "machine": {"cpu": "a processor", "threads": 1, "versions": {"torch": "2"}}, "date": "2026-11-27", "rows": 160,
    "rounds": 3, "peak": {"float32": 1e9, "bfloat16": 2e9},
    "models": {"lstm": {
        "Bedplate": {"first_step_seconds": 1.0, "median": 200.0, "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0},
        "other": {"first_step_seconds": 2.0, "median": 400.0, "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6},
    }},
}  # fmt: skip


def test_a_part_that_is_measured_anew_leaves_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training, "RESULTS", tmp_path / "training.json")
    (tmp_path / "training.json").write_text(json.dumps({"rows": {"date": "before"}, "lstm": {"date": "before"}}))
    training.keep("lstm", FIGURES)
    found = json.loads((tmp_path / "training.json").read_text())
    assert found["rows"] == {"date": "before"}
    assert found["lstm"]["date"] == "2026-11-27"


def test_who_is_slower_than_a_peer_says_so() -> None:
    lines = training.table(FIGURES).splitlines()
    assert "| Bedplate | 200 |  | 1.0 s |" in lines
    assert "| other | 400 | 0.50 (0.40 to 0.60) | 2.0 s |" in lines
    assert any("batch 32, 160 rows an epoch, 3 rounds" in line for line in lines)


def test_every_model_is_trained_by_bedplate_and_by_a_plain_loop() -> None:
    for model in training.ALL:
        files = {peer.file for peer in training.TRAINERS if model in peer.models}
        assert {"bedplate_.py", "keras_.py"} < files
        assert files & {"plain.py", "plain_texts.py"}
        assert training.rows_of(model) == training.ROWS[training.part_of(model)]


def test_texts_are_handed_over_as_numbers_without_change() -> None:
    class Codec:
        def features(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"tokens": inputs["text"] * 2}

    rows = {"text": np.arange(6).reshape(2, 3)}
    np.testing.assert_array_equal(training.matrix_of("lstm", Codec(), rows, rows), rows["text"] * 2)  # type: ignore[arg-type]
