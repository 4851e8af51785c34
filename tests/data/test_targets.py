from __future__ import annotations

import pytest

from bedplate.core.errors import DataError
from bedplate.data.targets import (
    check_target,
    guess_target,
    guess_task,
    positive_index,
    read_labels,
    read_numbers,
    sorted_labels,
)
from bedplate.recipe.schema import ColumnSpec

NONE = ColumnSpec()


def test_labels_are_texts_with_numbers_in_one_spelling() -> None:
    assert read_labels(["1", 1, 1.0, "1.0", "2"], "y", NONE).values.tolist()[:4] == ["1"] * 4
    target = read_labels(["yes.", " no", "", None, "None"], "y", ColumnSpec(strip="."))
    assert target.values.tolist() == ["yes", "no", "", "", "None"]
    assert target.missing.tolist() == [2, 3]
    assert read_labels(["a", float("inf")], "y", NONE).faults.keys() == {1}


def test_numbers_say_what_is_missing_and_what_is_none() -> None:
    target = read_numbers(["1,5", "2,25", "", "much", "inf"], "y", NONE)
    assert target.values.tolist()[:2] == [1.5, 2.25]
    assert target.missing.tolist() == [2]
    assert sorted(target.faults) == [3, 4]


def test_labels_are_ordered_by_number_where_they_are_numbers() -> None:
    assert sorted_labels(["10", "9", "2"]) == ("2", "9", "10")
    assert sorted_labels(["b", "10", "a"]) == ("10", "a", "b")


@pytest.mark.parametrize(
    ("labels", "counts", "wanted", "index"),
    [
        (("0", "1"), {"0": 5, "1": 9}, None, 1),
        (("no", "yes"), {}, None, 1),
        (("<=50K", ">50K"), {}, None, 1),
        (("benign", "malignant"), {}, None, 1),
        (("a", "b"), {"a": 3, "b": 9}, None, 0),
        (("a", "b"), {"a": 9, "b": 3}, None, 1),
        (("a", "b"), {"a": 9, "b": 3}, "a", 0),
        (("a", "B"), {}, "b", 1),
        (("a", "b", "c"), {}, None, None),
    ],
)
def test_the_positive_label(labels: tuple[str, ...], counts: dict[str, int], wanted: str | None, index: int) -> None:
    assert positive_index(labels, counts, wanted) == index


def test_a_positive_label_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"no label 'yess'.*did you mean 'yes'"):
        positive_index(("no", "yes"), {}, "yess")


@pytest.mark.parametrize(
    ("columns", "header", "target"),
    [
        ({"class": ["a", "b"] * 9, "x": [1.5, 2] * 9}, True, "class"),
        ({"x": [1.5, 2] * 9, "z": [1, 5] * 9, "y": [1, 7] * 9, "price": [3, 4] * 9}, True, "price"),
        ({"x": [1.5, 2] * 9, "thing": ["a", "b"] * 9}, True, "thing"),
        ({"x": [1.5, 2] * 9, "note": [f"text number {i} here" for i in range(18)]}, True, "x"),
        ({"class": ["a", "b"] * 9, "c1": [1.5, 2] * 9}, False, "c1"),
    ],
)
def test_the_target_is_guessed(columns: dict[str, list[object]], header: bool, target: str) -> None:
    assert guess_target(columns, header)[0] == target


@pytest.mark.parametrize(
    ("values", "name", "task"),
    [
        (["a", "b"] * 20, "y", "classification"),
        ([0, 1] * 20, "y", "classification"),
        ([1.5, 2.5] * 20, "y", "classification"),
        ([3, 4, 5, 6, 7] * 20, "quality", "classification"),
        ([3, 4, 5, 6, 7] * 20, "price", "regression"),
        ([i / 7 for i in range(40)], "y", "regression"),
        (list(range(40)), "y", "regression"),
        ([f"{i},5" for i in range(40)], "y", "regression"),
        ([True, False] * 20, "y", "classification"),
    ],
)
def test_the_task_follows_from_the_target(values: list[object], name: str, task: str) -> None:
    assert guess_task(values, name)[0] == f"tabular-{task}"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a"] * 20, "one value only"),
        ([None, ""] * 10, "always missing"),
        ([f"a{i}" for i in range(60)], "can't be a target"),
        ([f"2021-01-{1 + i % 28:02d}" for i in range(60)], "can't be a target"),
    ],
)
def test_what_is_no_target_is_said(values: list[object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        guess_task(values, "y")


def test_a_missing_target_column_gets_the_nearest_spelling() -> None:
    with pytest.raises(DataError, match=r"there is no column 'chrun'.*did you mean 'churn'"):
        check_target(["age", "churn"], "chrun", "t.csv")
    with pytest.raises(DataError, match="no target is named"):
        check_target(["age", "churn"], None, "t.csv")


def test_a_date_or_place_at_the_end_is_not_guessed_as_the_target() -> None:
    rows = range(60)
    columns = {
        "Wind": [str(k % 7) for k in rows],
        "Temp": [f"{k * 1.7:.1f}" for k in rows],
        "Month": [str(k % 12 + 1) for k in rows],
        "Day": [str(k % 31 + 1) for k in rows],
    }
    assert guess_target(columns, header=True)[0] == "Temp"
    assert guess_target(columns, header=False)[0] == "Day"
    assert guess_target({"Month": columns["Month"], "Day": columns["Day"]}, header=True)[0] == "Day"


def test_several_targets_at_once_are_told_apart_from_one_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"one model answers one column .*label_columns of --task multi-label"):
        check_target(["a", "b", "c"], "a, b", "d.csv")
    with pytest.raises(DataError, match="there is no column 'a,z'"):
        check_target(["a", "b", "c"], "a,z", "d.csv")
