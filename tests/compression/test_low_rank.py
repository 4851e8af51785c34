from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.compression.low_rank import (
    METHODS,
    break_even,
    pivoted_qr,
    randomised_svd,
    rank_for_energy,
    truncated_svd,
    weighted_svd,
)

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))


def matrix(shape: tuple[int, int, int]) -> np.ndarray:
    rows, columns, seed = shape
    return np.random.default_rng(seed).standard_normal((rows, columns))


def error(weight: np.ndarray, factors: tuple[np.ndarray, np.ndarray]) -> float:
    return float(((weight - factors[0] @ factors[1]) ** 2).sum())


@given(SHAPES)
@settings(deadline=None)
def test_at_full_rank_each_method_gives_the_weight_back(shape: tuple[int, int, int]) -> None:
    weight = matrix(shape)
    for method in METHODS.values():
        left, right = method(weight, min(weight.shape))
        np.testing.assert_allclose(left @ right, weight, atol=1e-9)
    left, right = weighted_svd(weight, min(weight.shape), matrix((50, weight.shape[1], 1)))
    np.testing.assert_allclose(left @ right, weight, atol=1e-6)


@given(SHAPES, st.data())
@settings(deadline=None)
def test_nothing_of_that_rank_is_nearer_than_the_svd(shape: tuple[int, int, int], data: st.DataObject) -> None:
    weight = matrix(shape)
    rank = data.draw(st.integers(1, min(weight.shape)))
    singular = np.linalg.svd(weight, compute_uv=False)
    least = error(weight, truncated_svd(weight, rank))
    assert least == pytest.approx(float((singular[rank:] ** 2).sum()), abs=1e-8)
    for other in (randomised_svd(weight, rank), pivoted_qr(weight, rank)):
        assert other[0].shape == (weight.shape[0], rank)
        assert other[1].shape == (rank, weight.shape[1])
        assert error(weight, other) >= least - 1e-8


def test_random_directions_find_a_low_rank() -> None:
    weight = matrix((200, 6, 1)) @ matrix((6, 150, 2)) + 1e-3 * matrix((200, 150, 3))
    best = error(weight, truncated_svd(weight, 6))
    assert error(weight, randomised_svd(weight, 6, seed=4)) < 1.01 * best


def test_a_qr_has_orthonormal_columns() -> None:
    left, _ = pivoted_qr(matrix((30, 20, 5)), 7)
    np.testing.assert_allclose(left.T @ left, np.eye(7), atol=1e-12)


def test_the_weighted_svd_keeps_what_the_inputs_use() -> None:
    weight, mixed = matrix((40, 30, 6)), matrix((30, 30, 7)) * np.geomspace(1, 1e-3, 30)
    inputs, others = matrix((400, 30, 8)) @ mixed.T, matrix((400, 30, 9)) @ mixed.T

    def lost(factors: tuple[np.ndarray, np.ndarray]) -> float:
        return float((((weight - factors[0] @ factors[1]) @ others.T) ** 2).sum())

    assert lost(weighted_svd(weight, 8, inputs)) < 0.5 * lost(truncated_svd(weight, 8))


def test_inputs_that_are_never_used_break_nothing() -> None:
    inputs = matrix((50, 10, 1))
    inputs[:, 3:] = 0
    left, right = weighted_svd(matrix((8, 10, 2)), 3, inputs)
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()
    assert np.isfinite(weighted_svd(matrix((8, 10, 2)), 3, np.zeros((5, 10)))[1]).all()


def test_ranks() -> None:
    assert break_even(64, 64) == 31
    assert break_even(1, 10) == 0
    singular = np.array([2.0, 1.0, 1.0, 0.0])
    assert [rank_for_energy(singular, energy) for energy in (0.1, 4 / 6, 5 / 6, 0.9, 1.0)] == [1, 1, 2, 3, 3]
    assert rank_for_energy(np.zeros(3), 0.9) == 1


@pytest.mark.parametrize("rank", [0, 4, -1])
def test_a_rank_that_cannot_be(rank: int) -> None:
    with pytest.raises(ValueError, match="no factors"):
        truncated_svd(np.ones((3, 5)), rank)
    with pytest.raises(ValueError, match="don't fit"):
        weighted_svd(np.ones((3, 5)), 1, np.ones((2, 4)))
    with pytest.raises(ValueError, match="share"):
        rank_for_energy(np.ones(2), 1.5)
