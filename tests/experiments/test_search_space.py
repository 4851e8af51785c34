"""The space of a sweep: where its keys are checked, what it is widened by, and what is suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.experiments.sweeps import TINY, recipe

from bedplate.core.errors import InputError, RecipeError
from bedplate.experiments.search_space import (
    SearchSpace,
    around,
    base_recipe,
    distribution,
    given_dimensions,
    overrides,
    problems_of,
    short_names,
    suggest,
)
from bedplate.experiments.sweep_plan import settle
from bedplate.recipe.load import load, parse
from bedplate.recipe.search import Dimension
from bedplate.stages.resolve import check_parts, resolve, shipped_recipes

SHIPPED = [name for name in shipped_recipes() if name.partition("/")[2] in {"digits", "wine", "diabetes"}]


def base_of(name: str) -> tuple[Any, str]:
    resolved = resolve(name)
    return resolved, base_recipe(load(resolved.path), resolved)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("model.dropuot", "did you mean 'dropout'?"),
        ("trainign.epochs", "did you mean 'training'?"),
        ("training.optimizer.rate", "unknown argument 'rate' of optimizer 'adamw'"),
        ("model.dropout.x", "wrong value"),
        ("seed", "the luckiest seed is not a better recipe"),
        ("data.split.validation", "different validation rows"),
        ("gate", "doesn't touch the weights"),
        ("data", "different validation rows"),
    ],
)
def test_a_wrong_key_is_an_error_with_its_line(tmp_path: Path, key: str, said: str) -> None:
    path = recipe(tmp_path, TINY.replace("model.dropout: 0..0.5", f"{key}: 0.0..0.5"))
    with pytest.raises(RecipeError) as caught:
        settle(str(path))
    line = TINY.splitlines().index("    model.dropout: 0..0.5") + 1
    assert caught.value.message.startswith(f"{path}:{line} search.space.{key}: ")
    assert said in caught.value.message


def test_values_that_a_setting_refuses_are_errors(tmp_path: Path) -> None:
    path = recipe(tmp_path, TINY.replace("0..0.5", "0..1.5").replace("[[8], [16, 8]]", "[[8], [0]]"))
    with pytest.raises(RecipeError) as caught:
        settle(str(path))
    assert len(caught.value.problems) == 2
    assert "less than 1" in caught.value.message
    assert "greater than or equal to 1" in caught.value.message


def test_the_command_line_replaces_and_adds(tmp_path: Path) -> None:
    texts = ["model.dropout=0..0.2", "training.batch_size=8..64:log", "model.activation=[relu, gelu]"]
    space = settle(str(recipe(tmp_path)), (), texts).space.dimensions
    assert list(space) == [
        "training.optimizer.lr", "model.dropout", "model.hidden", "training.batch_size", "model.activation",
    ]  # fmt: skip
    assert space["model.dropout"].high == 0.2
    assert space["training.batch_size"].integer
    assert space["model.activation"].choices == ["relu", "gelu"]


def test_numbers_on_the_command_line_are_numbers() -> None:
    assert given_dimensions(["a=[1e-3, 2]"])["a"].choices == [1e-3, 2]
    assert given_dimensions(["a={low: 1, high: 9, points: 4}"])["a"].points == 4


@pytest.mark.parametrize("text", ["model.dropout", "=0..1", "a=1..", "a=[1", "a=5..1", "a=fast"])
def test_what_is_no_dimension_is_said_with_examples(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        given_dimensions([text])
    assert caught.value.message.startswith(f"--space {text}: not a dimension of the space")
    assert "KEY=LOW..HIGH:log" in caught.value.message


def test_a_wrong_key_of_the_command_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        settle(str(recipe(tmp_path)), (), ["model.dropuot=0..0.5"])
    assert caught.value.message.startswith("--space model.dropuot=0..0.5: ")


@given(low=st.floats(1e-5, 0.4), width=st.floats(1e-4, 0.5), own=st.floats(0, 0.99), log=st.booleans())
def test_the_recipes_own_value_lies_inside_or_is_left_out(low: float, width: float, own: float, log: bool) -> None:
    plain = parse(TINY, overrides=[f"model.dropout={own!r}"])
    space = around(plain, TINY, {"model.dropout": Dimension(low=low, high=low + width, log=log)})
    one = distribution(space.dimensions["model.dropout"])
    if log and own == 0:
        assert space.own == {}
        assert "the first trial keeps it" in space.notes[0]
    else:
        assert space.own == {"model.dropout": own}
        assert one._contains(one.to_internal_repr(own))
        assert bool(space.notes) == (not low <= own <= low + width)


def test_a_choice_that_is_missing_is_put_first() -> None:
    space = around(parse(TINY), TINY, {"model.hidden": Dimension(choices=[[32], [64]])})
    assert space.dimensions["model.hidden"].choices == [[8], [32], [64]]
    assert space.own == {"model.hidden": [8]}


def test_a_value_between_steps_is_left_out() -> None:
    space = around(parse(TINY), TINY, {"training.batch_size": Dimension(low=10, high=40, step=10)})
    assert space.own == {}
    assert space.dimensions["training.batch_size"].low == 10


@pytest.mark.parametrize("name", SHIPPED)
def test_a_suggested_space_fits_its_recipe(name: str) -> None:
    resolved, base = base_of(name)
    dimensions = suggest(resolved, base)
    assert "training.optimizer.lr" in dimensions
    assert any(key.startswith("model.") for key in dimensions)
    space = around(resolved.recipe, base, dimensions, suggested=True)
    assert set(space.own) == set(dimensions)
    assert not space.notes
    for key, dimension in dimensions.items():
        assert not problems_of(base, key, dimension)


def test_another_optimiser_has_its_own_defaults(tmp_path: Path) -> None:
    text = TINY.replace("model.dropout: 0..0.5", "training.optimizer.name: [adamw, sgd]")
    settled = settle(str(recipe(tmp_path, text)))
    changed = parse(settled.base, overrides=overrides({"training.optimizer.name": "sgd"}), check=(check_parts,))
    assert changed.training.optimizer.arguments == {"lr": 2e-3}


def test_what_is_stored_comes_back() -> None:
    space = SearchSpace(
        {"a": Dimension(choices=[[1], {"name": "x"}, None]), "b": Dimension(low=1, high=3)}, {"a": [1], "b": 2}
    )
    for value in ([1], {"name": "x"}, None):
        assert space.decode(space.encode({"b": 3, "a": value})) == {"a": value, "b": 3}


def test_a_grid_leaves_out_the_recipes_own_point_and_ends_somewhere() -> None:
    space = SearchSpace({"a": Dimension(choices=[1, 2]), "b": Dimension(low=1, high=3)}, {"a": 1, "b": 2})
    grid = space.grid()
    assert len(grid) == 2 * 3 - 1
    assert {"a": 1, "b": 2} not in grid
    with pytest.raises(InputError, match="too many points"):
        SearchSpace({str(k): Dimension(low=0, high=9.5, points=10) for k in range(5)}, {}).grid()


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["a.lr", "b.c", "d.c"]) == {"a.lr": "lr", "b.c": "b.c", "d.c": "d.c"}
