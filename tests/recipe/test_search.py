"""What a recipe may say under `search`."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.core.errors import RecipeError
from bedplate.recipe.load import parse
from bedplate.recipe.search import Dimension, parse_dimension, read_number

RECIPE = "name: a\ntask: tabular-classification\ndata: {source: wine}\nsearch:\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4..1e-1:log", {"low": 1e-4, "high": 0.1, "log": True}),
        ("0 .. 0.5", {"low": 0, "high": 0.5}),
        ("32..256 : step = 32", {"low": 32, "high": 256, "step": 32}),
        ("-1..1", {"low": -1, "high": 1}),
        ([1, 2], {"choices": [1, 2]}),
        ("about three", "about three"),
        ("1..2:sideways", "1..2:sideways"),
    ],
)
def test_short_forms(text: Any, expected: Any) -> None:
    assert parse_dimension(text) == expected


def test_a_number_is_read_as_yaml_would() -> None:
    assert read_number("1_000") == 1000
    assert isinstance(read_number("32"), int)
    assert isinstance(read_number("32.0"), float)
    assert read_number("1e-3") == 1e-3
    assert read_number("three") is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"low": 1}, "`low` and `high`, or `choices`"),
        ({"low": 2, "high": 1}, "`low` below `high`"),
        ({"low": 0, "high": 1, "log": True}, "`low` above 0"),
        ({"low": 1, "high": 2, "choices": [1]}, "either `choices`"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "`log` or `step`"),
        ({"low": 0.5, "high": 9, "type": "integer"}, "whole numbers"),
        ({"choices": []}, "at least 1 item"),
        ("fast..slow", "a range such as"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Dimension.model_validate(wrong)


def test_whole_ends_make_whole_numbers() -> None:
    assert Dimension(low=1, high=4).integer
    assert not Dimension(low=1.0, high=4).integer
    assert not Dimension(low=1, high=4, type="float").integer
    assert not Dimension(low=0, high=1, step=0.25).integer
    assert Dimension(low=0, high=1, step=0.25).grid() == [0, 0.25, 0.5, 0.75, 1]
    assert Dimension(low=1, high=100, log=True).grid() == [1, 10, 100]


@given(
    st.floats(1e-6, 1e3), st.floats(1.001, 1e4), st.integers(2, 9), st.booleans(), st.sampled_from(["float", "integer"])
)
def test_a_grid_reaches_both_ends_and_never_leaves_them(
    low: float, factor: float, points: int, log: bool, kind: str
) -> None:
    high = low * factor
    if kind == "integer":
        low, high = float(round(low) + 1), float(round(high) + 2)
    assume(low < high)
    dimension = Dimension.model_validate({"low": low, "high": high, "log": log, "points": points, "type": kind})
    grid = dimension.grid()
    assert (grid[0], grid[-1]) == (low, high)
    assert len(grid) <= points
    assert all(a < b for a, b in itertools.pairwise(grid))
    assert kind == "float" or all(isinstance(value, int) for value in grid)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("  sampler: tpee\n", "recipe:5 search.sampler: not a known value"),
        ("  objectives: [validation_acuracy]\n", "did you mean 'validation_accuracy'?"),
        ("  space: {model.dropout: {lo: 0, high: 1}}\n", "recipe:5 search.space.model.dropout.lo: unknown key 'lo'"),
        ("  space: {model.dropout: {lo: 0, high: 1}}\n", "did you mean 'low'?"),
        ("  trails: 5\n", "did you mean 'trials'?"),
    ],
)
def test_a_recipes_mistakes_are_placed(lines: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(RECIPE + lines)
    assert said in caught.value.message
