"""Sketches add up, cost the same whatever goes in, and survive JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bedplate.profile.sketch import CategoryBins, NumberBins, Sketch, category_bins, merge, number_bins

numbers = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6) | st.just(float("nan")))
words = st.lists(st.sampled_from(["", "a", "b", "c", "東京", "new"]), min_size=1, max_size=50)


@settings(max_examples=60, deadline=None)
@given(reference=numbers, one=numbers, two=numbers)
def test_number_sketches_add_up(reference: np.ndarray, one: np.ndarray, two: np.ndarray) -> None:
    bins = number_bins(reference)
    both, parts = Sketch.of(bins, np.concatenate([one, two])), Sketch.of(bins, one).plus(Sketch.of(bins, two))
    assert both.counts.tolist() == parts.counts.tolist()
    assert both.outside == parts.outside
    assert both.rows == len(one) + len(two)
    assert both.total == pytest.approx(parts.total, rel=1e-9, abs=1e-3)
    assert both.counts[-1] == np.isnan(one).sum() + np.isnan(two).sum()
    back = Sketch.from_json(json.loads(json.dumps(both.to_json())), bins)
    assert (back.counts.tolist(), back.outside) == (both.counts.tolist(), both.outside)


@settings(max_examples=60, deadline=None)
@given(reference=words, values=words)
def test_category_sketches_count_known_other_missing_and_unseen(reference: list[str], values: list[str]) -> None:
    bins = category_bins(np.array(reference, dtype=object), most=2)
    sketch = Sketch.of(bins, np.array(values, dtype=object))
    assert sketch.rows == len(values)
    assert sketch.counts[-1] == values.count("")
    for k, value in enumerate(bins.values):
        assert sketch.counts[k] == values.count(value)
    assert sketch.outside == sum(value != "" and value not in reference for value in values)


def test_reference_rows_fall_into_about_equal_bins_and_none_outside() -> None:
    values = np.random.default_rng(0).lognormal(size=1200)
    bins = number_bins(values)
    sketch = Sketch.of(bins, values)
    assert len(bins.edges) == 11
    assert sketch.outside == 0
    assert sketch.counts[:-1].min() >= 95
    assert sketch.counts[-1] == 0
    assert Sketch.of(bins, np.array([-1.0, 1e9, np.inf, np.nan])).outside == 3


def test_few_values_get_a_bin_each_and_few_rows_few_bins() -> None:
    assert number_bins(np.repeat([0.0, 1.0, 5.0], 100)).edges == (0.5, 3.0)
    assert number_bins(np.full(50, 7.0)).edges == ()
    assert len(number_bins(np.arange(30.0)).edges) == 1
    assert number_bins(np.full(9, np.nan)).edges == ()
    mostly_zero = np.concatenate([np.zeros(900), np.arange(1, 101)])
    bins = number_bins(mostly_zero)
    assert Sketch.of(bins, mostly_zero).counts.tolist() == [900, 50, 50, 0]


def test_many_values_keep_the_most_frequent() -> None:
    values = np.array([f"v{k % 50}" for k in range(500)] + ["often"] * 9 + [""] * 3, dtype=object)
    bins = category_bins(values)
    assert bins.values[0].startswith("v")
    assert len(bins.values) == 30
    assert len(bins.known or ()) == 51
    assert category_bins(np.array([f"id{k}" for k in range(2000)], dtype=object)).known is None


def test_sketches_that_do_not_fit_are_refused() -> None:
    bins = number_bins(np.arange(100.0))
    good = Sketch.of(bins, np.arange(10.0)).to_json()
    for change in ({"counts": [1, 2]}, {"counts": [-1] * bins.size}, {"outside": 99}):
        with pytest.raises(ValueError):
            Sketch.from_json(good | change, bins)


def test_merging_keeps_what_all_parts_have() -> None:
    number, category = NumberBins((1.0,), 0, 2), CategoryBins(("a",), frozenset("a"))
    one = {"n": Sketch.of(number, np.array([0.5, 1.5])), "c": Sketch.of(category, np.array(["a", "b"], dtype=object))}
    two = {"n": Sketch.of(number, np.array([3.0]))}
    merged = merge([one, two])
    assert set(merged) == {"n"}
    assert merged["n"].counts.tolist() == [1, 2, 0]
    assert merge([]) == {}
