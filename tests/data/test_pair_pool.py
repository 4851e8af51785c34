"""Texts with answers from files of parallel lines and from tables, and what is refused of them."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from bedplate.core.errors import DataError
from bedplate.data.pair_pool import is_parallel, parallel_name, parallel_paths, read_lines, read_pair_pool
from bedplate.recipe.schema import DataSpec, FilesSpec


def silent(text: str) -> None:
    """Hear nothing."""


def parallel(folder: Path, left: str, right: str, name: str = "train") -> str:
    (folder / f"{name}.de").write_text(left, encoding="utf-8")
    (folder / f"{name}.en").write_text(right, encoding="utf-8")
    return name + ".{de,en}"


def test_lines_that_go_together_are_read_in_their_order(tmp_path: Path) -> None:
    source = parallel(tmp_path, "ein Hund\r\nzwei\n", "a dog\ntwo\n")
    pool = read_pair_pool(DataSpec(source=source), tmp_path, silent)
    assert pool.texts.tolist() == ["ein Hund", "zwei"]
    assert pool.answers.tolist() == ["a dog", "two"]
    assert (pool.column, pool.target, pool.splits) == ("de", "en", None)
    assert pool.ids == ["train.de:1", "train.de:2"]


def test_official_splits_and_packed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRS", str(tmp_path))
    for name, count in (("train", 3), ("test", 2)):
        lines = "".join(f"Satz {k}\n" for k in range(count)).encode()
        (tmp_path / f"{name}.de.gz").write_bytes(gzip.compress(lines))
        (tmp_path / f"{name}.en.gz").write_bytes(gzip.compress(lines.replace(b"Satz", b"line")))
    files = FilesSpec(train="$PAIRS/train.{de,en}.gz", test="$PAIRS/test.{de,en}.gz")
    pool = read_pair_pool(DataSpec(files=files), Path("/"), silent)
    assert pool.splits is not None
    assert pool.splits.tolist() == ["train"] * 3 + ["test"] * 2
    assert pool.answers.tolist()[-1] == "line 1"


def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path) -> None:
    (tmp_path / "x.xz").write_bytes(lzma.compress("\ufeffa\u2028b\x0bc\nd".encode()))
    assert read_lines(tmp_path / "x.xz") == ["a\u2028b\x0bc", "d"]


def test_a_table_names_both_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,long,short\n1,the whole story of it,story\n2,another long story,other\n")
    pool = read_pair_pool(DataSpec(source="t.csv", target="short"), tmp_path, silent)
    assert (pool.column, pool.texts.tolist()) == ("long", ["the whole story of it", "another long story"])
    assert pool.answers.tolist() == ["story", "other"]


@pytest.mark.parametrize(
    ("left", "right", "match"),
    [
        ("a\nb\n", "a\n", "differ in length"), ("a\n\nb\n", "a\nx\nb\n", "'de': the text is empty"),
        ("a\nb\n", "a\n \n", "'en': the text is empty"),
    ],
)  # fmt: skip
def test_lines_at_fault_are_named(tmp_path: Path, left: str, right: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_pair_pool(DataSpec(source=parallel(tmp_path, left, right)), tmp_path, silent)
    assert "train.de" in caught.value.message


def test_bad_lines_can_be_left_out(tmp_path: Path) -> None:
    source = parallel(tmp_path, "a\n\nc\n", "x\ny\nz\n")
    pool = read_pair_pool(DataSpec(source=source, on_bad_row="skip"), tmp_path, silent)
    assert pool.texts.tolist() == ["a", "c"]
    assert list(pool.bad) == ["train.de:2"]
    assert any("left out: 1 row" in note for note in pool.notes)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file of lines"):
        parallel_paths("none.{de,en}", tmp_path)
    (tmp_path / "bad.de").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_lines(tmp_path / "bad.de")
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="can't be read"):
        read_lines(tmp_path / "bad.gz")
    files = FilesSpec(train=parallel(tmp_path, "a\n", "b\n"), test="test.csv")
    with pytest.raises(DataError, match="parallel lines beside a table"):
        read_pair_pool(DataSpec(files=files), tmp_path, silent)


@pytest.mark.parametrize("more", [{"target": "en"}, {"text": {"column": "de"}}])
def test_columns_of_parallel_lines_are_refused(tmp_path: Path, more: dict[str, object]) -> None:
    spec = DataSpec.model_validate({"source": parallel(tmp_path, "a\n", "b\n"), **more})
    with pytest.raises(DataError, match="parallel lines have no columns"):
        read_pair_pool(spec, tmp_path, silent)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a/train.{de,en}.gz", True), ("{src,tgt}.txt", True), ("train.csv", False), ("a{b}", False), ("{a/b,c}", False)],
)
def test_braces_name_two_files(text: str, is_one: bool) -> None:
    assert is_parallel(text) is is_one


def test_a_nul_is_at_fault_on_either_side(tmp_path: Path) -> None:
    for left, right, match in (("a\nb\0\n", "x\ny\n", "'de'.*NUL"), ("a\nb\n", "x\ny\0\n", "'en'.*NUL")):
        (tmp_path / "a.de").write_text(left)
        (tmp_path / "a.en").write_text(right)
        with pytest.raises(DataError, match=match):
            read_pair_pool(DataSpec(source="a.{de,en}"), tmp_path, lambda text: None)


@pytest.mark.parametrize(
    ("text", "name"),
    [("words.{de,en}", "words"), ("train.{de,en}", "box"), ("{de,en}", "box"), ("my-test.{a,b}", "my-test")],
)
def test_parallel_lines_are_called_as_their_files_are(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "box").mkdir()
    for path in (tmp_path / "box" / text.replace(text[text.index("{") :], side) for side in ("de", "en", "a", "b")):
        path.write_text("so\n")
    assert parallel_name(text, tmp_path / "box") == name
