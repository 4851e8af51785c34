from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compression.structures import IMAGE, check_rebuilt, made, rows, scores
from torch import nn

from bedplate.compression.cost import macs_and_parameters
from bedplate.compression.factorised_layers import (
    as_matrix,
    factorisable,
    factorise,
    layer_inputs,
    patches,
    scheme_of,
)  # fmt: skip
from bedplate.compression.low_rank import METHODS
from bedplate.compression.rank_choice import Option, options, ranks_by_budget, ranks_by_energy
from bedplate.compression.structure import restructure
from bedplate.core.errors import BundleError, InputError
from bedplate.models import Network
from bedplate.models.registry import Outputs

CNN_ARGUMENTS: dict[str, Any] = {"widths": [8, 12, 12], "dense": [16], "padding": "valid"}
CNN = made("cnn", CNN_ARGUMENTS)
FEATURES = rows(CNN.inputs)


def ranks_of(network: Network, share: float, *, weighted: bool = False) -> dict[str, int]:
    found = {}
    for name, layer in factorisable(network).items():
        scheme = scheme_of(layer, weighted=weighted)
        assert scheme
        found[name] = max(1, round(share * min(as_matrix(layer, scheme).shape)))
    return found


@pytest.mark.parametrize("method", [*METHODS, "weighted-svd"])
@pytest.mark.parametrize("name", ["cnn", "resnet", "mlp"])
def test_at_full_rank_answers_stay(method: str, name: str) -> None:
    network = made(name, {"depth": 8, "widths": [4, 8, 8]} if name == "resnet" else {})
    features = rows(network.inputs)
    ranks = ranks_of(network, 1.0, weighted=method == "weighted-svd")
    inputs = layer_inputs(network, features, list(ranks)) if method == "weighted-svd" else None
    same, changes = factorise(network, ranks, method=method, inputs=inputs)
    assert len(changes) == len(ranks) > 2
    torch.testing.assert_close(scores(same, features), scores(network, features), atol=2e-4, rtol=2e-3)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 2), st.integers(1, 2), st.integers(0, 1), st.booleans(), st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_any_convolution_at_full_rank(
    shape: tuple[int, ...], stride: int, dilation: int, padding: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    columns, out, high, wide = shape
    layer = nn.Conv2d(columns, out, (high, wide), (stride, 1), (padding, 1), (1, dilation), bias=bias)
    network = Network(nn.Sequential(layer, nn.Flatten()), IMAGE, Outputs(3))
    scheme = scheme_of(layer)
    assert scheme
    pair = factorise(network, {"body.0": min(as_matrix(layer, scheme).shape)})[0].get_submodule("body.0")
    x = torch.randn(2, columns, 9, 9)
    torch.testing.assert_close(pair(x), layer(x), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_left_comes_back_from_json_and_is_exported(weighted: bool) -> None:
    ranks = ranks_of(CNN, 0.5, weighted=weighted)
    inputs = layer_inputs(CNN, FEATURES, list(ranks)) if weighted else None
    smaller, changes = factorise(CNN, ranks, method="weighted-svd" if weighted else "svd", inputs=inputs)
    assert {change["scheme"] for change in changes} == ({"dense", "channel"} if weighted else {"dense", "spatial"})
    check_rebuilt(CNN, "cnn", CNN_ARGUMENTS, smaller, changes)


def test_inputs_that_are_used_weigh_more() -> None:
    ranks = {"body.features.3": 3, "body.classifier.0": 3}
    inputs = layer_inputs(CNN, FEATURES, list(ranks))
    fresh = rows(CNN.inputs, seed=9)
    plain = restructured_error(factorise(CNN, {"body.classifier.0": 3})[0], fresh)
    weighted = restructured_error(
        factorise(CNN, {"body.classifier.0": 3}, method="weighted-svd", inputs=inputs)[0], fresh
    )
    assert weighted < 0.8 * plain
    assert inputs["body.features.3"].shape[1:] == (8, 5, 5)
    with pytest.raises(ValueError, match="needs the inputs"):
        factorise(CNN, ranks, method="weighted-svd")


def restructured_error(network: Network, features: dict) -> float:
    return float(((scores(network, features) - scores(CNN, features)) ** 2).sum())


def test_patches_are_what_the_matrix_is_multiplied_by() -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    x = torch.randn(2, 3, 7, 7)
    found = patches(layer, x.numpy(), most=10**6) @ as_matrix(layer, "channel").T
    expected = (layer(x) - layer.bias[:, None, None]).permute(0, 2, 3, 1).reshape(-1, 4)
    np.testing.assert_allclose(found, expected.detach(), atol=1e-5)
    assert len(patches(layer, x.numpy(), most=5)) == 5


@pytest.mark.parametrize("features", [None, FEATURES], ids=["parameters", "macs"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_budget_is_kept_by_what_is_really_left(features: dict | None, share: float) -> None:
    found = options(CNN, features)
    ranks = ranks_by_budget(found, share)
    smaller, _ = factorise(CNN, ranks)
    before, after = macs_and_parameters(CNN, FEATURES), macs_and_parameters(smaller, FEATURES)
    if features is None:
        biases = sum(p.numel() for name, p in CNN.named_parameters() if name.endswith("bias"))
        left = (after.parameters - biases) / (before.parameters - biases)
    else:
        left = after.macs / before.macs
    assert 0.8 * share < left <= share
    assert all(rank <= found[name].break_even for name, rank in ranks.items())


def test_the_budget_goes_where_the_energy_is() -> None:
    flat = Option(np.ones(10), 5, 100, 10)
    steep = Option(np.array([10.0] + [0.1] * 9), 5, 100, 10)
    ranks = ranks_by_budget({"flat": flat, "steep": steep}, 0.3)
    assert ranks["steep"] == 1
    assert ranks["flat"] == 5
    assert ranks_by_budget({"flat": flat, "steep": steep}, 0.56) == {"steep": 1}  # whole beyond its break-even
    with pytest.raises(InputError, match="doesn't get so far"):
        ranks_by_budget({"flat": flat}, 0.05)


def test_the_budget_goes_where_the_answers_move() -> None:
    one, other = Option(np.ones(10), 5, 100, 10), Option(np.ones(10), 5, 100, 10)
    for kept in ("one", "other"):
        ranks = ranks_by_budget(
            {"one": one, "other": other}, 0.3, lambda name, rank, kept=kept: (5 - rank) * (1 if name == kept else 0.01)
        )
        assert ranks == {"one": 1, "other": 1} | {kept: 5}


def test_energy_and_break_even_choose_ranks() -> None:
    sharp = Option(np.array([3.0, 1.0, 0.01, 0.01]), 2, 20, 8)
    flat = Option(np.ones(4), 2, 20, 8)
    assert ranks_by_energy({"sharp": sharp, "flat": flat}, 0.89) == {"sharp": 1}
    assert ranks_by_energy({"sharp": sharp, "flat": flat}, 0.5) == {"sharp": 1, "flat": 2}
    assert ranks_by_energy({"dear": Option(np.ones(4), 2, 12, 8)}, 0.5) == {}


def test_layers_that_stay_as_they_are() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth = nn.Conv2d(3, 3, 3, groups=3)
            self.around = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")
            self.plain = nn.Conv2d(3, 3, 3)
            self.twice = self.plain
            self.head = nn.Linear(3, 3)

    network = Network(Odd(), IMAGE, Outputs(3))
    assert list(factorisable(network)) == ["body.head"]
    for name in ("body.depth", "body.nowhere"):
        with pytest.raises(InputError, match="can't be factorised"):
            factorise(network, {name: 1})
    for rank in (0, 4):
        with pytest.raises(InputError, match="no such rank"):
            factorise(network, {"body.head": rank})


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "body.head", "rank": 0, "scheme": "dense"},
        {"layer": "body.head", "rank": 2, "scheme": "spatial"},
        {"layer": "body.head", "rank": 2, "scheme": "other"},
        {"layer": "body.nowhere", "rank": 2, "scheme": "dense"},
        {"layer": "body.flat", "rank": 2, "scheme": "dense"},
        {"layer": "body.head", "rank": 2},
    ],
)
def test_a_change_that_does_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="doesn't fit"):
        restructure(made("mlp"), [{"change": "factorised", **change}])
