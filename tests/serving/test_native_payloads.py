"""Payloads in any form: what a tensor model takes, and that nothing a caller sends breaks the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle.boxes import image_bundle, table_bundle, table_rows
from tests.serving.echo import Asking, asking, echo_bundle, values

KINDS = [
    "", "application/json", "text/csv", "application/x-ndjson", "image/png", "multipart/form-data; boundary=x",
    "multipart/form-data", "application/vnd.x+json", "ünknown",
]  # fmt: skip


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    folder = tmp_path_factory.mktemp("boxes")
    boxes = image_bundle(folder / "i"), table_bundle(folder / "t"), echo_bundle(folder / "e")
    with asking(*boxes) as asked:
        yield asked


def row_of(k: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: array[k].tolist() if array.ndim > 1 else array[k] for name, array in arrays.items()}


def test_tensors_by_name_as_json_lines_and_in_a_form(ask: Asking) -> None:
    arrays = values(3)
    rows = [row_of(k, arrays) for k in range(3)]
    expected = [{f"out_{name[3:]}": value for name, value in row.items()} for row in rows]
    for body in (json.dumps(rows), json.dumps(rows[0])):
        status, _, reply = ask("POST", "/predict/echo", body.encode())
        assert status == 200, reply
        answers = json.loads(reply)["answers"]
        assert [answer["outputs"] for answer in answers] == expected[: len(answers)]
    status, headers, reply = ask("POST", "/predict/echo", json.dumps(rows).encode(), query="stream=true")
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert [json.loads(line)["outputs"] for line in reply.splitlines()] == expected
    lines = {"Content-Type": "application/x-ndjson"}
    status, _, reply = ask("POST", "/predict/echo", b"\n".join(json.dumps(row).encode() for row in rows), lines)
    assert status == 200, reply
    assert [answer["outputs"] for answer in json.loads(reply)["answers"]] == expected
    status, _, reply = ask("POST", "/predict/echo", json.dumps(rows[0]).encode() + b"\n{]", lines)
    assert status == 400
    assert "line 2" in json.loads(reply)["error"]
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{json.dumps(value)}\r\n'
        for name, value in rows[0].items()
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, reply = ask("POST", "/predict/echo", f"{parts}--x--\r\n".encode(), kind)
    assert (status, json.loads(reply)["answers"][0]["outputs"]) == (200, expected[0])


def test_stream_is_true_or_false(ask: Asking) -> None:
    body = json.dumps(table_rows(1)).encode()
    for said, status in (("true", 200), ("FALSE", 200), ("1", 200), ("0", 200), ("", 200), ("maybe", 400)):
        assert ask("POST", "/predict/prices", body, query=f"stream={said}")[0] == status, said


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["age", "town", "since", "b64", "image", "in_int8"]), inner, max_size=4)
    ),
    max_leaves=10,
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.lists(json_values, max_size=4).map(lambda rows: b"\n".join(json.dumps(row).encode() for row in rows)),
    st.text("age,town\n;\t\"'1.é", max_size=60).map(str.encode),
    st.binary(max_size=80).map(lambda data: b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + data + b"\r\n--x--\r\n"),
)  # fmt: skip


@given(
    body=bodies, kind=st.sampled_from(KINDS), model=st.sampled_from(["small", "prices", "echo"]), stream=st.booleans()
)
@settings(max_examples=500, deadline=None)
def test_nothing_breaks_the_server(ask: Asking, body: bytes, kind: str, model: str, stream: bool) -> None:
    query = "stream=true" if stream else ""
    status, _, reply = ask("POST", f"/predict/{model}", body, {"Content-Type": kind}, query)
    assert status == 200 or 400 <= status < 500, (status, reply)
    if status != 200:
        assert json.loads(reply)["error"]
