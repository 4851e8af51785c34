"""What is told of a sweep: the front, the best, and which setting mattered."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bedplate.experiments.search_space import SearchSpace
from bedplate.experiments.sweep_result import direction, importance, order, pareto
from bedplate.recipe.search import Dimension


def row(trial: int, *values: float, loss: float = 1.0, **params: Any) -> dict[str, Any]:
    return {"trial": trial, "values": list(values), "figures": {"validation_loss": loss}, "params": params}


def test_more_accuracy_is_better_and_less_of_all_else() -> None:
    names = ("validation_accuracy", "validation_loss", "validation_rmse", "seconds", "parameters")
    assert [direction(name) for name in names] == ["maximize"] + ["minimize"] * 4
    assert direction("validation_f1") == "maximize"


def test_equal_trials_are_told_apart_by_validation_loss_then_by_number() -> None:
    trials = [row(0, 0.9), row(1, 0.95, loss=0.3), row(2, 0.95, loss=0.2), row(3, 0.95, loss=0.2)]
    assert min(trials, key=lambda one: order(one, ["validation_accuracy"]))["trial"] == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    names = ["validation_accuracy", "seconds", "parameters"]
    trials = [row(k, *point) for k, point in enumerate(points)]
    signed = [(-a, b, c) for a, b, c in points]
    expected = {
        one for one in signed
        if not any(other != one and all(x <= y for x, y in zip(other, one, strict=True)) for other in signed)
    }  # fmt: skip
    front = pareto(trials, names)
    found = [(-a, b, c) for a, b, c in (one["values"] for one in front)]
    assert sorted(found) == sorted(expected)
    assert found == sorted(found)


def test_the_setting_that_matters_comes_first() -> None:
    draw = np.random.default_rng(1)
    space = SearchSpace(
        {
            "rate": Dimension(low=1e-4, high=1e-1, log=True),
            "dropout": Dimension(low=0.0, high=0.5),
            "kind": Dimension(choices=["a", "b"]),
        },
        {},
    )
    trials = []
    for k in range(40):
        rate, dropout, kind = 10 ** draw.uniform(-4, -1), draw.uniform(0, 0.5), ["a", "b"][k % 2]
        value = (np.log10(rate) + 2) ** 2 + 0.1 * dropout
        trials.append(row(k, float(value), rate=float(rate), dropout=float(dropout), kind=kind))
    shares = importance(trials, space, 0, 7)
    assert next(iter(shares)) == "rate"
    assert shares["rate"] > 0.8
    assert abs(sum(shares.values()) - 1) < 1e-3
    assert importance(trials, space, 0, 7) == shares


def test_nothing_is_said_of_importance_without_evidence() -> None:
    space = SearchSpace({"x": Dimension(low=0.0, high=1.0)}, {})
    assert importance([row(k, 1.0 * k, x=k / 9) for k in range(5)], space, 0, 0) == {}
    assert importance([row(k, 1.0, x=k / 9) for k in range(9)], space, 0, 0) == {}
