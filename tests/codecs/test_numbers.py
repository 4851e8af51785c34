from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.numbers import decimal_sign, number_text, parse_number


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("5", ".", 5), ("-5.25", ".", -5.25), ("1e-3", ".", 0.001), (".5", ".", 0.5), ("5.", ".", 5),
        ("1,234.50", ".", 1234.5), ("12,345,678", ".", 12345678), ("$5", ".", 5), ("€ 1,000", ".", 1000), ("5 €", ".", 5),
        ("12%", ".", 12), ("-$3.20", ".", -3.2), ("$-3.20", ".", -3.2), ("(3.20)", ".", -3.2), ("−7", ".", -7),
        ("1 234 567", ".", 1234567), ("1'234.5", ".", 1234.5),
        ("1,5", ",", 1.5), ("1.234,50", ",", 1234.5), ("0,001", ",", 0.001), ("7", ",", 7), ("1 234,5", ",", 1234.5),
        ("1.5", ",", None), ("1,2,3", ".", None), ("12,34", ".", None), ("1_000", ".", None), ("abc", ".", None),
        ("", ".", None), ("$", ".", None), ("0x1A", ".", None), ("1.2.3", ".", None), ("12:30", ".", None), ("5 kg", ".", None),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, decimal: str, value: float | None) -> None:
    assert parse_number(text, decimal) == value


def test_infinity_and_nan_are_returned_for_the_caller_to_judge() -> None:
    assert parse_number("inf") == math.inf
    assert parse_number("-Infinity", ",") == -math.inf
    assert math.isnan(parse_number("nan") or 0)


@given(st.floats(allow_nan=False))
def test_what_python_writes_is_read_back_exactly(value: float) -> None:
    assert parse_number(repr(value)) == value


@given(st.integers(-(10**12), 10**12), st.sampled_from([",", "'", " "]))
def test_grouped_thousands_are_read_back(value: int, sign: str) -> None:
    assert parse_number(f"{value:,}".replace(",", sign)) == value


@given(st.decimals(-(10**9), 10**9, places=2))
def test_a_decimal_comma_with_grouping_points_is_read_back(value: object) -> None:
    text = f"{value:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
    assert parse_number(text, ",") == float(f"{value:.2f}")


def test_the_decimal_sign_is_found_over_the_whole_column() -> None:
    assert decimal_sign(["1,234", "5"]) == "."
    assert decimal_sign(["1,234", "0,5"]) == ","
    assert decimal_sign(["1.234,5", "2"]) == ","
    assert decimal_sign(["1.5", "2"]) == "."
    assert decimal_sign([]) == "."


def test_one_text_a_number() -> None:
    assert [number_text(value) for value in (2.0, -0.0, 2.5, 1e300)] == ["2", "0", "2.5", "1e+300"]
