from __future__ import annotations

import random
from typing import Any

import pytest

from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.core.errors import DataError
from bedplate.data.schema import infer_column, infer_schema
from bedplate.recipe.schema import ColumnSpec

RNG = random.Random(0)
N = 200


def pick(*choices: Any) -> list[Any]:
    return [RNG.choice(choices) for _ in range(N)]


@pytest.mark.parametrize(
    ("name", "values", "type_", "form"),
    [
        ("x", [f"{RNG.random():.4f}" for _ in range(N)], "number", "."),
        ("x", [RNG.random() for _ in range(N)], "number", "."),
        ("x", pick("1,234.50", "12", "999,999"), "number", "."),
        ("x", pick("$5", "$1,200", "$7.50"), "number", "."),
        ("x", pick("12%", "7.5%", ""), "number", "."),
        ("x", pick("1,5", "2,25", "1.234,5"), "number", ","),
        ("x", pick("1", "2", "3"), "number", "."),
        ("x", pick("0", "1"), "number", "."),
        ("x", ["unknown" if i % 10 == 0 else str(i * 7 % 90) for i in range(N)], "number", "."),
        ("x", pick(True, False, None), "category", "bool"),
        ("x", pick("True", "False"), "category", "bool"),
        ("x", pick("red", "green", "blue"), "category", "text"),
        ("x", pick("flag", ""), "category", "text"),
        ("x", [f"{i % 60:05d}" for i in range(N)], "category", "text"),
        ("zip_code", [str(90000 + i % 60) for i in range(N)], "category", "code"),
        ("store_id", [str(i % 20) for i in range(N)], "category", "code"),
        ("x", [f"street {i % 90}" for i in range(N)], "category", "text"),
        ("x", [f"2021-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)], "date", "ymd"),
        ("x", [f"{1 + i % 28}/{1 + i % 12}/2021" for i in range(N)], "date", "dmy"),
        ("x", [f"{1 + i % 12}/{1 + i % 28}/2021 10:30" for i in range(N)], "date", "mdy"),
        ("order_date", [20210101 + i % 28 for i in range(N)], "date", "ymd"),
        ("x", [20210101 + i % 28 for i in range(N)], "number", "."),
        ("x", [f"{i % 24}:{i % 60:02d}" for i in range(N)], "date", "clock"),
        ("PassengerId", list(range(1000, 1000 + 3 * N, 3)), "identifier", ""),
        ("x", list(range(N)), "identifier", ""),
        ("height", list(range(58, 58 + N)), "number", "."),
        ("unnamed", [7 * i for i in range(N)], "identifier", ""),
        ("year", [1800 + i for i in range(N)], "number", "."),
        ("x", [f"A-{i:06x}" for i in range(N)], "identifier", ""),
        ("x", [f"we like number {i} very much" for i in range(N)], "text", ""),
        ("x", ["same"] * N, "constant", ""),
        ("x", [None] * N, "constant", ""),
        ("x", ["", "NA", "?", "nan"] * 50, "constant", ""),
        ("x", ["C85" if i == 3 else f"D{i}" if i % 3 == 0 else "" for i in range(600)], "identifier", ""),
        ("cabin", [f"D{i % 120}" if i % 3 == 0 else "" for i in range(600)], "category", "text"),
    ],
)  # fmt: skip
def test_types_are_inferred(name: str, values: list[Any], type_: str, form: str) -> None:
    schema = infer_column(name, values)
    assert (schema.type, schema.form) == (type_, form), schema.reason
    assert schema.reason
    if schema.read:  # what inference says must be readable
        assert not read_columns({name: values}, [schema]).faults


def test_placeholders_among_numbers_are_told_and_mean_missing() -> None:
    values = ["unknown" if i % 10 == 0 else str(i * 7 % 90) for i in range(N)]
    schema = infer_column("x", values)
    assert schema.missing == ("unknown",)
    assert "'unknown' taken for missing" in schema.reason


def test_texts_mixed_into_numbers_beyond_a_few_make_a_category() -> None:
    values = [RNG.choice(["1", "2", "3", "low", "high"]) for _ in range(N)]
    assert infer_column("x", values).type == "category"


def test_an_open_question_of_day_and_month_is_told() -> None:
    schema = infer_column("x", [f"0{1 + i % 9}/0{1 + i % 5}/2021" for i in range(N)])
    assert schema.form == "dmy"
    assert "leave open" in schema.reason


@pytest.mark.parametrize(
    ("type_", "values", "form"),
    [
        ("category", ["1", "2"] * 20, "code"),
        ("number", ["1,5", "2"] * 20, ","),
        ("date", ["31/12/2020", "01/02/2021"] * 20, "dmy"),
        ("text", ["1", "2"] * 20, ""),
        ("identifier", ["a", "b"] * 20, ""),
        ("ignore", ["a", "b"] * 20, ""),
    ],
)
def test_the_recipe_overrides_the_type_and_the_rest_is_still_inferred(type_: Any, values: list[str], form: str) -> None:
    schema = infer_column("x", values, ColumnSpec(type=type_))
    assert (schema.type, schema.form, schema.reason) == (type_, form, "the recipe says so")


def test_strip_and_missing_come_from_the_recipe() -> None:
    values = ["<1.5>", "<2.5>", "<gone>", "<3.5>"] * 20
    schema = infer_column("x", values, ColumnSpec(strip="<>", missing=["gone"]))
    assert schema.type == "number"
    assert read_columns({"x": values[:2]}, [schema]).tensors["x"].tolist() == [1.5, 2.5]


def test_a_group_column_is_set_aside_and_the_target_is_left_out() -> None:
    schemas = infer_schema({"g": ["a", "b"] * 20, "x": list(range(5, 45)), "y": [0, 1] * 20}, "y", {}, groups="g")
    assert [(schema.name, schema.type) for schema in schemas] == [("g", "identifier"), ("x", "number")]


def test_an_override_of_no_column_is_refused() -> None:
    with pytest.raises(DataError, match=r"data.columns.agee: there is no column 'agee'.*did you mean 'age'"):
        infer_schema({"age": [1, 2], "y": [0, 1]}, "y", {"agee": ColumnSpec(type="number")})


def test_schemas_survive_json() -> None:
    schema = infer_column("x", ["unknown" if i % 10 == 0 else str(i) for i in range(N)])
    assert ColumnSchema.from_json(schema.to_json()) == schema
