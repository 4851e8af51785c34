"""Quantiles hold their share of rows that training hasn't seen, once they are moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bedplate.models import Network, predictor
from bedplate.models.registry import Outputs, SeriesInput
from bedplate.training.conformal import FEWEST_ROWS, calibrate_quantiles

LEVELS = (0.1, 0.5, 0.9)


def network(levels: tuple[float, ...] = LEVELS) -> Network:
    """A network that forecasts the columns' means, at every level."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(6, 4 * 2 * max(1, len(levels))))
    nn.init.zeros_(body[1].weight)
    nn.init.zeros_(body[1].bias)
    inputs = SeriesInput(length=3, columns=2, mean=(10.0, -5.0), std=(2.0, 0.5))
    return Network(body, inputs, Outputs(mean=(10.0, -5.0), std=(2.0, 0.5), shape=(4, 2), levels=levels))


def rows(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    draw = np.random.default_rng(seed)
    noise = np.stack([draw.gamma(2, 2, (count, 4)), draw.normal(0, 0.5, (count, 4))], axis=-1)
    return {"history": np.zeros((count, 3, 2), np.float32)}, noise + np.array([10.0, -5.0])


def test_each_level_of_each_column_holds_its_share_of_new_rows() -> None:
    made = network()
    features, targets = rows(400, 0)
    shifts = calibrate_quantiles(made, features, targets)
    assert shifts is not None
    assert (shifts[:, 1] == 0).all()  # the median is what was learnt
    features, targets = rows(4000, 1)
    found = predictor(made)(features)["forecast"]
    assert (np.diff(found, axis=-1) >= 0).all()
    below = (targets[..., None] <= found).mean(axis=(0, 1))
    np.testing.assert_allclose(below[1], LEVELS, atol=0.04)  # symmetrical noise: the median is right, too
    assert below[0, 2] == pytest.approx(0.9, abs=0.04)
    again = calibrate_quantiles(made, *rows(400, 0))
    np.testing.assert_allclose(again[1], 0, atol=1e-5)  # type: ignore[index]


def test_few_rows_and_single_answers_are_left_alone() -> None:
    made = network()
    assert calibrate_quantiles(made, *rows(FEWEST_ROWS - 1, 0)) is None
    assert not made.shift.any()
    assert calibrate_quantiles(network(()), *rows(100, 0)) is None


def test_the_shift_travels_with_the_weights() -> None:
    made, other = network(), network()
    calibrate_quantiles(made, *rows(100, 0))
    other.load_state_dict(made.state_dict())
    assert torch.equal(made.shift, other.shift)
    assert made.shift.any()
    before = {name: tensor for name, tensor in made.state_dict().items() if name != "shift"}
    other.load_state_dict(before)  # sealed before there was a shift
    assert not other.shift.any()
