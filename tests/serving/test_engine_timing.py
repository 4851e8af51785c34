"""Engines are timed in turns: the faster one wins, within the budget, and batches grow only where that pays."""

import time
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.arrays import Arrays, count
from bedplate.serving.engine_timing import Candidate, best_size, race, tiled

ROWS = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}


def sleeper(fixed: float, each: float) -> Callable[[Arrays], dict[str, np.ndarray]]:
    """An engine whose cost is known: it sleeps (which, like an engine's own threads, leaves Python free)."""

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        time.sleep(fixed + each * count(inputs))
        return {"y": inputs["x"]}

    return run


def test_the_faster_engine_is_found_and_the_budget_kept() -> None:
    quick = Candidate("onnxruntime", "f32", 1, 2, sleeper(0.002, 0.002))
    slow = Candidate("openvino", "f32", 1, 2, sleeper(0.002, 0.004))
    begun = time.perf_counter()
    race([quick, slow], ROWS, 1.0)
    assert time.perf_counter() - begun < 2.5
    assert quick.best_rate > 1.3 * slow.best_rate
    assert set(quick.times) == set(slow.times) >= {1, 2, 4}


def test_calls_side_by_side_are_counted_together() -> None:
    alone = Candidate("onnxruntime", "f32", 1, 2, sleeper(0.0, 0.01))
    beside = Candidate("onnxruntime", "f32", 2, 1, sleeper(0.0, 0.01))
    race([alone, beside], ROWS, 0.6, sizes=(1,))
    assert beside.best_rate > 1.5 * alone.best_rate


def test_a_slow_engine_is_timed_with_one_row_and_no_more() -> None:
    slow = Candidate("onnxruntime", "f32", 1, 1, sleeper(0.0, 0.25))
    begun = time.perf_counter()
    race([slow], ROWS, 0.3)
    assert set(slow.times) == {1}
    assert time.perf_counter() - begun < 1.5


def test_tiled_repeats_the_rows() -> None:
    assert tiled(ROWS, 5)["x"][:, 0].tolist() == [0, 2, 4, 0, 2]


def plain_best_size(times: dict[int, float]) -> int:
    best = 1
    for rows in sorted(times):
        if times[rows] / rows > 1.05 * times[best] / best:
            return best
        if times[rows] / rows < 0.97 * times[best] / best:
            best = rows
    return best


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=7))
def test_a_batch_is_never_dearer_a_row_than_a_lone_one(seconds: list[float]) -> None:
    times = {2**k: value for k, value in enumerate(seconds)}
    best = best_size(times)
    assert best == plain_best_size(times)
    assert times[best] / best <= times[1]


def test_batches_grow_while_rows_get_cheaper() -> None:
    assert best_size({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.7}) == 4
    assert best_size({1: 1.0, 2: 2.0, 4: 4.0}) == 1
    assert best_size({1: 1.0, 2: 2.3, 4: 0.1}) == 1
