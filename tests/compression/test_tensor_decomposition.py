from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.compression.structures import IMAGE, check_rebuilt, made, rows, scores
from torch import nn

from bedplate.compression.structure import restructure
from bedplate.compression.tensor_decomposition import (
    cp,
    cp_error,
    cp_rank,
    decomposable,
    decompose_cp,
    decompose_tucker,
    diverged,
    tucker2,
    tucker_error,
    tucker_parameters,
    tucker_ranks,
)  # fmt: skip
from bedplate.core.errors import BundleError, InputError
from bedplate.models import Network
from bedplate.models.registry import Outputs

ARGUMENTS: dict[str, Any] = {"widths": [8, 12], "dense": [8]}
CNN = made("cnn", ARGUMENTS)
FEATURES = rows(CNN.inputs)
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(0, 999))


def kernel_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(shape[-1]).standard_normal(shape[:-1])


def full(kernel: np.ndarray) -> tuple[int, int]:
    return tuple(min(kernel.shape[k], kernel.size // kernel.shape[k]) for k in (0, 1))  # type: ignore[return-value]


@given(SHAPES, st.data())
@settings(deadline=None, max_examples=30)
def test_tucker_keeps_to_the_hosvd_bound(shape: tuple[int, ...], data: st.DataObject) -> None:
    kernel = kernel_of(shape)
    ranks = tuple(data.draw(st.integers(1, most)) for most in full(kernel))
    pixels = shape[2] * shape[3]
    assume(ranks[0] <= ranks[1] * pixels and ranks[1] <= ranks[0] * pixels)
    core, out, columns = tucker2(kernel, ranks)  # type: ignore[arg-type]
    assert core.shape == (*ranks, *kernel.shape[2:])
    assert (out.shape, columns.shape) == ((kernel.shape[0], ranks[0]), (kernel.shape[1], ranks[1]))
    assert sum(array.size for array in (core, out, columns)) == tucker_parameters(kernel.shape, ranks)  # type: ignore[arg-type]
    tails = 0.0
    for mode in (0, 1):
        unfolded = np.moveaxis(kernel, mode, 0).reshape(kernel.shape[mode], -1)
        tails += float((np.linalg.svd(unfolded, compute_uv=False)[ranks[mode] :] ** 2).sum())
    squared = (tucker_error(kernel, (core, out, columns)) * np.linalg.norm(kernel)) ** 2
    assert squared <= tails + 1e-8


@given(SHAPES)
@settings(deadline=None, max_examples=20)
def test_tucker_of_full_rank_is_the_kernel_and_more_rank_is_never_worse(shape: tuple[int, ...]) -> None:
    kernel = kernel_of(shape)
    assert tucker_error(kernel, tucker2(kernel, full(kernel))) < 1e-10
    out, columns = full(kernel)
    errors = [
        tucker_error(kernel, tucker2(kernel, (min(r, out), min(r, columns)))) for r in range(1, max(out, columns) + 1)
    ]
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(errors))


@given(st.integers(1, 4), st.integers(0, 99))
@example(1, 30)  # the first start's equations become singular
@example(4, 80)  # it ends in a local minimum
@settings(deadline=None, max_examples=15)
def test_cp_finds_what_is_of_its_rank(rank: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    factors = [draw.standard_normal((size, rank)) for size in (8, 7, 9)]
    kernel = np.einsum("or,ir,pr->oip", *factors).reshape(8, 7, 3, 3)
    found = cp(kernel, rank + 2, seed=seed)
    assert [factor.shape for factor in found] == [(8, rank + 2), (7, rank + 2), (9, rank + 2)]
    assert cp_error(kernel, found) < 0.05
    again = cp(kernel, rank + 2, seed=seed)
    assert all(np.array_equal(left, right) for left, right in zip(found, again, strict=True))


def test_a_cp_that_is_of_no_use_is_told() -> None:
    kernel = kernel_of((6, 6, 3, 3, 1))
    good = cp(kernel, 30)
    assert diverged(kernel, good) is None
    assert diverged(kernel, (good[0] * np.nan, *good[1:])) == "not finite"
    huge = tuple(
        np.concatenate([f, f[:, :1] * 1e3, f[:, :1] * s * 1e3], 1) for f, s in zip(good, (1, 1, -1), strict=True)
    )
    assert cp_error(kernel, huge) == pytest.approx(cp_error(kernel, good), abs=1e-5)  # type: ignore[arg-type]
    assert "cancel" in str(diverged(kernel, huge))  # type: ignore[arg-type]
    assert "Tucker-2" in str(diverged(kernel, tuple(0 * factor for factor in good)))  # type: ignore[arg-type]


def test_a_degenerate_fit_makes_cp_fall_back() -> None:
    """Random 4×4×4 tensors often have no best approximation of rank 4: the fit grows for ever."""
    network = Network(nn.Sequential(nn.Conv2d(4, 4, 2)), IMAGE, Outputs(3))
    with torch.no_grad():
        network.body[0].weight.copy_(torch.from_numpy(np.random.default_rng(1).standard_normal((4, 4, 2, 2))))
    _, changes, facts = decompose_cp(network, {"body.0": 4})
    assert facts[0]["method"] == changes[0]["change"] == "tucker"
    assert "cancel" in facts[0]["fell_back"]
    assert facts[0]["relative_error"] < 1
    assert tucker_parameters((4, 4, 2, 2), tuple(changes[0]["ranks"])) <= 4 * (4 + 4 + 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["tucker", "cp"])
def test_at_full_rank_answers_stay(method: str) -> None:
    known = decomposable(CNN)
    assert list(known) == ["body.features.0", "body.features.3"]
    if method == "tucker":
        same, _, facts = decompose_tucker(CNN, {name: tuple(layer.weight.shape[:2]) for name, layer in known.items()})  # type: ignore[misc]
    else:
        same, _, facts = decompose_cp(CNN, {name: layer.weight[0].numel() + 8 for name, layer in known.items()})
    assert all(fact["relative_error"] < 1e-3 for fact in facts)
    assert {fact["method"] for fact in facts} == {method}
    wanted = scores(CNN, FEATURES)
    assert (scores(same, FEATURES) - wanted).abs().max() < 5e-3 * wanted.abs().max()


@pytest.mark.parametrize("method", ["tucker", "cp"])
def test_what_is_left_comes_back_from_json_and_is_exported(method: str) -> None:
    shapes = {name: tuple(layer.weight.shape) for name, layer in decomposable(CNN).items()}
    halves = {name: int(np.prod(shape)) // 2 for name, shape in shapes.items()}
    if method == "tucker":
        smaller, changes, _ = decompose_tucker(CNN, {n: tucker_ranks(shapes[n], halves[n]) for n in shapes})  # type: ignore[arg-type]
    else:
        smaller, changes, _ = decompose_cp(CNN, {n: cp_rank(shapes[n], halves[n]) for n in shapes})  # type: ignore[arg-type]
    assert method in {change["change"] for change in changes}
    count = [sum(p.numel() for n, p in one.named_parameters() if "features" in n) for one in (smaller, CNN)]
    assert count[0] < 0.55 * count[1]
    check_rebuilt(CNN, "cnn", ARGUMENTS, smaller, changes)


def test_strides_and_paddings_go_along() -> None:
    layer = nn.Conv2d(3, 5, (3, 2), (2, 1), (1, 0), (1, 2), bias=False)
    network = Network(nn.Sequential(layer), IMAGE, Outputs(3))
    x = torch.randn(2, 3, 9, 9)
    for same in (decompose_tucker(network, {"body.0": (5, 3)})[0], decompose_cp(network, {"body.0": 30})[0]):
        torch.testing.assert_close(same.body(x), layer(x), atol=2e-3, rtol=1e-2)


def test_a_kernel_of_zeros() -> None:
    network = Network(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGE, Outputs(3))
    with torch.no_grad():
        network.body[0].weight.zero_()
    x = torch.randn(1, 3, 5, 5)
    for smaller in (decompose_tucker(network, {"body.0": (2, 2)})[0], decompose_cp(network, {"body.0": 2})[0]):
        torch.testing.assert_close(smaller.body(x), network.body(x))


def test_ranks_that_fit() -> None:
    shape = (64, 32, 3, 3)
    ranks = tucker_ranks(shape, 5000)
    assert tucker_parameters(shape, ranks) <= 5000 < tucker_parameters(shape, (ranks[0] + 2, ranks[1] + 1))
    assert tucker_ranks(shape, 1) == (1, 1)
    assert cp_rank(shape, 1050) == 10
    assert cp_rank(shape, 1) == 1


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="can't be decomposed"):
        decompose_cp(CNN, {"body.classifier.0": 2})
    with pytest.raises(InputError, match="no such rank"):
        decompose_tucker(CNN, {"body.features.0": (99, 1)})
    with pytest.raises(InputError, match="no such rank"):
        decompose_cp(CNN, {"body.features.0": 0})


@pytest.mark.parametrize(
    "change",
    [
        {"change": "cp", "layer": "body.features.0", "rank": 0},
        {"change": "cp", "layer": "body.classifier.0", "rank": 2},
        {"change": "tucker", "layer": "body.features.0", "ranks": [1]},
        {"change": "tucker", "layer": "body.features.0", "ranks": [1, -1]},
        {"change": "tucker", "layer": "body.nowhere", "ranks": [1, 1]},
    ],
)
def test_a_change_that_does_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="doesn't fit"):
        restructure(made("cnn", ARGUMENTS), [change])
