from __future__ import annotations

import numpy as np
import pytest

from bedplate.checks.battery import SAMPLES, sample_features
from bedplate.compression.cost import macs_and_parameters, prices
from bedplate.core.errors import InputError
from bedplate.models import Outputs, TextInput, build

TEXTS = TextInput(50, 9)
TOKENS = {"tokens": np.random.default_rng(0).integers(1, 50, (4, 7)).astype(np.int32)}
STEPS, SIZE, HIDDEN = 7, 6, 5


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_recurrent_layers_multiply_all_their_matrices_once_a_step(cell: str, gates: int) -> None:
    network = build(cell, {"size": SIZE, "hidden": HIDDEN, "layers": 2, "pooling": "mean"}, TEXTS, Outputs(2), 0)
    cost = macs_and_parameters(network, TOKENS)
    a_way = [gates * HIDDEN * read for read in (SIZE, HIDDEN, HIDDEN, HIDDEN)]  # two layers: inputs, states, twice
    assert cost.macs == 2 * STEPS * sum(a_way) + 2 * HIDDEN * 2
    assert cost.positions["body.ways.1.weight_hh_l1"] == STEPS


def test_an_embedding_is_counted_as_parameters_and_not_multiplied() -> None:
    network = build("transformer-encoder", {"size": 8, "heads": 2, "layers": 1}, TEXTS, Outputs(2), 0)
    cost = macs_and_parameters(network, TOKENS)
    assert cost.macs == STEPS * (8 * 24 + 8 * 8 + 2 * 8 * 32) + 8 * 2
    assert "body.tokens.weight" not in cost.layers
    assert cost.parameters == sum(p.numel() for p in network.parameters()) > 50 * 8


def test_layers_too_small_for_a_clock_are_priced_by_their_parameters() -> None:
    network = build("mlp", {"hidden": [8]}, SAMPLES["a table of numbers"], Outputs(3), 0)
    cost = macs_and_parameters(network, sample_features(SAMPLES["a table of numbers"], rows=4))
    by_parameters = prices(network, cost, "parameters")
    assert prices(network, cost, "cost", dict.fromkeys(by_parameters, 0.0)) == by_parameters
    with pytest.raises(InputError, match="time that can be measured"):
        prices(network, cost, "time", {})
