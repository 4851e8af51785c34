from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.compression.structures import made, rows

from bedplate.compression.channel_importance import magnitude
from bedplate.compression.channels import channel_groups
from bedplate.compression.divergence import divergence
from bedplate.compression.rank_choice import options
from bedplate.compression.sensitivity import channel_parts, lost_at, rank_parts, sensitivity
from bedplate.models import Network, predictor


def test_divergence_is_the_equation() -> None:
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = (0.5 * np.log(2) + 0.5 * np.log(2 / 3) + np.log(2)) / 2
    assert divergence(p, q) == pytest.approx(expected)
    assert divergence(p, p) == 0
    assert divergence(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="compared"):
        divergence(p, q[:1])


def test_each_part_is_judged_alone() -> None:
    network = made("mlp", {"hidden": [16, 16]})
    with torch.no_grad():
        network.body.hidden[0].weight[8:] = 0  # half of the first layer does nothing
        network.body.hidden[0].bias[8:] = 0
    features = rows(network.inputs, 60)
    groups = channel_groups(network, features)

    def answers(smaller: Network) -> np.ndarray:
        return np.asarray(predictor(smaller)(features)["probabilities"])

    parts = channel_parts(network, groups, magnitude(network, groups))
    found = sensitivity(network, parts, (1.0, 0.5, 0.25), answers)
    first, second = found["body.hidden.0"], found["body.hidden.3"]
    assert first[1.0] == second[1.0] == 0
    assert first[0.5] < 1e-10 < second[0.5]
    assert first[0.25] > 1e-6


@given(st.dictionaries(st.floats(0.05, 1), st.floats(0, 10), min_size=1, max_size=6), st.integers(1, 300))
def test_a_smaller_part_never_loses_less(points: dict[float, float], width: int) -> None:
    lost = lost_at({"part": {**points, 1.0: 0.0}}, {"part": width})
    losses = [lost("part", size) for size in range(1, width + 1)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0


def test_losses_lie_between_what_was_measured() -> None:
    lost = lost_at({"part": {0.25: 4.0, 0.5: 1.0, 0.75: 1.5, 1.0: 0.0}}, {"part": 100})
    assert lost("part", 25) == 4.0
    assert lost("part", 75) == 1.5
    assert lost("part", 50) == 1.5  # less than a wider one has lost can only be chance
    assert lost("part", 60) == pytest.approx(1.5)
    assert lost("part", 5) == pytest.approx(20.0)


def test_ranks_are_judged_layer_by_layer() -> None:
    network = made("mlp", {"hidden": [32, 32]})
    with torch.no_grad():
        weight = network.body.hidden[3].weight
        weight.copy_(torch.outer(torch.arange(32.0), torch.ones(32)) / 100)  # of rank 1
    features = rows(network.inputs, 60)

    def answers(smaller: Network) -> np.ndarray:
        return np.asarray(predictor(smaller)(features)["probabilities"])

    found = options(network)
    moved = sensitivity(network, rank_parts(network, found), (0.1, 1.0), answers)
    assert set(moved) == {name for name, option in found.items() if option.break_even}
    assert moved["body.hidden.3"][0.1] < 1e-8 < moved["body.hidden.0"][0.1]
