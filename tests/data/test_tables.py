from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from bedplate.core.errors import DataError
from bedplate.data.tables import locate, read_table
from bedplate.recipe.schema import DataSpec

CSV = b"size,kind\n1.5,a\n2.5,b\n"
SPEC = DataSpec()


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.csv", bytes),
        ("t.csv.gz", gzip.compress),
        ("t.csv.bz2", bz2.compress),
        ("t.csv.xz", lzma.compress),
        ("t", gzip.compress),
    ],
)
def test_packed_tables_are_read(tmp_path: Path, name: str, pack: object) -> None:
    table = read_table(write(tmp_path, name, pack(CSV)), SPEC)  # type: ignore[operator]
    assert table.columns == {"size": ["1.5", "2.5"], "kind": ["a", "b"]}
    assert table.ids == [f"{name}:2", f"{name}:3"]


def test_a_zip_with_one_table_is_read_and_one_with_two_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", CSV)
        archive.writestr("__MACOSX/._t.csv", b"junk")
    assert len(read_table(path, SPEC)) == 2
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("u.csv", CSV)
    with pytest.raises(DataError, match=r"holds exactly one.*t.csv, u.csv"):
        read_table(path, SPEC)


def test_parquet_types_become_plain_values(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "n": pyarrow.array([1.5, None]),
            "when": pyarrow.array([datetime.datetime(2020, 1, 2, 3), None]),
            "day": pyarrow.array([datetime.date(2020, 1, 2), None]),
            "kind": pyarrow.array(["a", "b"]).dictionary_encode(),
            "cost": pyarrow.array([decimal.Decimal("1.25"), decimal.Decimal("2.50")]),
            "flag": pyarrow.array([True, None]),
            "list": pyarrow.array([[1, 2], None]),
            "raw": pyarrow.array([b"x", None]),
            "__index_level_0__": pyarrow.array([0, 1]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", SPEC).columns == {
        "n": [1.5, None], "when": ["2020-01-02T03:00:00", None], "day": ["2020-01-02", None], "kind": ["a", "b"],
        "cost": [1.25, 2.5], "flag": [True, None], "list": ["[1, 2]", None], "raw": ["x", None],
    }  # fmt: skip


def test_json_lines_and_arrays(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": {"c": 2}}, {"a": None}]
    lines = read_table(write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, rows)).encode()), SPEC)
    assert lines.columns == {"a": [1, None], "b": ['{"c": 2}', None]}
    assert "not every row has" in lines.notes[0]
    assert read_table(write(tmp_path, "t.json", json.dumps(rows).encode()), SPEC).columns == lines.columns


def test_ragged_rows_are_an_error_with_the_line_or_skipped_and_listed(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", b"a,b\n1,2\n\n3\n4,5,6\n7,8\n")
    with pytest.raises(DataError) as caught:
        read_table(path, SPEC)
    for words in ("t.csv, line 4", "expected 2 values", "received 1: 3", "data.on_bad_row: skip"):
        assert words in caught.value.message
    table = read_table(path, DataSpec(on_bad_row="skip"))
    assert table.columns == {"a": ["1", "7"], "b": ["2", "8"]}
    assert table.skipped == [("t.csv:4", "1 value instead of 2"), ("t.csv:5", "3 values instead of 2")]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b" \n\n", "the file is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "can't be read"),
        ("t.zip", b"PK\x03\x04nonsense", "can't be read"),
        ("t.parquet", b"PAR1 nonsense", "not a readable Parquet file"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "t.jsonl, line 2: not readable as JSON"),
        ("t.jsonl", b'{"a": 1}\n7\n', "line 2: a row must be a JSON object"),
        ("t.csv", "a,b\n1,é\n".encode("latin-1"), "line 2.*set data.encoding, for instance to cp1252"),
        ("t.csv", b'a,b\n"1,2\n3,4\n', "another number of values|no rows"),
    ],
)
def test_bad_files_are_refused_with_a_reason(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(write(tmp_path, name, data), SPEC)


def test_settings_of_the_recipe_are_obeyed(tmp_path: Path) -> None:
    path = write(tmp_path, "t.data", "|1x3 note\n39, é.\n50, ü.\n".encode("cp1252"))
    table = read_table(path, DataSpec(names=["age", "kind"], comment="|", encoding="cp1252"))
    assert table.columns == {"age": ["39", "50"], "kind": ["é.", "ü."]}
    assert table.ids[0] == "t.data:2"


def test_paths_are_expanded_and_misspelt_ones_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "table.csv", CSV)
    assert locate("table.csv", tmp_path) == tmp_path / "table.csv"
    assert locate(str(tmp_path / "table.csv"), Path("/")) == tmp_path / "table.csv"
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    assert locate("$SOMEWHERE/table.csv", Path("/")) == tmp_path / "table.csv"
    with pytest.raises(DataError, match=r"did you mean 'table.csv'\?"):
        locate("tabel.csv", tmp_path)
    monkeypatch.delenv("SOMEWHERE")
    with pytest.raises(DataError, match=r"the variable \$SOMEWHERE is not set"):
        locate("$SOMEWHERE/table.csv", tmp_path)


def test_files_of_excel_are_told_as_that(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
        archive.writestr("docProps/app.xml", "<a/>")
        archive.writestr("xl/workbook.xml", "<a/>")
    old = write(tmp_path, "x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500)
    for path in (tmp_path / "x.xlsx", old):
        with pytest.raises(DataError, match=r"Excel files aren't read .*save the sheet as CSV"):
            read_table(path, SPEC)
