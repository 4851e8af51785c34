"""Activations beside torch's, far out too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import same_as_torch
from torch import Tensor

from bedplate.reference import Layer, ReLU, Sigmoid, Tanh, sigmoid

PAIRS: list[tuple[type[Layer], Callable[[Tensor], Tensor]]] = [
    (Sigmoid, torch.sigmoid), (Tanh, torch.tanh), (ReLU, torch.relu)
]  # fmt: skip


@pytest.mark.parametrize(("kind", "function"), PAIRS)
@settings(deadline=None)
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=8))
def test_activations_are_torchs(
    kind: Callable[[], Layer], function: Callable[[Tensor], Tensor], values: list[float]
) -> None:
    same_as_torch(kind(), function, np.array([values]), np.random.default_rng(0))


@pytest.mark.parametrize(("kind", "function"), PAIRS)
def test_activations_near_zero(kind: Callable[[], Layer], function: Callable[[Tensor], Tensor]) -> None:
    same_as_torch(kind(), function, np.linspace(-3, 3, 61).reshape(1, -1), np.random.default_rng(0))


def test_sigmoid_never_overflows() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
