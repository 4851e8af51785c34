"""What a report tells of the worst rows."""

from __future__ import annotations

import numpy as np
import pytest

from bedplate.codecs.answers import Answers
from bedplate.evaluation import evaluate
from bedplate.evaluation.view import _worst_told


def judged(targets: np.ndarray, outputs: np.ndarray, columns: tuple[str, ...], scale: tuple[float, ...]):  # type: ignore[no-untyped-def]
    answers = Answers(columns[0], columns=columns, horizon=2, scale=scale, naive=(1.0,) * len(columns), season=1)
    ids = [f"day {k}" for k in range(len(targets))]
    return evaluate(
        lambda _: {answers.output: outputs}, {"history": targets}, targets, answers, ids=ids, resamples=0, batch_size=99
    )


def test_the_worst_windows_of_several_series_name_theirs_and_are_in_order() -> None:
    targets = np.zeros((20, 2, 2), np.float32)
    outputs = targets.copy()
    outputs[3, :, 1], outputs[4, :, 1] = 4.0, 3.0  # far off, where the other series is right
    outputs[9, :, 0] = 100.0  # a large number, in a series of large ones
    outputs[10, :, 0] = 90.0
    outputs[15, :, 0] = 50.0
    report = judged(targets, outputs, ("north", "south"), (100.0, 1.0))
    assert [one["id"] for one in report.worst[:3]] == ["day 3, south", "day 9, north", "day 15, north"]
    errors = [one["error"] for one in report.worst]
    assert errors == sorted(errors, reverse=True)
    assert errors[:3] == pytest.approx([4.0, 1.0, 0.5])
    assert report.worst[0]["answer"] == pytest.approx(4.0)
    assert len({one["id"] for one in report.worst}) == len(report.worst)
    assert "in the spread" in _worst_told(report.to_json())


def test_the_worst_windows_of_one_series_are_told_in_its_unit() -> None:
    targets = np.zeros((20, 2, 1), np.float32)
    outputs = targets.copy()
    outputs[7] = [[3.0], [4.0]]
    report = judged(targets, outputs, ("load",), (10.0,))
    assert report.worst[0] == {
        "row": 7, "id": "day 7", "expected": 0.0, "answer": 3.5, "error": pytest.approx(12.5**0.5),
    }  # fmt: skip
    assert "in the spread" not in _worst_told(report.to_json())
    assert "root mean squared error" in _worst_told(report.to_json())
