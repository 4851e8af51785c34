from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.codecs.rows import read_rows
from bedplate.codecs.strings import checked_text
from bedplate.codecs.table import TableCodec
from bedplate.core.errors import PayloadError

COLUMNS = [ColumnSchema("size", "number", "."), ColumnSchema("kind", "category", "text")]
ROWS = [{"size": 1.5, "kind": "a"}, {"size": None, "kind": "b"}, {"size": 3, "kind": "a"}]


def codec(**reading: Any) -> TableCodec:
    inputs = read_columns({"size": [1.0, 2.0, 3.5], "kind": ["a", "b", "a"]}, COLUMNS).tensors
    return TableCodec.fit(inputs, COLUMNS, "price", order=["size", "price", "kind"], reading=reading)


def decoded(data: bytes, **reading: Any) -> list[Any]:
    made = codec(**reading)
    tensors = made.decode([row for _, row in read_rows(data, name="in", codec=made)])
    return [[None if value != value else value for value in array.tolist()] for array in tensors.values()]


SAME = [[1.5, None, 3.0], ["a", "b", "a"]]


@pytest.mark.parametrize(
    "data",
    [
        b"size,kind\n1.5,a\n,b\n3,a\n",
        b"kind,price,size\na,9,1.5\nb,9,NA\na,,3\n",
        b"\xef\xbb\xbfsize;kind\r\n1.5;a\r\n;b\r\n3;a\r\n",
        gzip.compress(b"size\tkind\n1.5\ta\n\tb\n3\ta\n", mtime=0),
        b"1.5,9,a\n?,9,b\n3,9,a\n",  # no header: the training file's order
        b"1.5,a\n?,b\n3,a\n",  # no header and no target
        b"\n".join(json.dumps(row).encode() for row in ROWS),
        json.dumps(ROWS, indent=1).encode(),
        b'{"size": 1.5, "kind": "a"}\n\n{"size": NaN, "kind": "b"}\n{"size": 3, "kind": "a", "price": 1}\n',
    ],
)
def test_one_table_in_every_form(data: bytes) -> None:
    assert decoded(data) == SAME


def test_one_object_over_several_lines_is_one_row() -> None:
    assert decoded(json.dumps(ROWS[0], indent=2).encode()) == [[1.5], ["a"]]


def test_files_are_read_as_training_files_were() -> None:
    assert decoded("% made today\n1.5|9|ä\n2|8|b\n".encode("cp1252"), delimiter="|", comment="%", encoding="cp1252") == [
        [1.5, 2.0], ["ä", "b"],
    ]  # fmt: skip
    assert decoded(b"3;a\n", delimiter=";") == [[3.0], ["a"]]  # a single line is too short to sniff


def test_ids_name_the_file_and_the_line(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("size,kind\n1,a\n\n2,b\n")
    assert [name for name, _ in read_rows(file, codec=codec())] == ["new.csv:2", "new.csv:4"]


def test_without_a_codec_the_header_decides() -> None:
    assert list(read_rows(b"size,kind\n1,a\n", name="in")) == [("in:2", {"size": "1", "kind": "a"})]


def test_a_bad_row_is_left_to_decode_so_that_its_neighbours_are_answered() -> None:
    rows = [row for _, row in read_rows(b"size,kind\n1,a\n2\n3,b\n", codec=codec())]
    assert rows[1] == ["2"]
    with pytest.raises(PayloadError, match="row 2: the row has another number of values"):
        codec().decode(rows)
    assert len(codec().decode([rows[0], rows[2]])["size"]) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"1,2,3,4,5\n6,7,8,9,1\n", "the first line names no known column"),
        (b'{"size": 1', "not readable as JSON"),
        (b'{"size": 1}\n{"size": }\n', "in, line 2"),
        ("size,kind\n1,é\n".encode("latin-1"), "save it as UTF-8"),
        (b"\x1f\x8bnot gzip", "can't be unpacked"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        list(read_rows(data, name="in", codec=codec()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PayloadError, match=r"new\.csv: can't be read"):
        list(read_rows(tmp_path / "new.csv"))


def test_lists_a_line_are_no_array() -> None:
    found = list(read_rows(b'["Ana", "came"]\n{"words": ["Ben"]}\n', name="rows.jsonl"))
    assert found == [("rows.jsonl:1", ["Ana", "came"]), ("rows.jsonl:2", {"words": ["Ben"]})]
    assert [row for _, row in read_rows(b'["Ana",\n"came"]\n', name="rows.jsonl")] == ["Ana", "came"]
    with pytest.raises(PayloadError, match="line 2"):
        list(read_rows(b'["Ana"]\n["Ben"\n', name="rows.jsonl"))


@pytest.mark.parametrize("sign", [";", "|", "\t", ","])
def test_what_delimits_texts_says_their_header_and_not_what_is_in_them(sign: str) -> None:
    texts = [f"hello there{sign} you", f"win cash{sign} now", f"a{sign} b{sign} c", ""]
    one = "message\n" + "".join(f'"{text}"\n' for text in texts)
    assert [row for _, row in read_rows(one.encode(), column="message")] == [{"message": text} for text in texts]
    two = f"id{sign}message\n" + "".join(f'{k}{sign}"{text}"\n' for k, text in enumerate(texts))
    assert [row["message"] for _, row in read_rows(two.encode(), column="message")] == texts
    bare = "message\n" + "".join(f"{text}\n" for text in texts[:3])
    found = [row for _, row in read_rows(bare.encode(), column="message")]
    if sign == ",":
        assert [len(row) for row in found] == [2, 2, 3]  # too many cells: told where the row is read as a text
    else:
        assert found == [{"message": text} for text in texts[:3]]
    named = f"text{sign}answer\nso{sign}1\n"
    assert [row["text"] for _, row in read_rows(named.encode(), column="message")] == ["so"]


@pytest.mark.parametrize(
    ("begin", "said"), [(b"PAR1", "Parquet isn't read here"), (b"PK\x03\x04", "Excel"), (b"\xd0\xcf\x11\xe0", "Excel")]
)
def test_files_that_need_other_libraries_are_told_by_name(begin: bytes, said: str) -> None:
    with pytest.raises(PayloadError, match=rf"{said}.*expected CSV"):
        list(read_rows(begin + bytes(99), name="in"))
    with pytest.raises(PayloadError, match=said):
        checked_text(begin + bytes(99))
