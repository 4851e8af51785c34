from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss

from bedplate.core.errors import InputError
from bedplate.models.network import rising
from bedplate.objectives import objectives
from bedplate.objectives.quantile import pinball


@given(st.integers(0, 99), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4))
def test_the_loss_is_scikit_learn_s_averaged_over_the_levels(seed: int, levels: list[float]) -> None:
    rng = np.random.default_rng(seed)
    targets, quantiles = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, len(levels)))
    wanted = np.mean(
        [mean_pinball_loss(targets.ravel(), quantiles[..., k].ravel(), alpha=t) for k, t in enumerate(levels)]
    )
    found = pinball(torch.tensor(quantiles), torch.tensor(targets), torch.tensor(levels, dtype=torch.float64))
    assert found.item() == pytest.approx(wanted)


def test_what_minimises_it_are_the_quantiles() -> None:
    sample = torch.tensor(np.random.default_rng(0).gamma(2, 1, 4000))
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    found = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([found], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        pinball(found.expand(len(sample), 3), sample, levels).backward()
        optimizer.step()
    np.testing.assert_allclose(found.detach().numpy(), np.quantile(sample.numpy(), [0.1, 0.5, 0.9]), atol=0.05)


@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=7))
def test_quantiles_never_cross_and_the_middle_stays(values: list[float]) -> None:
    found = rising(torch.tensor([values]))[0].tolist()
    assert found == sorted(found)
    assert found[len(values) // 2] == values[len(values) // 2]
    assert rising(torch.tensor([sorted(values)]))[0].tolist() == sorted(values)


def test_a_quantile_that_was_lifted_to_its_neighbour_finds_its_own_way_out() -> None:
    sample = torch.tensor(np.random.default_rng(0).gamma(2, 1, 4000))
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    raw = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64, requires_grad=True)  # crossed
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        pinball(rising(raw).expand(len(sample), 3), sample, levels).backward()
        optimizer.step()
    np.testing.assert_allclose(rising(raw).detach().numpy(), np.quantile(sample.numpy(), levels.numpy()), atol=0.05)


@pytest.mark.parametrize("levels", [[0.9, 0.5, 0.1], [0.1, 0.9], [0.5, 0.5], []])
def test_levels_rise_and_have_the_median(levels: list[float]) -> None:
    with pytest.raises(InputError, match=r"rise, and 0\.5"):
        objectives.get("quantile")(levels=levels)
