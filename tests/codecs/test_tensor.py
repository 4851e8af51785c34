"""The tensor codec takes what fits the graph's signature, exactly, and refuses the rest by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bedplate.codecs import from_contract
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import DTYPES, TensorCodec
from bedplate.core.errors import BundleError, PayloadError

TWO = TensorCodec((TensorSpec("x", "float32", (2,)), TensorSpec("n", "int64", (-1,))))


@given(st.data(), st.sampled_from([name for name in DTYPES if name != "string"]))
def test_every_array_of_a_tensor_comes_back_bit_for_bit(data: st.DataObject, dtype: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    array = data.draw(hnp.arrays(np.dtype(dtype), shape))
    codec = TensorCodec((TensorSpec("x", dtype, shape[1:]),))
    found = codec.decode([{"x": row} for row in array])["x"]
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_nested_lists_equal_arrays(row: list[float]) -> None:
    codec = TensorCodec((TensorSpec("x", "float32", (2,)),))
    np.testing.assert_array_equal(codec.decode([row])["x"], np.array([row], np.float32))


def test_several_inputs_dynamic_sizes_and_texts() -> None:
    found = TWO.decode([{"x": [1, 2], "n": [5, 6, 7]}, {"x": np.zeros(2, np.float32), "n": [1, 2, 3]}])
    assert (found["x"].dtype, found["x"].shape, found["n"].dtype, found["n"].shape) == (
        "float32",
        (2, 2),
        "int64",
        (2, 3),
    )
    texts = TensorCodec((TensorSpec("words", "string", (2,)),)).decode([["a", "Zürich"]])["words"]
    assert (texts.dtype, texts.tolist()) == (object, [["a", "Zürich"]])


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([1, 2], "all inputs"),
        ({"x": [1, 2]}, "without n"),
        ({"x": [1, 2], "n": [1], "z": 1}, "also z"),
        ({"x": [1, 2, 3], "n": [1]}, r"expected \[2\]; received \[3\]"),
        ({"x": [[1], [2, 3]], "n": [1]}, "ragged"),
        ({"x": ["a", "b"], "n": [1]}, "received text"),
        ({"x": [True, False], "n": [1]}, "truth values"),
        ({"x": [1, 2], "n": [1.5]}, "fractions"),
        ({"x": [1, 2], "n": [2**70]}, "several kinds"),
        ({"x": [1e300, 2], "n": [1]}, "out of range"),
        ({"x": [1, None], "n": [1]}, "several kinds"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(payload: object, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        TWO.decode([payload])


def test_rows_of_different_sizes_are_not_answered_together() -> None:
    with pytest.raises(PayloadError, match="one shape"):
        TWO.decode([{"x": [1, 2], "n": [1]}, {"x": [1, 2], "n": [1, 2]}])


def test_the_contract_rebuilds_the_codec_and_damage_is_found() -> None:
    assert from_contract(TWO.contract()) == TWO
    for damage in ({"inputs": []}, {"inputs": [{"name": "x", "dtype": "complex64", "shape": []}]}, {"inputs": 3}, {}):
        with pytest.raises(BundleError, match="damaged"):
            from_contract({"kind": "tensor", **damage})
