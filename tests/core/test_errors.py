"""Errors say where, expected, received and what next; the tree gives the exit code."""

from __future__ import annotations

from bedplate.core.errors import (
    DataError,
    GateError,
    InfeasibleError,
    InputError,
    RecipeError,
    did_you_mean,
    json_kind,
    json_text,
    listing,
)


def test_a_message_has_all_its_parts_in_order() -> None:
    error = InputError("unknown key 'x'", where="r.yaml:3", expected="one of y", received="x", hint="did you mean 'y'?")
    assert error.message == "r.yaml:3: unknown key 'x' (expected one of y; received x). did you mean 'y'?"
    assert error.to_json() == {
        "error": "unknown key 'x'",
        "where": "r.yaml:3",
        "expected": "one of y",
        "received": "x",
        "hint": "did you mean 'y'?",
    }
    assert DataError("empty").message == "empty"


def test_exit_codes_follow_the_tree() -> None:
    assert [kind("x").exit_code for kind in (InputError, DataError, GateError, InfeasibleError)] == [2, 2, 1, 3]


def test_a_recipe_error_holds_all_problems() -> None:
    error = RecipeError([InputError("a"), InputError("b")])
    assert error.message == "a\nb"
    assert [problem["error"] for problem in error.to_json()["problems"]] == ["a", "b"]  # type: ignore[attr-defined,index]


def test_the_nearest_spelling() -> None:
    assert did_you_mean("Bach_size", ["batch_size", "epochs"]) == "did you mean 'batch_size'?"
    assert did_you_mean("zzz", ["batch_size"]) is None


def test_long_listings_are_cut() -> None:
    assert listing(map(str, range(20)), 3) == "0, 1, 2 … (20 in all)"


def test_values_are_told_in_the_words_of_their_sender() -> None:
    kinds = [None, True, 1, 1.5, "a", [], {}]
    assert [json_kind(value) for value in kinds] == [
        "null", "true or false", "a number", "a number", "a string", "a list", "an object",
    ]  # fmt: skip
    assert [json_text(value) for value in (None, True, "5", 5, [None, "a"])] == [
        "null", "true", "'5'", "5", '[null, "a"]',
    ]  # fmt: skip
    assert json_text("a" * 99, 10) == "'aaaaaaa…'"
    assert json_text([b"bytes"]) == "[b'bytes']", "what JSON doesn't have is told as Python has it"
