"""Texts without labels, from whatever a user has."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedplate.core.errors import DataError
from bedplate.data.unlabelled_texts import read_unlabelled_texts
from bedplate.recipe.schema import DataSpec

TEXTS = ["a wonderful film", "dull, and far too long", "映画はとても良かったです"]


def read(path: Path | str, column: str = "text", **settings: object) -> tuple[list[str], list[str]]:
    spec = DataSpec(**{"source": "x", **settings})  # type: ignore[arg-type]
    base = Path(path).parent
    texts, notes = read_unlabelled_texts(str(path), column, spec, base=base, announce=lambda text: None)
    return texts.tolist(), notes


def test_lines_tables_and_files_give_the_same_texts(tmp_path: Path) -> None:
    lines = ("\n".join([TEXTS[0], "", f"  {TEXTS[1]}\r", TEXTS[2]]) + "\n").encode()
    (tmp_path / "a.txt").write_bytes(lines)
    (tmp_path / "bare").write_bytes(b"\xef\xbb\xbf" + lines)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.bz2").write_bytes(bz2.compress(lines))
    rows = [f'{k},"{text}",x' for k, text in enumerate(TEXTS)]
    (tmp_path / "a.csv").write_text("\n".join(["id,review,label", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("".join(f'{{"review": "{text}"}}\n' for text in TEXTS), encoding="utf-8")
    pq.write_table(pa.table({"review": TEXTS, "label": ["y" * 99] * 3}), tmp_path / "a.parquet")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "skipped.csv").write_text("a,b\n1,2\n")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for k, text in enumerate(TEXTS):
            (tmp_path / "folder" / "inner" / f"{k}.txt").write_text(text, encoding="utf-8")
            entry = tarfile.TarInfo(f"x/{k}.txt")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    for path in sorted(tmp_path.iterdir()):
        assert read(path, "review") == (TEXTS, []), path.name


def test_a_tables_column_is_the_training_ones_or_the_recipes_or_the_longest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,title,body,label\n1,one,a longer text,the longest of all texts here\n")
    path = tmp_path / "a.csv"
    assert read(path, "title")[0] == ["one"]
    assert read(path, target="label")[0] == ["a longer text"]
    assert read(path, target="label", text={"column": "id"})[0] == ["1"]
    with pytest.raises(DataError, match="did you mean 'body'"):
        read(path, target="label", text={"column": "bdy"})


def test_the_labelled_rows_own_file_is_read_as_it_was_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("label\ttext\nham\tso it goes\nspam\twin a prize\n")
    found, _ = read(tmp_path / "rows", source="rows", target="label")
    assert found == ["so it goes", "win a prize"]
    assert read(tmp_path / "rows", source="other")[0][1] == "ham\tso it goes"


def test_bad_texts_are_refused_or_left_out_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n\xff\xfe\nfine, too\n")
    with pytest.raises(DataError, match=r"a\.txt:2: .*not UTF-8.*1 text at fault.*data\.on_bad_row: skip"):
        read(path)
    texts, notes = read(path, on_bad_row="skip")
    assert texts == ["fine", "fine, too"]
    assert "1 text of a.txt; the first is a.txt:2" in notes[0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b" \n\n", "the file is empty"),
        ("a.txt", "so it goes".encode("utf-16"), "a NUL at byte"),
        ("a.txt.gz", b"\x1f\x8b\0", "can't be read"),
        ("a.csv", b"text\n", "the table has no rows"),
    ],
)
def test_what_holds_no_texts_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.txt").write_text("so it goes\n")
    with pytest.raises(DataError, match=r"did you mean 'more\.txt'"):
        read(tmp_path / "mre.txt")
    with pytest.raises(DataError, match=r"\$NOWHERE is not set"):
        read("$NOWHERE/more.txt")
    monkeypatch.setenv("NOWHERE", str(tmp_path))
    assert read("$NOWHERE/more.txt")[0] == ["so it goes"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no texts in it"):
        read(tmp_path / "empty")
