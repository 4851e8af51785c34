"""Tensors as bytes: what a plain encoder writes is read as it was, and bytes that lie are refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.serving.echo import DTYPES, Asking, asking, echo_bundle, open_bundle, values

from bedplate.codecs.codec import TensorSpec
from bedplate.serving.oip_binary import DATATYPES, bytes_of, check_datatype, check_shape, tensor_from_bytes
from bedplate.serving.problems import Problem

HEADER = "Inference-Header-Content-Length"


def encode(array: np.ndarray) -> bytes:
    """What a client writes, value by value."""
    kinds = {
        "b": "?",
        "f": {2: "e", 4: "f", 8: "d"},
        "u": {1: "B", 2: "H", 4: "I", 8: "Q"},
        "i": {1: "b", 2: "h", 4: "i", 8: "q"},
    }
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in array.ravel().tolist())
    kind: Any = kinds[array.dtype.kind]
    code = kind if isinstance(kind, str) else kind[array.dtype.itemsize]
    return b"".join(struct.pack(f"<{code}", one) for one in array.ravel().tolist())


def request(arrays: dict[str, np.ndarray], **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request's body and headers, with the tensors as bytes."""
    parts = [encode(array) for array in arrays.values()]
    inputs = [
        {"name": name, "datatype": DATATYPES[str(array.dtype) if array.dtype != object else "string"],
         "shape": list(array.shape), "parameters": {"binary_data_size": len(part)}}
        for (name, array), part in zip(arrays.items(), parts, strict=True)
    ]  # fmt: skip
    head = orjson.dumps({"inputs": inputs, **more})
    return b"".join([head, *parts]), {HEADER: str(len(head))}


def decode(reply: tuple[int, dict[str, str], bytes]) -> dict[str, np.ndarray]:
    """The tensors of a reply, read value by value."""
    status, headers, body = reply
    assert status == 200, body[:500]
    size = int(headers.get(HEADER.lower(), len(body)))
    at, found = size, {}
    for one in orjson.loads(body[:size])["outputs"]:
        kind = next(numpy for numpy, name in DATATYPES.items() if name == one["datatype"])
        if "data" in one:
            found[one["name"]] = np.array(one["data"], object if kind == "string" else kind).reshape(one["shape"])
            continue
        part = body[at : at + one["parameters"]["binary_data_size"]]
        at += len(part)
        if kind == "string":
            texts, k = [], 0
            while k < len(part):
                (length,) = struct.unpack_from("<I", part, k)
                texts.append(part[k + 4 : k + 4 + length].decode())
                k += 4 + length
            found[one["name"]] = np.array(texts, object).reshape(one["shape"])
        else:
            found[one["name"]] = np.frombuffer(part, kind).reshape(one["shape"])
    assert at == len(body)
    return found


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("boxes")
    with asking(echo_bundle(folder / "echo"), open_bundle(folder / "open")) as asked:
        yield asked


def arrays_of(dtype: str) -> st.SearchStrategy[np.ndarray]:
    shape = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)
    if dtype == "string":
        return hnp.arrays(object, shape, elements=st.text(max_size=9), fill=st.nothing())
    return hnp.arrays(dtype, shape)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_every_type_survives_both_ways(dtype: str, data: st.DataObject) -> None:
    array = data.draw(arrays_of(dtype))
    spec = TensorSpec("x", dtype, array.shape[1:])
    written = bytes(bytes_of(array))
    assert written == encode(array) or (array.dtype.kind == "f" and np.isnan(array).any())
    read = tensor_from_bytes(written, DATATYPES[dtype], array.shape, spec, "x")
    assert (read.shape, read.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(read, array)
    shifted = memoryview(b"\x00" + written)[1:]  # behind JSON of odd length
    np.testing.assert_array_equal(tensor_from_bytes(shifted, DATATYPES[dtype], array.shape, spec, "x"), array)


def test_bytes_are_not_copied_where_they_can_stay() -> None:
    data = bytearray(np.arange(6, dtype=np.float32).tobytes())
    array = tensor_from_bytes(data, "FP32", [2, 3], TensorSpec("x", "float32", (3,)), "x")
    data[0:4] = np.float32(9).tobytes()
    assert array[0, 0] == 9
    assert np.shares_memory(np.asarray(bytes_of(array)), array)


@given(number=st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_narrower_numbers_are_widened_exactly(number: float) -> None:
    short = np.array([number], np.float32).view(np.uint32) >> 16
    kept = (short.astype(np.uint32) << 16).view(np.float32)
    for wide in ("float32", "float64"):
        spec = TensorSpec("x", wide)
        for datatype, data, expected in (
            ("FP16", np.array([number], np.float16).tobytes(), np.float64(number)),
            ("BF16", short.astype("<u2").tobytes(), kept[0]),
        ):
            check_datatype(datatype, spec, "x")
            read = tensor_from_bytes(data, datatype, [1], spec, "x")
            assert read.dtype == wide
            assert read[0] == expected
    with pytest.raises(Problem, match="expected the datatype FP16"):
        check_datatype("FP32", TensorSpec("x", "float16"), "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "at least"),
        (b"\x05\x00\x00\x00abcd\x00\x00\x00\x00", "ends"),
        (b"\xff\xff\xff\xffabcdefgh", "4294967295"),
        (b"\x01\x00\x00\x00a\x00\x00\x00\x00x", "end after 9 bytes, but the tensor has 10"),
        (b"\x01\x00\x00\x00a\x00\x00", "8 bytes at least, received 7"),
        (b"\x01\x00\x00\x00\xff\x00\x00\x00\x00", "not UTF-8"),
    ],
)
def test_texts_whose_lengths_lie(data: bytes, message: str) -> None:
    with pytest.raises(Problem, match=message) as caught:
        tensor_from_bytes(data, "BYTES", [2], TensorSpec("x", "string"), "x")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "shape", [None, [], [1], [-1, 2], [True, 2], [1, 2, 1], [2**31, 2], [1.0, 2], ["1", 2], [0, 2], [1] * 9]
)
def test_shapes_that_do_not_fit(shape: Any) -> None:
    with pytest.raises(Problem) as caught:
        check_shape(shape, TensorSpec("x", "float32", (2,)), "x")
    assert caught.value.status == 400


@given(rows=st.integers(1, 5), seed=st.integers(0, 99), binary=st.lists(st.booleans(), min_size=13, max_size=13))
@settings(max_examples=20, deadline=None)
def test_the_server_gives_back_what_it_was_given(ask: Asking, rows: int, seed: int, binary: list[bool]) -> None:
    arrays = values(rows, seed)
    outputs = [
        {"name": f"out_{dtype}", "parameters": {"binary_data": b or dtype == "float16"}}
        for dtype, b in zip(DTYPES, binary, strict=True)
    ]
    body, headers = request(arrays, outputs=outputs, id="é")
    found = decode(ask("POST", "/v2/models/echo/infer", body, headers))
    assert list(found) == [f"out_{dtype}" for dtype in DTYPES]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name.replace("in_", "out_")], array)


def test_json_and_bytes_may_be_mixed_and_all_outputs_be_bytes(ask: Asking) -> None:
    arrays = values(2)
    named = {name: array for name, array in arrays.items() if name in ("in_float16", "in_int8")}
    body, headers = request(named)
    size = int(headers[HEADER])
    head = orjson.loads(body[:size])
    head["inputs"] += [
        {"name": name, "datatype": DATATYPES["string" if array.dtype == object else str(array.dtype)],
         "shape": list(array.shape), "data": array.tolist()}
        for name, array in arrays.items() if name not in named
    ]  # fmt: skip
    head["parameters"] = {"binary_data_output": True, "priority": 3, "sequence_id": 9, "anything": "goes"}
    head["outputs"] = [{"name": "out_int8", "parameters": {"binary_data": False}}, {"name": "out_uint64"}]
    text = orjson.dumps(head)
    reply = ask("POST", "/v2/models/echo/infer", text + body[size:], {HEADER: str(len(text))})
    found = decode(reply)
    np.testing.assert_array_equal(found["out_int8"], arrays["in_int8"])
    np.testing.assert_array_equal(found["out_uint64"], arrays["in_uint64"])
    outputs = orjson.loads(reply[2][: int(reply[1][HEADER.lower()])])["outputs"]
    assert ["data" in one for one in outputs] == [True, False]
    assert reply[1]["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("length", ["-1", "99999999999", "9" * 20, "x", "1.5", "", "0x10", "²"])
def test_header_lengths_that_are_none(ask: Asking, length: str) -> None:
    status, _, body = ask("POST", "/v2/models/echo/infer", b"{}", {HEADER: length})
    assert status == 400
    assert HEADER in orjson.loads(body)["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"binary_data_size": 23}}, "takes 24 bytes, received 23"),
        ({"parameters": {"binary_data_size": 25}}, "25, but only 24 bytes are left"),
        ({"parameters": {"binary_data_size": 2**62}}, "4611686018427387904, but only 24 bytes"),
        ({"parameters": {"binary_data_size": -1}}, "expected a number of bytes"),
        ({"parameters": {"binary_data_size": True}}, "expected a number of bytes"),
        ({"parameters": {"binary_data_size": "24"}}, "expected a number of bytes"),
        ({"parameters": [1]}, "expected an object"),
        ({"parameters": {"shared_memory_region": "x"}}, "shared memory isn't offered"),
        ({"parameters": {}}, "data must be a list"),
        ({"data": [1]}, "either data or binary_data_size"),
        ({"shape": [2, 2]}, "takes 16 bytes, received 24"),
        ({"datatype": "FP64"}, "expected the datatype FP32"),
        ({"datatype": "BF16"}, "takes 12 bytes"),
    ],
)
def test_sizes_that_lie(ask: Asking, change: dict[str, Any], message: str) -> None:
    left = np.ones((2, 3), np.float32)
    body, headers = request({"a": left, "b": left})
    size = int(headers[HEADER])
    head = orjson.loads(body[:size])
    head["inputs"][1] |= change
    text = orjson.dumps(head)
    status, _, reply = ask("POST", "/v2/models/open/infer", text + body[size:], {HEADER: str(len(text))})
    assert status == 400
    assert message in orjson.loads(reply)["error"], reply


def test_bytes_left_over_or_without_a_header(ask: Asking) -> None:
    array = np.ones((2, 3), np.float32)
    body, headers = request({"a": array, "b": array})
    status, _, reply = ask("POST", "/v2/models/open/infer", body + b"x", headers)
    assert (status, "49 bytes stand behind the JSON" in reply.decode()) == (400, True), reply
    status, _, reply = ask("POST", "/v2/models/open/infer", body[: int(headers[HEADER])])
    assert (status, "without the header" in reply.decode()) == (400, True), reply


def test_what_only_the_graph_can_know_is_the_callers_fault_too(ask: Asking) -> None:
    body, headers = request({"a": np.ones((1, 3), np.float32), "b": np.ones((1, 2), np.float32)})
    status, _, reply = ask("POST", "/v2/models/open/infer", body, headers)
    assert (status, "fails on these inputs" in reply.decode()) == (400, True)


def test_a_raw_body_is_for_models_with_one_input(ask: Asking) -> None:
    status, _, reply = ask("POST", "/v2/models/open/infer", b"1234", {HEADER: "0"})
    assert (status, "one input" in reply.decode()) == (400, True)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_the_server(ask: Asking, data: st.DataObject) -> None:
    """Good requests with some bytes changed, cut out or put in, and headers that don't tell the truth."""
    body, headers = request(values(2, seed=1), parameters={"binary_data_output": True})
    body, size = _damaged(data, body), int(headers[HEADER])
    if data.draw(st.booleans()):
        headers[HEADER] = str(size + data.draw(st.integers(-size, 300)))
    _check(ask("POST", "/v2/models/echo/infer", body, headers))


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_json_breaks_the_server(ask: Asking, data: st.DataObject) -> None:
    inputs = [
        {"name": f"in_{dtype}", "datatype": DATATYPES[dtype], "shape": [1] if dtype == "string" else [1, 2],
         "data": ["é"] if dtype == "string" else [True, False] if dtype == "bool" else [1, 2]}
        for dtype in DTYPES if dtype != "float16"
    ]  # fmt: skip
    body = orjson.dumps({"inputs": inputs, "outputs": [{"name": "out_int8"}], "id": "7"})
    _check(ask("POST", "/v2/models/echo/infer", _damaged(data, body)))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id", "binary_data_size", "timeout"]), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@given(value=json_values, key=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]))
@settings(max_examples=300, deadline=None)
def test_no_value_in_any_place_breaks_the_server(ask: Asking, value: Any, key: str) -> None:
    good = {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    for request_ in ({"inputs": [good | {key: value}, good | {"name": "b"}]}, {"inputs": value}, value,
                     {"inputs": [good, good | {"name": "b"}], "outputs": value},
                     {"inputs": [good, good | {"name": "b"}], "parameters": value}):  # fmt: skip
        _check(ask("POST", "/v2/models/open/infer", orjson.dumps(request_)))


def _damaged(data: st.DataObject, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        how = data.draw(st.integers(0, 3))
        if how == 0 and changed:
            changed[at] = data.draw(st.integers(0, 255))
        elif how == 1:
            del changed[at : at + data.draw(st.integers(1, 50))]
        elif how == 2:
            changed[at:at] = data.draw(st.binary(max_size=20))
        else:
            changed[at:at] = data.draw(st.sampled_from([b"-", b"9", b"0", b"[", b"{", b'"', b"null", b"e9", b","]))
    return bytes(changed)


def _check(reply: tuple[int, dict[str, str], bytes]) -> None:
    status, _, body = reply
    assert status == 200 or 400 <= status < 500, (status, body)
    if status != 200:
        assert orjson.loads(body)["error"]


def test_a_deadline_that_passed_is_told_so(ask: Asking) -> None:
    array = np.ones((1, 2), np.float32)
    for timeout, status in ((1, 504), (0, 200), (10**7, 200), (-1, 400), (1.5, 400), ("1", 400), (True, 400)):
        body, headers = request({"a": array, "b": array}, parameters={"timeout": timeout})
        assert ask("POST", "/v2/models/open/infer", body, headers)[0] == status, timeout
