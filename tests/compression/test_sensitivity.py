from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compression.structures import made, rows

from bedplate.compression.channel_importance import magnitude
from bedplate.compression.channels import channel_groups
from bedplate.compression.divergence import divergence
from bedplate.compression.sensitivity import channel_parts, sensitivity
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
