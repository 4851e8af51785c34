"""Predict requests as JSON: what TensorFlow Serving takes beyond JSON, and nothing else."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.problems import Problem
from bedplate.serving.tfserving_read import parse_object, tensor

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # NaN equals itself here


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.sampled_from(["", " ", "}", " {", "\n[1", "x"]))
def test_objects_are_read_and_what_follows_is_not(value: dict[str, Any], more: str) -> None:
    try:
        text = json.dumps(value).encode() + more.encode()
    except UnicodeEncodeError:
        return
    assert same(parse_object(text), json.loads(json.dumps(value)))


@given(st.binary(max_size=200))
def test_bytes_at_random_are_a_problem_or_an_object(data: bytes) -> None:
    for body in (data, b'{"a": ' + data):
        try:
            found: Any = parse_object(body)
        except Problem as problem:
            found = problem
        if isinstance(found, Problem):
            assert (found.status, found.message.startswith("JSON Parse error: ")) == (400, True)
        else:
            assert isinstance(found, dict)


def test_tokens_that_are_no_json() -> None:
    found = parse_object(b'{"a": [NaN, Infinity, -Infinity, 1e-3]}')["a"]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf, 0.001]
    for body in (b"", b" \n", b"nan", b'{"a": nan}', b'{"a": +1}', b"{'a': 1}", b'{"a": 1' + b"0" * 5000 + b"NaN}"):
        with pytest.raises(Problem, match="JSON Parse error"):
            parse_object(body)


@given(
    st.lists(
        st.lists(st.floats(width=32) | st.integers(-(1 << 24) + 1, (1 << 24) - 1), min_size=2, max_size=2), min_size=1
    )
)
def test_float_tensors_are_what_numpy_reads(rows: list[list[float]]) -> None:
    found = tensor(rows, TensorSpec("x", "float32", (2,)), "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(rows, np.float64).astype(np.float32))


@pytest.mark.parametrize("value", [1 << 24, -(1 << 24), 1e39, -1e39])
def test_numbers_that_a_float_would_change(value: float) -> None:
    with pytest.raises(Problem, match="without loss of precision"):
        tensor([[value]], TensorSpec("x", "float32", (1,)), "x")
    assert tensor([[value]], TensorSpec("x", "float64", (1,)), "x").tolist() == [[value]]


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ([[1.0, True]], TensorSpec("x", "float32", (2,))),
        ([[1.0, None]], TensorSpec("x", "float32", (2,))),
        ([[1.0], [1.0, 2.0]], TensorSpec("x", "float32", (-1,))),
        ([[[1.0]]], TensorSpec("x", "float32", (1,))),
        ({"b64": "AA=="}, TensorSpec("x", "float32", ())),
        (["a", ["b"]], TensorSpec("x", "string", ())),
        ([["a"], ["b", "c"]], TensorSpec("x", "string", (-1,))),
        ([["a"]], TensorSpec("x", "string", (2,))),
        ([], TensorSpec("x", "float32", ())),
    ],
)
def test_values_that_do_not_fit(value: Any, spec: TensorSpec) -> None:
    with pytest.raises(Problem) as error:
        tensor(value, spec, "inputs['x']")
    assert error.value.status == 400
    assert error.value.message.startswith("inputs['x']")
