"""The recurrent layer beside torch's RNN, through time."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import same_as_torch
from torch import Tensor, nn
from torch.func import functional_call

from bedplate.reference import Dense, LastStep, Recurrent, Sequential

NAMES = {"input_weight": "weight_ih_l0", "state_weight": "weight_hh_l0", "bias": "bias_ih_l0"}


def through(module: nn.RNNBase, **parameters: Tensor) -> Tensor:
    """Run torch's layer with our parameters; its second bias, which adds nothing but itself, is zero."""
    second = torch.zeros_like(parameters["bias_ih_l0"])
    x = parameters.pop("x")
    out: Tensor = functional_call(module, {**parameters, "bias_hh_l0": second}, (x,))[0]
    return out


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4), time=st.integers(1, 7), inputs=st.integers(1, 4), units=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_recurrent_is_torchs_rnn(rows: int, time: int, inputs: int, units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = Recurrent(inputs, units, rng)
    layer.parameters["bias"] += rng.normal(size=units)
    module = nn.RNN(inputs, units, batch_first=True, dtype=torch.float64)
    same_as_torch(layer, lambda x, **p: through(module, x=x, **p), rng.normal(size=(rows, time, inputs)), rng, NAMES)


def test_the_last_step_alone() -> None:
    rng = np.random.default_rng(0)
    same_as_torch(LastStep(), lambda x: x[:, -1], rng.normal(size=(2, 5, 3)), rng)


def test_an_early_step_reaches_the_end_and_gets_its_gradient() -> None:
    rng = np.random.default_rng(0)
    network = Sequential(Recurrent(2, 8, rng), LastStep(), Dense(8, 1, rng))
    x = rng.normal(size=(1, 12, 2))
    changed = x.copy()
    changed[0, 0] += 0.1
    assert abs(network.forward(changed) - network.forward(x)).max() > 1e-6
    network.forward(x)
    assert np.abs(network.backward(np.ones((1, 1)))[0, 0]).max() > 1e-6


def test_the_state_weight_begins_orthogonal() -> None:
    U = Recurrent(3, 6, np.random.default_rng(0)).parameters["state_weight"]
    np.testing.assert_allclose(U @ U.T, np.eye(6), atol=1e-12)
