from __future__ import annotations

import numpy as np
import pytest

from bedplate.compression.cost import macs_and_parameters
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
