from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.compression.affine import Affine, affine, along, dequantise, quantise, quantise_weight
from bedplate.compression.fake_quantise import fake_quantise, fake_quantise_weight

ENDS = st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32)).map(sorted)
SEEDS = st.integers(0, 2**32 - 1)


def there_and_back(x: np.ndarray, by: Affine) -> np.ndarray:
    return dequantise(quantise(x, by), by)


@given(ENDS, SEEDS)
@settings(deadline=None)
def test_inside_the_range_nothing_moves_by_more_than_half_a_step(ends: list[float], seed: int) -> None:
    by = affine(*ends)
    x = np.random.default_rng(seed).uniform(min(ends[0], 0) + 0.0, max(ends[1], 0) + 0.0, 64).astype(np.float32)
    # The zero point is a whole number, so each end may lie half a step beyond what 255 steps reach.
    bottom, top = dequantise(np.array([0, 255], np.uint8), by)
    inside = (x >= bottom) & (x <= top)
    tolerance = float(by.scale) / 2 * (1 + 1e-3)
    assert np.abs(there_and_back(x, by) - x)[inside].max(initial=0) <= tolerance
    assert np.abs(there_and_back(x, by) - x).max() <= 2 * tolerance


@given(ENDS)
@settings(deadline=None)
def test_outside_it_is_cut_off_and_zero_is_exact(ends: list[float]) -> None:
    by = affine(*ends)
    bottom, top = dequantise(np.array([0, 255], np.uint8), by)
    found = there_and_back(np.array([-3e4, 3e4, 0.0], np.float32), by)
    assert found.tolist() == [bottom, top, 0.0]
    assert quantise(np.zeros(1), by).tolist() == [by.zero]


@given(ENDS, SEEDS)
@settings(deadline=None)
def test_a_second_time_changes_nothing(ends: list[float], seed: int) -> None:
    by = affine(*ends)
    once = there_and_back(np.random.default_rng(seed).normal(0, 1e4, 64).astype(np.float32), by)
    np.testing.assert_array_equal(there_and_back(once, by), once)


@given(ENDS, SEEDS)
@settings(deadline=None)
def test_order_is_kept_so_a_maximum_may_come_before_or_after(ends: list[float], seed: int) -> None:
    by = affine(*ends)
    x = np.random.default_rng(seed).normal(0, 1e4, (16, 4)).astype(np.float32)
    np.testing.assert_array_equal(quantise(x, by).max(1), quantise(x.max(1), by))
    positive = affine(0.0, max(ends[1], 1.0))
    np.testing.assert_array_equal(quantise(x, positive), quantise(np.maximum(x, 0), positive))


@given(ENDS, SEEDS)
@settings(deadline=None)
def test_int8_says_the_same_as_uint8(ends: list[float], seed: int) -> None:
    by = affine(*ends)
    x = np.random.default_rng(seed).normal(0, 1e4, 64).astype(np.float32)
    signed = by.as_int8()
    assert signed.dtype is np.int8
    assert quantise(x, signed).dtype == np.int8
    np.testing.assert_array_equal(there_and_back(x, signed), there_and_back(x, by))
    assert signed.as_int8() == signed


@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([63, 127]), st.sampled_from([0, 1, -1]), SEEDS)
@settings(deadline=None)
def test_each_channel_of_a_weight_has_its_own_step(rows: int, columns: int, levels: int, axis: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    weight = draw.normal(size=(rows, columns)).astype(np.float32)
    weight *= along(draw.uniform(1e-3, 1e3, weight.shape[axis]).astype(np.float32), 2, axis)
    small, scale = quantise_weight(weight, levels, axis)
    assert small.dtype == np.int8
    assert scale.shape == (weight.shape[axis],)
    assert np.abs(small).max() == levels
    steps = along(scale, 2, axis)
    assert np.all(np.abs(small * steps - weight) <= steps / 2 * (1 + 1e-4))
    again, same = quantise_weight(small * steps, levels, axis)
    np.testing.assert_array_equal(again, small)
    np.testing.assert_allclose(same, scale, rtol=1e-6)


def test_a_channel_of_zeros_stays_zero() -> None:
    small, scale = quantise_weight(np.zeros((2, 3), np.float32), 127, 0)
    assert not small.any()
    assert (scale > 0).all()
    assert float(affine(0.0, 0.0).scale) > 0


@pytest.mark.parametrize("ends", [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_no_range(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no range"):
        affine(*ends)


@given(ENDS, SEEDS)
@settings(deadline=None)
def test_torch_rounds_as_the_plain_twin_does(ends: list[float], seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, max(1.0, *np.abs(ends)), 256).astype(np.float32)
    by = affine(*ends)
    low, high = (torch.tensor(value, dtype=torch.float32) for value in (min(ends[0], 0), max(ends[1], 0)))
    found = fake_quantise(torch.from_numpy(x), low, high).numpy()
    np.testing.assert_allclose(found, there_and_back(x, by), atol=float(by.scale) * 1e-3, rtol=1e-6)


@given(st.sampled_from([63, 127]), SEEDS)
@settings(deadline=None)
def test_torch_rounds_weights_as_the_plain_twin_does(levels: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(4, 3, 2, 2)).astype(np.float32)
    small, scale = quantise_weight(weight, levels, 0)
    found = fake_quantise_weight(torch.from_numpy(weight), levels).numpy()
    np.testing.assert_allclose(found, small * along(scale, 4, 0), atol=1e-6)


def test_the_gradient_goes_straight_through_inside_the_range_only() -> None:
    x = torch.tensor([-2.0, -0.5, 0.3, 0.9, 1.5], requires_grad=True)
    fake_quantise(x, torch.tensor(-1.0), torch.tensor(1.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    weight = torch.randn(3, 4, requires_grad=True)
    (fake_quantise_weight(weight, 127) * torch.arange(4)).sum().backward()
    assert weight.grad is not None
    assert weight.grad[0].tolist() == [0, 1, 2, 3]
