from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compression.structures import check_rebuilt, made, rows
from tests.training.samples import mlp, table

from bedplate.compression.sparsity import (
    GradualPruning,
    apply_masks,
    compressed_bytes,
    cubic_share,
    magnitude_masks,
    prunable_weights,
    random_masks,
    sparse,
    zeros_share,
)  # fmt: skip
from bedplate.export import export_network
from bedplate.objectives import objectives
from bedplate.recipe.schema import TrainingSpec
from bedplate.training import train

WEIGHTS = {"a": torch.tensor([[3.0, -0.1], [0.2, -4.0]]), "b": torch.tensor([[5.0, 6.0], [-7.0, 8.0]])}


def test_the_smallest_go_first() -> None:
    overall = magnitude_masks(WEIGHTS, 0.5)
    assert overall["a"].tolist() == [[False, False], [False, False]]
    assert overall["b"].all()
    each = magnitude_masks(WEIGHTS, 0.5, scope="layer")
    assert each["a"].tolist() == [[True, False], [False, True]]
    assert each["b"].tolist() == [[False, False], [True, True]]


@given(st.floats(0, 1), st.sampled_from(["global", "layer"]), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_share_is_kept_exactly(share: float, scope: str, chance: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    weights = {"a": torch.randn(7, 5, generator=draw), "b": torch.randn(3, 2, 3, 3, generator=draw)}
    masks = (
        random_masks(weights, share, scope=scope, seed=seed) if chance else magnitude_masks(weights, share, scope=scope)
    )  # type: ignore[arg-type]
    gone = {name: int((~mask).sum()) for name, mask in masks.items()}
    if scope == "global":
        assert sum(gone.values()) == int(share * 89 + 1e-9)
    else:
        assert gone == {"a": int(share * 35 + 1e-9), "b": int(share * 54 + 1e-9)}
    assert all(mask.shape == weights[name].shape for name, mask in masks.items())


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1), st.integers(0, 120))
def test_the_schedule_rises_from_nothing_to_the_end(first: int, length: int, final: float, step: int) -> None:
    last = first + length
    share = cubic_share(step, first, last, final)
    assert 0 <= share <= final + 1e-12
    assert share <= cubic_share(step + 1, first, last, final) + 1e-12
    assert cubic_share(last, first, last, final) == final
    assert length == 0 or cubic_share(first, first, last, final) == pytest.approx(0)
    assert cubic_share(first - 1, first, last, final) == 0


def test_the_schedule_is_the_equation() -> None:
    assert cubic_share(15, 10, 20, 0.8) == pytest.approx(0.8 - 0.8 * 0.5**3)
    with pytest.raises(ValueError, match="before the first"):
        cubic_share(0, 2, 1, 0.5)


def test_training_ends_as_sparse_as_was_asked() -> None:
    network, hook = mlp(), GradualPruning(0.7, 5, 60, every=5)
    seen: list[float] = []
    run = train(
        network, objectives.get("cross-entropy")(), table(), TrainingSpec(epochs=6, batch_size=16), seed=0,
        select="accuracy", identity={}, hooks=[hook, lambda event, run: seen.append(zeros_share(run.network))],
    )  # fmt: skip
    total = sum(weight.numel() for weight in prunable_weights(network).values())
    assert run.step > 60
    assert zeros_share(run.network) == pytest.approx(0.7, abs=2 / total)
    assert run.best_epoch >= 60 // run.steps_per_epoch
    assert seen[0] == 0
    assert 0.3 < seen[30] < 0.7


def test_zeros_make_a_graph_smaller_only_once_it_is_compressed() -> None:
    network = made("cnn", {"widths": [8, 12], "dense": [64]})
    bare = sparse(network, magnitude_masks(prunable_weights(network), 0.9))
    features = rows(network.inputs)
    dense, thin = (export_network(one, features).SerializeToString() for one in (network, bare))
    assert len(thin) == pytest.approx(len(dense), rel=0.02)
    assert compressed_bytes(thin) < 0.35 * compressed_bytes(dense)
    assert zeros_share(network) == 0
    check_rebuilt(network, "cnn", {"widths": [8, 12], "dense": [64]}, bare, [])


def test_masks_touch_nothing_else() -> None:
    network = made("mlp", {"hidden": [8], "batch_norm": True})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    masks = magnitude_masks(prunable_weights(network), 1.0)
    apply_masks(network, masks)
    assert set(masks) == {"body.hidden.0.weight", "body.head.weight"}
    for name, tensor in network.state_dict().items():
        assert not tensor.any() if name in masks else torch.equal(tensor, before[name])
    assert magnitude_masks({}, 0.5) == {}
    assert np.isclose(zeros_share(network), 1)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_shares_that_cannot_be(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        magnitude_masks(WEIGHTS, share)
    with pytest.raises(ValueError, match="share"):
        GradualPruning(share, 0, 1)
