from __future__ import annotations

import csv
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.delimited import guess_encoding, looks_like_header, open_delimited, sniff_delimiter
from bedplate.core.errors import DataError

CELLS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cc", "Zs", "Zl", "Zp"]),
    min_size=1,
    max_size=6,
)


def table(text: str, **settings: object) -> tuple[tuple[str, ...], list[list[str]]]:
    opened = open_delimited(text.encode(), "t.csv", **settings)  # type: ignore[arg-type]
    return opened.names, [cells for _, cells in opened.rows()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(delimiter: str, end: str) -> None:
    lines = [["size", "kind"], *([f"{i}.5", "ab"[i % 2]] for i in range(30))]
    names, rows = table(end.join(delimiter.join(line) for line in lines))
    assert names == ("size", "kind")
    assert rows == lines[1:]


def test_decimal_commas_do_not_hide_the_semicolon() -> None:
    assert sniff_delimiter("a;b;c\n" + "1,5;2,25;x\n" * 40) == ";"
    assert sniff_delimiter("1,5;2,25;x\n" * 40) == ";"


def test_bars_in_texts_do_not_hide_the_comma() -> None:
    rng = random.Random(0)
    assert sniff_delimiter("x,y,tags\n" + "".join(f"{rng.random()},{rng.random()},a|b\n" for _ in range(50))) == ","


def test_blanks_delimit_when_nothing_else_does() -> None:
    names, rows = table("".join(f"  {i}.0 {'  ' if i % 3 else chr(9)} {i}   x\n" for i in range(20)))
    assert names == ("c0", "c1", "c2")
    assert rows[3] == ["3.0", "3", "x"]
    assert sniff_delimiter("".join(f"{i}.5\t{i}\t{chr(9) if i % 9 == 0 else ''}7\n" for i in range(40))) == " "
    assert sniff_delimiter("just one column\nof free text here\n") == ","


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("age,city\n3,x\n4,y\n", True),
        ("39, State-gov\n50, Private\n", False),
        ("class,odor\np,x\ne,y\np,y\n", True),
        ("p,x\ne,y\np,x\ne,x\n", False),
        ("1,2,3\n4,5,6\n", False),
        ("id,0,1,2\n7,.5,.2,.1\n8,.1,.2,.3\n", True),
        (",a,b\n0,1,x\n1,2,y\n", True),
        ("when,what\n2020-01-01,x\n2020-01-02,y\n", True),
        ("2020-01-01,x\n2020-01-02,y\n", False),
        ("x,x,o,win\nx,o,x,lose\no,o,x,win\n", False),
        ("note,note,label\n" + "so it goes,and on,yes\nit ends,so what,no\nwhat else,no one,yes\n" * 2, True),
        ("red,red,win\n" + "blue,red,lose\nred,green,win\n" * 3, False),
    ],
)
def test_headers_are_told_from_rows(text: str, header: bool) -> None:
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    assert looks_like_header(rows) is header


def test_blank_and_repeated_names() -> None:
    opened = open_delimited(b",a,a,b\n1,2,3,x\n2,3,4,y\n", "t.csv")
    assert opened.names == ("unnamed", "a", "a (2)", "b")
    assert opened.renamed == ("a",)
    assert "column 3 is called 'a (2)'" in opened.notes[0]


def test_row_names_without_a_name_and_empty_cells_at_the_end() -> None:
    assert table("a b\n" + "".join(f"r{i} {i} {i}\n" for i in range(5)), delimiter=" ")[0] == ("unnamed", "a", "b")
    assert table("a\n" + "".join(f"r{i},{i}\n" for i in range(5)))[0] == ("unnamed", "a")
    names, rows = table("a,b\n1,2,\n3,4,,\n")
    assert (names, rows) == (("a", "b"), [["1", "2"], ["3", "4"]])


def test_comments_blank_lines_and_excels_first_line_keep_the_line_numbers_true() -> None:
    opened = open_delimited(b"# made today\na,b\n\n1,2\n# more, here\n3,4\n", "t.csv", comment="#")
    assert list(opened.rows()) == [(4, ["1", "2"]), (6, ["3", "4"])]
    assert table("sep=;\na;b\n1;2\n") == (("a", "b"), [["1", "2"]])


def test_quoted_cells_hold_delimiters_quotes_and_lines() -> None:
    assert table('a,b\n"1,5","say ""hi""\nthere"\n2,x\n')[1] == [["1,5", 'say "hi"\nthere'], ["2", "x"]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_read_and_do_not_stick_to_the_first_name(encoding: str) -> None:
    opened = open_delimited("größe,art\n1,x\n2,y\n".encode(encoding), "t.csv")
    assert opened.names == ("größe", "art")


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1252", "name,x\nMüller,1\nJosé,2\nAndré,3\n"), ("gb18030", "名字,数\n张三,1\n李四,2\n")]
)
def test_a_wrong_encoding_names_the_place_and_what_to_set(encoding: str, text: str) -> None:
    with pytest.raises(DataError) as caught:
        open_delimited(text.encode(encoding), "t.csv")
    message = caught.value.message
    assert f"set data.encoding, for instance to {encoding}" in message
    assert "t.csv, line" in message
    assert "at offset" in message
    assert open_delimited(text.encode(encoding), "t.csv", encoding=encoding).names == tuple(
        text.split("\n")[0].split(",")
    )


def test_an_unknown_encoding_or_a_binary_file_is_refused() -> None:
    with pytest.raises(DataError, match="unknown encoding"):
        open_delimited(b"a,b\n1,2\n", "t.csv", encoding="klingon")
    with pytest.raises(DataError, match="NUL"):
        open_delimited(b"a,b\n1,\0\n", "t.csv")
    with pytest.raises(DataError, match="is this a text file"):
        open_delimited(bytes(range(256)) * 4, "t.bin")


def test_names_must_fit_and_a_header_that_repeats_them_is_skipped() -> None:
    with pytest.raises(DataError, match="expected 2 names; received 1 names"):
        open_delimited(b"1,2\n3,4\n", "t.csv", names=["a"])
    assert table("A,b\n1,2\n", names=["a", "b"]) == (("a", "b"), [["1", "2"]])
    assert table("1,2\n3,4\n", names=["a", "b"])[1] == [["1", "2"], ["3", "4"]]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=2, max_size=20), st.sampled_from([",", ";", "\t", "|"]))
def test_what_pythons_csv_writes_is_read_back(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    opened = open_delimited(buffer.getvalue().encode(), "t.csv", delimiter=delimiter, known=("a",))
    assert [tuple(cells) for _, cells in opened.rows()] == rows


@pytest.mark.parametrize("text", ["标签,评论\n好评,很好的书\n" * 30, "größe,ärger\nschön,früh\nüber,öl\n" * 9])
def test_utf_8_with_a_stray_byte_is_no_other_encoding(text: str) -> None:
    raw = text.encode()
    at = raw.index(b"\n") + 1
    with pytest.raises(DataError, match=r"line 2.*it is UTF-8 but for 1 byte: mend it"):
        open_delimited(raw[:at] + b"\xff" + raw[at:], "t.csv")
    assert guess_encoding(raw[:at] + b"\xff" + raw[at:]) is None
    assert guess_encoding(text.encode("gb18030" if "标" in text else "cp1252")) is not None
