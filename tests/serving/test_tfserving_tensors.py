"""TensorProtos ↔ arrays: every type both ways, the forms that TensorFlow allows, and what is no tensor."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.messages import enum_values, message
from bedplate.serving.problems import Problem
from bedplate.serving.tfserving_tensors import check_shape, dtype_name, fill, fitted, to_array

NUMBERS = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
SHAPES = arrays.array_shapes(max_dims=3, max_side=4)


def proto(dtype: str, shape: tuple[int, ...], **fields: Any) -> Any:
    found = message("tensorflow.TensorProto")(dtype=enum_values("tensorflow.DataType")[dtype_name(dtype)], **fields)
    for size in shape:
        found.tensor_shape.dim.add().size = size
    return found


@given(st.sampled_from(NUMBERS).flatmap(lambda dtype: arrays.arrays(np.dtype(dtype), SHAPES)))
def test_numbers_come_back_from_typed_fields_and_from_content(array: np.ndarray) -> None:
    written = message("tensorflow.TensorProto")()
    fill(written, array)
    assert not written.tensor_content
    packed = proto(array.dtype.name, array.shape, tensor_content=array.tobytes())
    for one in (written, packed):
        found = to_array(type(one).FromString(one.SerializeToString()), "x")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


@given(arrays.arrays(object, SHAPES, elements=st.binary(max_size=200)))
def test_strings_come_back_from_typed_fields_and_from_content(array: np.ndarray) -> None:
    written = message("tensorflow.TensorProto")()
    fill(written, array)
    flat = array.ravel().tolist()
    content = b"".join(varint(len(item)) for item in flat) + b"".join(flat)
    for one in (written, proto("string", array.shape, tensor_content=content)):
        assert to_array(one, "x").tolist() == array.tolist()


def test_the_last_value_is_repeated_and_no_value_is_zero() -> None:
    assert to_array(proto("float32", (2, 2), float_val=[1.5]), "x").tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert to_array(proto("int64", (4,), int64_val=[1, 2]), "x").tolist() == [1, 2, 2, 2]
    assert to_array(proto("uint8", (2,)), "x").tolist() == [0, 0]
    assert to_array(proto("string", (2,), string_val=[b"a"]), "x").tolist() == [b"a", b"a"]
    assert to_array(proto("string", (1,)), "x").tolist() == [b""]
    assert to_array(proto("float16", (1,), half_val=[0x3C00]), "x").tolist() == [1.0]


@pytest.mark.parametrize(
    ("given_", "status", "words"),
    [
        (proto("float32", (2,), tensor_content=b"123"), 400, "3 bytes"),
        (proto("float32", (1,), float_val=[1, 2]), 400, "2 values"),
        (proto("float32", (-1, 2), float_val=[1]), 400, "negative size"),
        (proto("float32", (1 << 40, 1 << 40), float_val=[1]), 413, "may be repeated"),
        (proto("uint8", (1,), int_val=[256]), 400, "out of the range of uint8"),
        (proto("string", (2,), tensor_content=b"\x01"), 400, "ends within"),
        (proto("string", (1,), tensor_content=b"\xff\xff\xff\xff\xff\xff"), 400, "ends within"),
        (proto("string", (1,), tensor_content=b"\x05abc"), 400, "don't add up"),
        (message("tensorflow.TensorProto")(), 400, "dtype 0 isn't read"),
        (message("tensorflow.TensorProto")(dtype=8), 400, "dtype 8 isn't read"),
    ],
)
def test_what_is_no_tensor(given_: Any, status: int, words: str) -> None:
    with pytest.raises(Problem) as error:
        to_array(given_, "input 'x'")
    assert (error.value.status, words in error.value.message) == (status, True), error.value.message


def test_an_unknown_rank_is_refused() -> None:
    unknown = message("tensorflow.TensorProto")(dtype=1)
    unknown.tensor_shape.unknown_rank = True
    with pytest.raises(Problem, match="rank is unknown"):
        to_array(unknown, "x")


@given(st.binary(max_size=300))
def test_bytes_at_random_are_a_problem_or_an_array(data: bytes) -> None:
    for dtype in ("string", "float64", "bool"):
        found: Any
        try:
            found = to_array(proto(dtype, (3,), tensor_content=data), "x").shape
        except Problem as problem:
            found = problem.status
        assert found in ((3,), 400)


def test_kinds_that_fit_and_that_do_not() -> None:
    wide = TensorSpec("x", "float32", (2,))
    assert fitted(np.array([[1, 2]], np.int64), wide, "x").dtype == np.float32
    assert fitted(np.array([[1, 2]], np.float64), wide, "x").dtype == np.float32
    assert fitted(np.array([[b"a"]], object), TensorSpec("x", "string", (1,)), "x").tolist() == [["a"]]
    for array, spec, words in (
        (np.array([[True, False]]), wide, "expected float32, received bool"),
        (np.array([[b"a", b"b"]], object), wide, "expected DT_FLOAT, received DT_STRING"),
        (np.array([[1.5]]), TensorSpec("x", "int8", (1,)), "expected int8, received float64"),
        (np.array([[300]]), TensorSpec("x", "int8", (1,)), "received 300 to 300"),
        (np.array([[b"\xff"]], object), TensorSpec("x", "string", (1,)), "isn't UTF-8"),
    ):
        with pytest.raises(Problem) as error:
            fitted(array, spec, "x")
        assert (error.value.status, words in error.value.message) == (400, True), error.value.message


@pytest.mark.parametrize(
    ("shape", "status"), [((), 400), ((3,), 400), ((3, 4), 400), ((0, 2), 400), ((10_001, 2), 413)]
)
def test_shapes_are_checked_before_anything_is_made(shape: tuple[int, ...], status: int) -> None:
    with pytest.raises(Problem) as error:
        check_shape(proto("float32", shape), TensorSpec("x", "float32", (2,)), "x")
    assert error.value.status == status
    check_shape(proto("float32", (3, 9)), TensorSpec("x", "float32", (-1,)), "x")
