"""Pooling beside torch's: overlapping windows, left-over borders, ties."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import same_as_torch
from torch.nn import functional

from bedplate.reference import AveragePool, MaxPool

DRAWS = {
    "size": st.integers(1, 3),
    "stride": st.none() | st.integers(1, 4),
    "height": st.integers(3, 8),
    "width": st.integers(3, 8),
    "seed": st.integers(0, 2**32 - 1),
}


@settings(deadline=None)
@given(**DRAWS, ties=st.booleans())
def test_max_pooling_is_torchs(size: int, stride: int | None, height: int, width: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, height, width))
    same_as_torch(
        MaxPool(size, stride), lambda x: functional.max_pool2d(x, size, stride), np.round(x) if ties else x, rng
    )


@settings(deadline=None)
@given(**DRAWS)
def test_average_pooling_is_torchs(size: int, stride: int | None, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, height, width))
    same_as_torch(AveragePool(size, stride), lambda x: functional.avg_pool2d(x, size, stride), x, rng)


def test_by_hand() -> None:
    x = np.array([[[[1.0, 2.0, 9.0], [3.0, 4.0, 9.0], [9.0, 9.0, 9.0]]]])
    largest, mean = MaxPool(2), AveragePool(2)
    assert largest.forward(x).tolist() == [[[[4.0]]]]
    assert mean.forward(x).tolist() == [[[[2.5]]]]
    one = np.ones((1, 1, 1, 1))
    assert largest.backward(one)[0, 0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert mean.backward(one)[0, 0].tolist() == [[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]]
