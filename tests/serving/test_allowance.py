from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from bedplate.serving.allowance import Allowance


def test_it_fills_up_but_not_over() -> None:
    allowance = Allowance(1000.0, 2000.0)
    time.sleep(0.05)
    taken = sum(allowance.take() for _ in range(3000))
    assert 2000 <= taken < 2300


@given(st.lists(st.integers(1, 500), max_size=30), st.integers(1, 1000))
def test_no_more_is_given_than_there_is(wanted: list[int], most: int) -> None:
    allowance = Allowance(1e-6, most)
    taken = [allowance.take(one) for one in wanted]
    assert all(0 <= got <= asked for got, asked in zip(taken, wanted, strict=True))
    assert sum(taken) == min(sum(wanted), most)


def test_it_says_when_there_will_be_more() -> None:
    allowance = Allowance(2.0, 1.0)
    assert allowance.take() == 1
    assert allowance.take() == 0
    pause = allowance.pause()
    assert 0.4 < pause <= 0.5
    time.sleep(pause + 0.01)
    assert allowance.take() == 1
