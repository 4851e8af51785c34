"""First weights: torch's fans and bounds, the published variances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bedplate.reference import Dense, ReLU, glorot_uniform, he_normal
from bedplate.reference.initialisation import fans


@pytest.mark.parametrize("shape", [(300, 200), (64, 32, 3, 5)])
def test_fans_and_spreads_are_torchs(shape: tuple[int, ...]) -> None:
    weight = torch.empty(shape, dtype=torch.float64)
    assert fans(shape) == nn.init._calculate_fan_in_and_fan_out(weight)
    rng = np.random.default_rng(0)
    bound = math.sqrt(6 / sum(fans(shape)))
    drawn = glorot_uniform(shape, rng)
    torch.manual_seed(0)
    nn.init.xavier_uniform_(weight)
    for found in (np.abs(drawn).max(), weight.abs().max().item()):
        assert 0.999 * bound < found <= bound
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    # 30,000 draws or more: the standard deviation's own error is below 0.5 %.
    assert he_normal(shape, rng).std() == pytest.approx(math.sqrt(2 / fans(shape)[0]), rel=0.02)
    assert he_normal(shape, rng).std() == pytest.approx(weight.std().item(), rel=0.03)


def test_he_keeps_a_signal_through_twenty_layers() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 256))
    for _ in range(20):
        x = ReLU().forward(Dense(256, 256, rng).forward(x))
    assert 0.3 < math.sqrt((x**2).mean()) < 3  # with weights of half the size it would be about 1e-6


def test_the_seed_decides() -> None:
    one, same, other = (he_normal((3, 4), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
