"""Batches: counted, cut and joined by rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.arrays import concatenate, count, predict_in_batches, take


@given(st.integers(1, 50), st.integers(1, 60))
def test_batches_give_what_the_whole_gives(rows: int, size: int) -> None:
    x = np.arange(rows, dtype=np.float32)
    seen: list[int] = []

    def predict(inputs):  # type: ignore[no-untyped-def]
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    assert predict_in_batches(predict, {"x": x}, size)["y"].tolist() == (x * 2).tolist()
    assert max(seen) <= size


def test_disagreeing_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        count({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="no rows"):
        predict_in_batches(lambda x: x, {"a": np.zeros(0)})
    assert take(concatenate([{"a": np.arange(2)}, {"a": np.arange(3)}]), slice(1, 3))["a"].tolist() == [1, 0]
