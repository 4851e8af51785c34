from __future__ import annotations

import time

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bedplate.core.errors import ServerError
from bedplate.serving import client_calls as calls

KINDS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


@given(st.data(), st.sampled_from(KINDS))
def test_a_binary_reply_is_read_as_it_was_written(data: st.DataObject, kind: str) -> None:
    array = data.draw(hnp.arrays(kind, hnp.array_shapes(max_dims=3, max_side=4)))
    request = calls.infer("m", {"x": array}, None)
    size = int(request.headers["inference-header-content-length"])
    head = orjson.loads(request.body[:size])
    (entry,) = head["inputs"]
    reply = orjson.dumps({"outputs": [entry]})
    found = calls.read_tensors(reply + request.body[size:], {"inference-header-content-length": str(len(reply))})
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype == array.dtype


def test_a_json_reply_is_read_as_well() -> None:
    body = orjson.dumps({"outputs": [{"name": "y", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]})
    np.testing.assert_array_equal(calls.read_tensors(body, {})["y"], np.array([[1, 2], [3, 4]], np.float32))


def test_pauses_grow_stay_random_and_obey_the_server() -> None:
    tries = calls.Tries(60, 6)
    pauses = [tries.pause() for _ in range(7)]
    assert pauses[-1] is None
    for k, pause in enumerate(pauses[:-1]):
        assert calls.FIRST_PAUSE * 2**k / 2 <= pause <= calls.FIRST_PAUSE * 2**k
    assert calls.Tries(60, 1).pause("2") == 2.0
    assert calls.Tries(60, 1).pause("86400") == calls.LONGEST_PAUSE
    assert calls.Tries(60, 1).pause("Wed, 21 Oct 2015 07:28:00 GMT") <= calls.FIRST_PAUSE
    assert calls.Tries(1, 5).pause("3") is None


def test_a_deadline_ends_all_tries() -> None:
    tries = calls.Tries(0.05, 5)
    time.sleep(0.06)
    with pytest.raises(ServerError, match=r"no answer within 0\.05 seconds") as refused:
        _ = tries.seconds_left
    assert refused.value.status == 504


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "x", "hint": "do y"}', "x. do y"),
        (b'{"error": "x (expected 3; received 4)", "expected": "3", "received": "4"}', "x (expected 3; received 4)"),
        (b"<html>", "<html>"),
        (b"", "the server answered 502"),
        (b"[1]", "[1]"),
    ],
)
def test_a_refusal_is_read_whatever_its_form(body: bytes, words: str) -> None:
    error = calls.refusal(502, body)
    assert (error.message, error.status) == (words, 502)
