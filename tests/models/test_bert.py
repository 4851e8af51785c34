"""BERT's encoder beside its plain twin, pooled in every way, whatever stands beside a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.published import BERT, DISTILBERT, random_weights, states, write_checkpoint

from bedplate.core.errors import InputError
from bedplate.models import Network, Outputs, TextInput, build, predictor
from bedplate.models.checkpoints import fitted, read_checkpoint
from bedplate.models.registry import ImageInput

POOLS = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "max": lambda x: x.max(0)}


def network(config: dict[str, Any], outputs: Outputs, folder: Path, **more: Any) -> Network:
    """Return a network with the weights of a checkpoint's folder, by the key map."""
    checkpoint = read_checkpoint(write_checkpoint(folder, config))
    made = build("bert", {**checkpoint.arguments, **more}, TextInput(300, 32), outputs, 0)
    made.body.load_state_dict(fitted(checkpoint.weights(), 300, 0, "here"), strict=False)
    return made


@pytest.mark.parametrize("pooling", POOLS)
@pytest.mark.parametrize("config", [BERT, DISTILBERT], ids=["bert", "distilbert"])
def test_vectors_are_the_plain_twins_in_any_batch(config: dict[str, Any], pooling: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = [draw.integers(1, 120, size).tolist() for size in (1, 2, 7, 32, 5)]
    wanted = np.stack([POOLS[pooling](states(config, random_weights(config), row)) for row in rows])
    made = network(config, Outputs(vector=16, normalise=False), tmp_path, pooling=pooling)
    tokens = np.zeros((5, 32), np.int32)
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = row
    np.testing.assert_allclose(predictor(made)({"tokens": tokens})["embedding"], wanted, atol=2e-5)
    for k, row in enumerate(rows):
        alone = predictor(made)({"tokens": np.array([row], np.int32)})["embedding"]
        np.testing.assert_allclose(alone[0], wanted[k], atol=2e-5)


def test_a_vector_is_normalised_and_projected_where_it_is_asked(tmp_path: Path) -> None:
    tokens = {"tokens": np.array([[5, 6, 7], [8, 0, 0]], np.int32)}
    own = network(BERT, Outputs(vector=16), tmp_path)
    assert isinstance(own.body.head, torch.nn.Identity)
    np.testing.assert_allclose(np.linalg.norm(predictor(own)(tokens)["embedding"], axis=1), 1, atol=1e-6)
    shorter = network(BERT, Outputs(vector=4), tmp_path)
    assert predictor(shorter)(tokens)["embedding"].shape == (2, 4)


def test_what_it_is_not_made_for_is_refused() -> None:
    with pytest.raises(InputError, match="at most 8, the model's positions; received 9"):
        build("bert", {"positions": 8}, TextInput(50, 9), Outputs(2), 0)
    with pytest.raises(InputError, match="multiple of the heads"):
        build("bert", {"size": 10, "heads": 4}, TextInput(50, 9), Outputs(2), 0)
    with pytest.raises(InputError, match="for texts"):
        build("bert", {}, ImageInput(8, 8, 1, (0.0,), (1.0,)), Outputs(2), 0)
