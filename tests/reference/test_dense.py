"""Dense, flatten and dropout beside torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import close, same_as_torch
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.reference import Dense, Dropout, Flatten

SIZES = st.integers(1, 6)


@settings(deadline=None)
@given(rows=st.integers(0, 6), inputs=SIZES, outputs=SIZES, seed=st.integers(0, 2**32 - 1))
def test_dense_is_torchs_linear(rows: int, inputs: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = Dense(inputs, outputs, rng)
    layer.parameters["bias"] += rng.normal(size=outputs)
    same_as_torch(layer, functional.linear, rng.normal(size=(rows, inputs)), rng)


def test_dense_by_hand() -> None:
    layer = Dense(2, 1, np.random.default_rng(0))
    layer.parameters = {"weight": np.array([[2.0, -1.0]]), "bias": np.array([0.5])}
    assert layer.forward(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist() == [[-0.5], [0.5]]
    assert layer.backward(np.array([[1.0], [10.0]])).tolist() == [[2.0, -1.0], [20.0, -10.0]]
    assert layer.gradients["weight"].tolist() == [[1.0, 3.0]]
    assert layer.gradients["bias"].tolist() == [11.0]


def test_flatten_is_torchs() -> None:
    rng = np.random.default_rng(0)
    same_as_torch(Flatten(), lambda x: x.flatten(1), rng.normal(size=(3, 2, 4, 5)), rng)


def test_dropout_is_torchs_with_the_same_mask() -> None:
    rng = np.random.default_rng(3)
    layer, x = Dropout(0.4, rng), rng.normal(size=(50, 40)) + 9
    layer.training = True
    y = layer.forward(x)
    kept = layer.mask > 0
    assert 0.55 < kept.mean() < 0.65  # 2,000 draws: 0.6 ± 4.5 standard errors
    close(y, torch.tensor(x) * torch.tensor(kept) / 0.6)
    close(layer.backward(np.ones(x.shape)), kept / 0.6)
    assert not np.array_equal(layer.forward(x), y), "a new mask for every pass"


def test_dropout_does_nothing_in_use() -> None:
    rng = np.random.default_rng(0)
    same_as_torch(Dropout(0.9, rng), lambda x: functional.dropout(x, 0.9, training=False), rng.normal(size=(3, 4)), rng)


def test_wrong_shapes_are_refused_with_both_shapes_named() -> None:
    layer = Dense(3, 2, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"Dense.forward: .*expected \[rows, 3\]; received \[5, 4\]"):
        layer.forward(np.zeros((5, 4)))
    with pytest.raises(InputError, match=r"Dense.backward: .*expected \[0, 2\].*last forward"):
        layer.backward(np.zeros((5, 2)))
    layer.forward(np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"expected \[5, 2\]; received \[5, 3\]"):
        layer.backward(np.zeros((5, 3)))
