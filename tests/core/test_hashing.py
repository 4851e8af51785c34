"""Fingerprints depend on content alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.hashing import array_digest, canonical_json, fingerprint, row_digests, sha256_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert fingerprint(value) == fingerprint(dict(reversed(list(value.items()))))


def test_canonical_json_is_the_one_text() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    assert sha256_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_arrays_differ_by_shape_type_and_content() -> None:
    arrays = [
        np.zeros(4),
        np.zeros((2, 2)),
        np.ones(4),
        np.zeros(4, np.uint8),
        np.array(["a", "b"], object),
        np.array(["a", "c"], object),
    ]
    assert len({array_digest(array) for array in arrays}) == len(arrays)
    assert array_digest(np.arange(6).reshape(2, 3).T) == array_digest(
        np.ascontiguousarray(np.arange(6).reshape(2, 3).T)
    )


def test_equal_rows_have_equal_digests() -> None:
    rows = row_digests({"x": np.array([1.0, 2.0, 1.0]), "s": np.array(["a", "a", "a"], object)})
    assert rows[0] == rows[2] != rows[1]
    # "ab" + "c" is not "a" + "bc"
    assert len(set(row_digests({"x": np.array(["ab", "a"], object), "y": np.array(["c", "bc"], object)}))) == 2
