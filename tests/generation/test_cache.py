"""The past of rows that come and go."""

from __future__ import annotations

import numpy as np

from bedplate.codecs.codec import TensorSpec
from bedplate.generation.cache import Cache

PAST = [TensorSpec("past_length", "int32"), TensorSpec("past_marks", "float32", (-1,)),
        TensorSpec("past_keys", "float32", (2, -1, 3))]  # fmt: skip


def given(rows: int, length: int) -> dict[str, np.ndarray]:
    return {
        "present_marks": np.ones((rows, length), np.float32),
        "present_keys": np.ones((rows, 2, length, 3), np.float32),
    }


def test_a_row_finds_nothing_of_the_one_that_was_there_before() -> None:
    cache = Cache(PAST, 100)
    cache.append([40, 30], given(2, 40))
    for _ in range(3):
        cache.write(given(2, 1))
    cache.remove(1)
    cache.remove(0)
    assert cache.rows == 0
    cache.append([5], given(1, 5))
    cache.write(given(1, 1))
    fed = cache.feed()
    assert fed["past_length"].tolist() == [6]
    assert fed["past_marks"].sum() == 6
    assert fed["past_keys"].sum() == 6 * 2 * 3
