"""The LSTM beside torch's, and what its gates are for."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import same_as_torch
from torch import Tensor, nn
from torch.func import functional_call

from bedplate.reference import LSTM, Layer, Recurrent

NAMES = {"input_weight": "weight_ih_l0", "state_weight": "weight_hh_l0", "bias": "bias_ih_l0"}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4), time=st.integers(1, 7), inputs=st.integers(1, 4), units=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_lstm_is_torchs(rows: int, time: int, inputs: int, units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = LSTM(inputs, units, rng)
    layer.parameters["bias"] += rng.normal(size=4 * units)
    module = nn.LSTM(inputs, units, batch_first=True, dtype=torch.float64)

    def run(x: Tensor, **parameters: Tensor) -> Tensor:
        second = torch.zeros_like(parameters["bias_ih_l0"])
        out: Tensor = functional_call(module, {**parameters, "bias_hh_l0": second}, (x,))[0]
        return out

    same_as_torch(layer, run, rng.normal(size=(rows, time, inputs)), rng, NAMES)


def first_steps_gradient(layer: Layer, time: int) -> float:
    """Return the size of ∂(last state)/∂(first step)."""
    x = np.random.default_rng(1).normal(size=(1, time, 4))
    gradient = np.zeros(layer.forward(x).shape)
    gradient[:, -1] = 1.0
    return float(np.abs(layer.backward(gradient)[:, 0]).max())


def test_gradients_last_longer_than_in_the_plain_recurrence() -> None:
    # With open forget gates the memory's gradient hardly fades; the plain state's does, at every tanh.
    rng = np.random.default_rng(0)
    gated, plain = LSTM(4, 16, rng), Recurrent(4, 16, rng)
    gated.parameters["bias"][16:32] = 6.0
    assert first_steps_gradient(gated, 60) > 1000 * first_steps_gradient(plain, 60)
