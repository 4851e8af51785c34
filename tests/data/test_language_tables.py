from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from tests.data.test_language import load, spelt

from bedplate.core.errors import DataError
from bedplate.data.language_tables import is_text_table
from bedplate.data.suggest import suggest

ROWS = [{"id": 1000 + k, "title": f"no. {k}", "text": f"Text {k}: so it goes, \nand on."} for k in range(120)]
WHOLE = "".join(f"{row['text']}\n" for row in ROWS)


def write(path: Path) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        lines = "\n".join(map(json.dumps, ROWS))
        path.write_bytes(
            gzip.compress(lines.encode())
            if path.suffix == ".gz"
            else json.dumps(ROWS).encode()
            if path.suffix == ".json"
            else lines.encode()
        )
    return path


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.jsonl", "t.ndjson", "t.json", "t.parquet", "t.jsonl.gz"]
)  # fmt: skip
def test_a_table_is_the_texts_of_its_longest_column(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    found = load(tmp_path, source=name)
    train = spelt(found, found.train)
    assert WHOLE.startswith(train)
    assert len(train) == pytest.approx(0.9 * len(WHOLE), abs=17)
    assert any("120 texts" in note and "'text'" in note for note in found.notes)


def test_init_proposes_the_column_and_what_it_proposes_is_what_is_loaded(tmp_path: Path) -> None:
    found = suggest(write(tmp_path / "t.csv"), task="language-modelling")
    assert found.data["text"]["column"] == "text"
    assert f"{len(WHOLE):,} characters" in " ".join(found.reasons)
    assert found.facts["tokens"] == pytest.approx(0.9 * len(WHOLE), abs=found.facts["length"])
    assert suggest(tmp_path / "t.csv", "title", "language-modelling").data["text"]["column"] == "title"


def test_the_recipes_column_counts_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    write(tmp_path / "t.csv")
    found = load(tmp_path, source="t.csv", text={"length": 8, "column": "title"})
    assert spelt(found, found.train).startswith("no. 0\nno. 1\n")
    with pytest.raises(DataError, match=r"data\.text\.column: no such column .*did you mean 'title'"):
        load(tmp_path, source="t.csv", text={"length": 8, "column": "titel"})
    (tmp_path / "book.txt").write_text(WHOLE)
    with pytest.raises(DataError, match=r"data\.text\.column: a plain text has no columns"):
        load(tmp_path, source="book.txt", text={"length": 8, "column": "title"})


def test_official_files_are_read_by_the_training_files_column_and_may_be_plain(tmp_path: Path) -> None:
    write(tmp_path / "t.csv")
    (tmp_path / "v.jsonl").write_text('{"text": "goes on", "title": "a title, longer than the text"}\n' * 20)
    (tmp_path / "e.txt").write_text("so it goes, " * 20)
    found = load(tmp_path, files={"train": "t.csv", "validation": "v.jsonl", "test": "e.txt"})
    assert spelt(found, found.validation).startswith("goes on\ngoes on\n")
    assert spelt(found, found.test).startswith("so it goes, ")


def test_empty_cells_are_passed_over_and_told_and_a_column_of_none_is_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"text": None if k % 4 == 0 else f"Text {k} goes on."}) for k in range(200)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    found = load(tmp_path, source="t.jsonl")
    assert "None" not in spelt(found, found.train)
    assert any("150 texts" in note and "50 rows without one" in note for note in found.notes)
    (tmp_path / "t.csv").write_text("id,text\n" + "1,\n" * 20)
    with pytest.raises(DataError, match="'text' holds no text"):
        load(tmp_path, source="t.csv", text={"column": "text"})


def test_json_that_is_no_rows_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text("So it goes.\n" * 20)
    (tmp_path / "rows.json").write_text(' [{"a": 1}]')
    assert not is_text_table(tmp_path / "lines.json")
    assert is_text_table(tmp_path / "rows.json")
