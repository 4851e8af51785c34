"""JSON values → tensors: the quick way gives what the plain way gives, and nothing is guessed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.problems import Problem
from bedplate.serving.tensors import (
    numbers,
    plain_numbers,
    refuse_truths,
    speaks_of_truths,
    tensor_from_flat,
    tensor_from_nested,
)

DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64"]
SHAPES = [(), (1,), (3,), (2, 2), (2, 2, 1), (-1,), (2, -1)]

leaves = st.one_of(
    st.integers(0, 255), st.integers(-3, 300), st.integers(-(2**63), 2**64 - 1), st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([None, "5", "", [], {}, {"a": 1}, [[1]], 1e39]),
)  # fmt: skip


def nested(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Lists of about this shape: now and then a list is too short, too deep, or no list."""
    good = st.integers(0, 255)
    for size in reversed(shape):
        width = 2 if size == -1 else size
        good = st.lists(st.one_of(good, leaves) if width < 3 else good, min_size=width, max_size=width)
    return good


def outcome(read: Any, value: list[Any], spec: TensorSpec) -> Any:
    try:
        array = read(value, spec, "x")
    except Problem as problem:
        return problem.status, problem.message
    return array.dtype, array.shape, array.tobytes()


@given(data=st.data(), dtype=st.sampled_from(DTYPES), shape=st.sampled_from(SHAPES))
def test_the_quick_way_gives_what_the_plain_way_gives(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    rows = data.draw(st.lists(st.one_of(nested(shape), leaves), max_size=4))
    value = orjson.loads(orjson.dumps(rows))  # only what JSON can give
    spec = TensorSpec("x", dtype, shape)
    assert outcome(numbers, value, spec) == outcome(plain_numbers, value, spec)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 1), (8, 8, 3)])
def test_the_quick_way_reads_whole_images(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, (2, *shape)).astype(dtype)
    spec = TensorSpec("x", dtype, shape)
    for value in (array.tolist(), array[..., 0].tolist() if shape[-1] == 1 else array.tolist()):
        assert outcome(numbers, value, spec) == outcome(plain_numbers, value, spec)
    flat = tensor_from_flat(array.ravel().tolist(), [2, *shape], spec, "x")
    np.testing.assert_array_equal(flat, array)
    np.testing.assert_array_equal(tensor_from_nested(array.tolist(), spec, "x"), array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "value", [[[[1], [2]]], [[[1]], [[2]]], [[[[1, 2]]]], [[1, 2], [3, 4]], [True, 1], [[True, True]]]
)
def test_lists_nested_deeper_than_the_spec_stay_so(dtype: str, value: list[Any]) -> None:
    for shape in SHAPES:
        spec = TensorSpec("x", dtype, shape)
        assert outcome(numbers, value, spec) == outcome(plain_numbers, value, spec)


def test_large_whole_numbers_keep_every_digit() -> None:
    value = [1, 2**63 + 1, 2**64 - 1]
    assert numbers(value, TensorSpec("x", "uint64"), "x").tolist() == value
    with pytest.raises(Problem, match="fractions or numbers out of range"):
        numbers([-1, 2**63], TensorSpec("x", "uint64"), "x")
    with pytest.raises(Problem, match="finite"):
        numbers([1e39], TensorSpec("x", "float32"), "x")


def test_texts_may_be_nested_and_missing() -> None:
    spec = TensorSpec("x", "string", (2,))
    assert tensor_from_nested([["a", None], ["", "é"]], spec, "x").tolist() == [["a", ""], ["", "é"]]
    for wrong in ([["a"], ["b", "c"]], [["a", 5]], [["a", ["b"]]], ["ab", "cd"], [["a", {"b": 1}]]):
        with pytest.raises(Problem) as caught:
            tensor_from_nested(wrong, spec, "x")
        assert caught.value.status == 400


def test_open_sizes_take_any_size_but_none() -> None:
    spec = TensorSpec("x", "float32", (-1, 2))
    assert tensor_from_nested([[[1, 2], [3, 4]]], spec, "x").shape == (1, 2, 2)
    assert tensor_from_flat([1, 2, 3, 4], [1, 2, 2], spec, "x").shape == (1, 2, 2)
    for wrong in ([[]], [[[1], [2]]], [[1, 2]]):
        with pytest.raises(Problem, match="shape"):
            tensor_from_nested(wrong, spec, "x")
    with pytest.raises(Problem, match="nested as"):
        tensor_from_flat([[[1, 2], [3, 4]]], [1, 4, 2], spec, "x")


@pytest.mark.parametrize(
    ("value", "shape"), [([[[1.0]]], (1,)), ([[[[5]]]], (1, 1)), ([[[5]]], (1,)), ([[[[[5]]]]], (1, 1, 1))]
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_lists_deeper_than_the_spec_are_refused(value: list[Any], shape: tuple[int, ...], dtype: str) -> None:
    if dtype == "uint8" and value == [[[1.0]]]:
        value = [[[1]]]
    with pytest.raises(Problem, match="must have the shape"):
        tensor_from_nested(value, TensorSpec("x", dtype, shape), "x")


@pytest.mark.parametrize("value", [[True], [[1, False]], [{"a": [1, [True]]}], True, [[[0]], [[True]]]])
def test_truth_values_are_found_wherever_they_stand(value: Any) -> None:
    assert speaks_of_truths(json.dumps(value).encode())
    with pytest.raises(Problem, match="true or false among them"):
        refuse_truths(value, "x")


@pytest.mark.parametrize("value", [[1, 0], [[1.0, None]], {"a": [1]}, "true", []])
def test_numbers_and_texts_are_no_truth_values(value: Any) -> None:
    refuse_truths(value, "x")
