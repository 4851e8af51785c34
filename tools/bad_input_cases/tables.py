"""Bad tables."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable

from tools.bad_input_cases.case import Case, Place

GROUP = "Tables"
TABLE = "name: a\ntask: tabular-classification\ndata: {source: a.csv, target: outcome%s}\n"
NUMBER = "name: a\ntask: tabular-regression\ndata: {source: a.csv, target: amount%s}\n"
HEADER = "amount,city,outcome"


def good_rows(rows: int = 60) -> list[str]:
    """Return lines of a small table with a number, a category and two classes."""
    source = random.Random(0)  # noqa: S311
    lines = []
    for _ in range(rows):
        amount = source.gauss(50, 20)
        lines.append(f"{amount:.2f},{source.choice(['Rome', 'Oslo', 'Lima'])},{'yes' if amount > 50 else 'no'}")
    return lines


def good_table(rows: int = 60) -> str:
    """Return a small table that can be learnt from."""
    return "\n".join([HEADER, *good_rows(rows)]) + "\n"


def _recipe(place: Place, more: str = "", text: str = TABLE) -> None:
    place.text("a.yaml", text % (f", {more}" if more else ""))


def _table(
    sent: str, content: str | bytes, *says: str, more: str = "", text: str = TABLE, code: int = 2, name: str = "a.csv"
) -> Case:
    """A recipe that is good, and a table that isn't."""

    def build(place: Place) -> None:
        _recipe(place, more, text.replace("a.csv", name))
        place.bytes(name, content if isinstance(content, bytes) else content.encode())

    return Case(GROUP, sent, "plan a.yaml", says, code, build)


def _init(
    sent: str, name: str, content: str | bytes, *says: str, flags: str = "", code: int = 2, shown: str | None = None
) -> Case:
    def build(place: Place) -> None:
        place.bytes(name, content if isinstance(content, bytes) else content.encode())

    return Case(GROUP, sent, f"init {shown or name.replace(' ', '␠')} {flags}".strip(), says, code, build)


def _with(line: int, replaced: str, rows: int = 60) -> str:
    """Return the good table with one line (from 1, the header) replaced."""
    lines = good_table(rows).splitlines()
    lines[line - 1] = replaced
    return "\n".join(lines) + "\n"


def _zip(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return out.getvalue()


def _locked_zip() -> bytes:
    """Return a zip whose one member says that it is encrypted (the standard library can't write a real one)."""
    data = bytearray(_zip({"a.csv": good_table()}))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"amount": list(range(60)), "outcome": ["yes", "no"] * 30}), out)
    return out.getvalue()


def _cut_parquet(place: Place) -> None:
    _recipe(place, text=TABLE.replace("a.csv", "a.parquet"))
    place.bytes("a.parquet", _parquet()[:-40])


def _official(test: str) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        place.text("a.yaml", "name: a\ntask: tabular-classification\ndata: {files: {train: train.csv, test: test.csv}, target: outcome}\n")  # fmt: skip
        place.text("train.csv", good_table())
        place.text("test.csv", test)

    return build


def _constant() -> str:
    return "a,b,outcome\n" + "1,x,yes\n1,x,no\n" * 30


def _numbers(value: Callable[[int], str]) -> str:
    """Return a table with a number `amount` to predict."""
    source = random.Random(1)  # noqa: S311
    return "b,amount\n" + "".join(f"{source.gauss(0, 1):.3f},{value(k)}\n" for k in range(60))


def _two(place: Place) -> None:
    place.text("f/a.csv", good_table())
    place.text("f/b.csv", good_table())


def _json_lines(bad: str) -> str:
    rows = [json.dumps({"amount": k, "outcome": "yes" if k % 2 else "no"}) for k in range(60)]
    rows[4] = bad
    return "\n".join(rows) + "\n"


CASES = (
    Case(GROUP, "a table that isn't there", "plan a.yaml", ("a.csv", "no such file"), build=_recipe),
    Case(GROUP, "init on nothing", "init nowhere", ("no such file or folder", "nowhere")),
    Case(
        GROUP, "init on a misspelt file", "init orderz.csv", ("no such file or folder", "did you mean 'orders.csv'?"),
        build=lambda place: place.text("orders.csv", good_table()),
    ),
    _table("an empty file", "", "the file is empty"),
    _init("init on an empty file", "a.csv", "", "the file is empty"),
    _table("a file of blanks", " \n\n  \n", "the file is empty"),
    _table("a header and nothing below", HEADER + "\n", "the table has no rows"),
    _init("init on a header and nothing below", "a.csv", HEADER + "\n", "no rows"),
    _table("one row", good_table(1), "rows"),
    _init("init on one row", "a.csv", good_table(1), "rows"),
    _table("two rows", HEADER + "\n1,Rome,yes\n2,Oslo,no\n", "rows"),
    _table("one class", good_table().replace(",no", ",yes"), "has one class only"),
    _init("init on one class", "a.csv", good_table().replace(",no", ",yes"), "one value only"),
    _table("one value of a number to predict", _numbers(lambda k: "5"), "has one value only", text=NUMBER),
    _table("a target that misses in a row", _with(7, "3,Rome,"), "a.csv, line 7", "'outcome' is missing", "on_bad_row: skip"),
    _table("a target that misses in a row, with on_bad_row: skip", _with(7, "3,Rome,"), "left out: 1 row", more="on_bad_row: skip", code=0),
    _table("a target that misses everywhere", good_table().replace(",yes", ",").replace(",no", ","), "'outcome' is missing"),
    _table("a target of another name", good_table(), "there is no column 'outcomes'", "did you mean 'outcome'?", text=TABLE.replace("outcome", "outcomes")),
    _init("init with a misspelt target", "a.csv", good_table(), "there is no column 'outcom'", "did you mean 'outcome'?", flags="--target outcom"),
    _table("a column of another name in the recipe", good_table(), "cty", "did you mean 'city'?", more="columns: {cty: {type: category}}"),
    _table("text for a number to predict", _numbers(lambda k: f"w{k}"), "holds no numbers", "tabular-classification", text=NUMBER),
    _table("a text among the numbers to predict", _numbers(lambda k: "many" if k == 5 else f"{k / 3:.2f}"), "a.csv, line 7", "'many'", text=NUMBER),
    _table("classes that never repeat", _numbers(lambda k: f"w{k}").replace("amount", "outcome"), "hardly ever repeats"),
    _table("text in a column of numbers", _with(9, "lots,Rome,yes"), "a.csv, line 9", "column 'amount'", "a number", "'lots'", more="columns: {amount: {type: number}}"),
    _table("infinity in a cell", _with(9, "inf,Rome,yes"), "a.csv, line 9", "column 'amount'", "a finite number", "'inf'"),
    _table("NaN in a cell", _with(9, "NaN,Rome,yes"), "42 training", code=0),
    _table("NaN in a number to predict", _numbers(lambda k: "nan" if k == 5 else f"{k / 3:.2f}"), "a.csv, line 7", "'amount' is missing", text=NUMBER),
    _table("a ragged row", _with(5, "1,Rome"), "a.csv, line 5", "3 values", "2: 1,Rome", "on_bad_row: skip"),
    _table("a ragged row, with on_bad_row: skip", _with(5, "1,Rome"), "left out: 1 row", more="on_bad_row: skip", code=0),
    _table("a wrong delimiter", good_table(), "there is no column 'outcome'", "is data.delimiter right?", more='delimiter: ";"'),
    _table("a delimiter of two characters", good_table(), "a delimiter is one character", more='delimiter: "::"'),
    _table("an open quote", _with(5, '1,"Rome,yes'), "a.csv"),
    _table("another encoding than UTF-8", good_table().replace("Rome", "Köln").encode("cp1252"), "a.csv, line", "expected utf-8", "0xf6", "cp1252"),
    _table("an encoding that doesn't exist", good_table(), "unknown encoding", "'utf-9'", more="encoding: utf-9"),
    _table("a byte-order mark", "\ufeff" + good_table(), "42 training", code=0),
    _table("UTF-16 with a byte-order mark", good_table().encode("utf-16"), "42 training", code=0),
    _table("UTF-16 without one", good_table().encode("utf-16-le"), "NUL characters", "data.encoding"),
    _table("a picture for a table", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe" * 9, "a.csv", "is this a text file?"),
    _table("NUL characters", _with(5, "1,Ro\0me,yes"), "NUL characters"),
    _table("gzip cut short", gzip.compress(good_table().encode())[:-60], "a.csv.gz", "can't be read", name="a.csv.gz"),
    _table("a locked zip", _locked_zip(), "a.zip", "encrypted", name="a.zip"),
    _table("a zip of two tables", _zip({"a.csv": "x", "b.csv": "y"}), "exactly one", "a.csv, b.csv", name="a.zip"),
    _table("a zip in a zip", _zip({"inner.zip": "PK"}), "exactly one", "inner.zip", name="a.zip"),
    _table("a zip cut short", _zip({"a.csv": good_table()})[:-30], "a.zip", "can't be read", name="a.zip"),
    Case(GROUP, "Parquet cut short", "plan a.yaml", ("a.parquet", "not a readable Parquet file"), build=_cut_parquet),
    _table("a broken line of JSON", _json_lines('{"amount": 4,'), "a.jsonl, line 5", "not readable as JSON", name="a.jsonl"),
    _table("a line of JSON that is no object", _json_lines("7"), "a.jsonl, line 5", "must be a JSON object", name="a.jsonl"),
    _table("an infinite number in JSON", _json_lines('{"amount": Infinity, "outcome": "yes"}'), "a.jsonl, line 5", "finite number", name="a.jsonl"),
    _table("two columns called as the target", good_table().replace("city", "outcome"), "two columns are called 'outcome'"),
    _table("two columns of one name", "\n".join(["x,x,outcome", *good_rows()]) + "\n", "occurs more than once", code=0),
    _table("every column set aside", good_table(), "no column is left to learn from", more="columns: {amount: {type: ignore}, city: {type: ignore}}"),
    _table("constant columns only", _constant(), "no column is left to learn from", "constant"),
    _table("a copy of the target only", "twin,outcome\n" + "yes,yes\nno,no\n" * 30, "copy of the target"),
    _table("a positive label that isn't there", good_table(), "there is no label 'yess'", "did you mean 'yes'?", more="positive: yess"),
    _table("a split by a column that isn't there", good_table(), "did you mean 'city'?", more="split: {by: group, column: cities}"),
    _table("too few groups to split by", good_table().replace("Lima", "Rome").replace("Oslo", "Rome"), "nothing is left", more="split: {by: group, column: city}"),
    _table("slices by a column that isn't there", good_table(), "evaluation.slices", "did you mean 'city'?", text=TABLE + "evaluation: {slices: [cty]}\n"),
    _table("names for another number of columns", good_table(), "3 names", "2 names", more="names: [a, b]"),
    Case(
        GROUP, "a test file of other columns", "plan a.yaml", ("test.csv", "the columns differ", "city"),
        build=_official(good_table().replace("city", "town")),
    ),
    Case(
        GROUP, "a class in the test file that training lacks", "plan a.yaml", ("test.csv, line 3", "class 'maybe'", "does not occur in training"),
        build=_official(_with(3, "3,Rome,maybe")),
    ),
    Case(
        GROUP, "a category in the test file that training lacks", "plan a.yaml", ("60 test",), 0,
        build=_official(_with(3, "3,Atlantis,yes")),
    ),
    _table("a value of a million characters", _with(9, f"3,{'x' * 1_000_000},yes"), "42 training", code=0),
    _table("a million characters where a number is due", _with(9, f"{'9x' * 500_000},Rome,yes"), "column 'amount'", "'9x9x", more="columns: {amount: {type: number}}"),
    Case(GROUP, "a folder with two tables", "init f", ("several tables", "a.csv, b.csv"), build=_two),
    _init("a file name with blanks and accents", "Données d'été 数据.csv", good_table(), "wrote", code=0),
)  # fmt: skip
