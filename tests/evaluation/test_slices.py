from __future__ import annotations

import numpy as np
import pytest

from bedplate.evaluation.slices import slice_drops


def test_drops_are_told_slice_by_slice_the_largest_first() -> None:
    targets = np.zeros(90, int)
    right, wrong = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    before = np.tile(right, (90, 1))
    after = before.copy()
    after[:6] = wrong
    columns = {"half": np.array(["a"] * 30 + ["b"] * 60, object), "few": np.array(["x"] * 5 + ["y"] * 85, object)}
    found = slice_drops(before, after, targets, columns)
    assert [(one.column, one.value, one.rows) for one in found] == [
        ("half", "a", 30), ("few", "y", 85), ("half", "b", 60),
    ]  # fmt: skip
    assert found[0].drop == pytest.approx(20)
    assert found[0].drop_high > 20
    assert found[1].drop == pytest.approx(100 / 85)
    assert found[2].drop == 0
