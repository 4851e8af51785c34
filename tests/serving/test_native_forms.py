"""Forms: their parts come out as they were put in, and no bytes break the reader."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.serving.native_forms import Part, read_form
from bedplate.serving.problems import Problem

names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters='"\\'), min_size=1, max_size=8
)


def written(parts: list[tuple[str, str | None, bytes]]) -> tuple[bytes, str]:
    """A form as another project's client writes it."""
    files = [(name, (file, data, "text/csv")) for name, file, data in parts]
    request = httpx.Request("POST", "http://x", files=files)
    return request.read(), request.headers["Content-Type"]


@given(parts=st.lists(st.tuples(names, st.none() | names, st.binary(max_size=50)), min_size=1, max_size=5))
def test_parts_come_out_as_they_were_put_in(parts: list[tuple[str, str | None, bytes]]) -> None:
    body, kind = written(parts)
    assert read_form(body, kind) == [Part(name, file, "text/csv", data) for name, file, data in parts]


def outcome(body: bytes, content_type: str) -> int:
    try:
        read_form(body, content_type)
    except Problem as problem:
        return problem.status
    return 200


@given(data=st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    body, kind = written([("a", "a.csv", b"x,y\n1,2\n"), ("b", None, b"\r\n--")])
    at = data.draw(st.integers(0, len(body)))
    changed = body[:at] + data.draw(st.binary(max_size=8)) + body[at + data.draw(st.integers(0, 40)) :]
    assert outcome(changed, kind) in (200, 400)


@given(kind=st.text(st.characters(max_codepoint=255), max_size=30))
def test_no_content_type_breaks_the_reader(kind: str) -> None:
    for content_type in (kind, f"multipart/form-data; boundary={kind}"):
        assert outcome(b"--x--\r\n", content_type) in (200, 400)


def test_a_form_that_ends_early_or_has_no_names() -> None:
    body, kind = written([("a", None, b"1")])
    with pytest.raises(Problem, match="ends early"):
        read_form(body[:-8], kind)
    with pytest.raises(Problem, match="part 1 of the form has no name"):
        read_form(b"--x\r\nContent-Type: text/plain\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x")
