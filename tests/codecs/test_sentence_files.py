"""Sentences for prediction from files, in every form that training reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.names import as_conll

from bedplate.codecs.sentence import SentenceCodec
from bedplate.codecs.sentence_files import read_sentences
from bedplate.core.errors import PayloadError
from bedplate.data.conll import read_conll

CODEC = SentenceCodec((), "")


def read(path: Path, codec: SentenceCodec = CODEC) -> list[tuple[str, str]]:
    return [(name, codec.sentence_of(payload)) for name, payload in read_sentences(path, path.name, codec)]


def test_conll_gives_the_words_that_training_reads(tmp_path: Path) -> None:
    path = as_conll(tmp_path / "names.conll", 5)
    wanted = read_conll(path.read_text(), "names.conll")
    found = list(read_sentences(path, "names.conll", CODEC))
    assert found == [(one.place, one.words) for one in wanted]
    name, _ = next(read_sentences(path.read_bytes(), "standard input", CODEC))
    assert name == "standard input:3"


def test_training_s_encoding_and_comments_hold(tmp_path: Path) -> None:
    path = as_conll(tmp_path / "names.tsv", 5, encoding="cp1252")
    path.write_bytes(path.read_bytes() + b"\n# id = 6\nAna X B-PER\n")
    codec = replace(CODEC, encoding="cp1252", comment="#")
    again = SentenceCodec.from_contract(json.loads(json.dumps(codec.contract())))
    assert again == codec
    found = read(path, again)
    assert len(found) == 6
    assert found[-1][1] == "Ana\x1f"
    with pytest.raises(PayloadError, match="not text of the expected encoding"):
        read(path)


@pytest.mark.parametrize("name", ["tokens", "words", "text"])
def test_json_lines_that_trained_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({name: ["Ana", "came"], "tags": ["B-PER", "O"], "id": k}) + "\n" for k in (1, 2))
    )
    assert read(path) == [("rows.jsonl:1", "Ana\x1fcame\x1f"), ("rows.jsonl:2", "Ana\x1fcame\x1f")]


def test_words_count_where_a_row_has_its_text_beside_them() -> None:
    assert CODEC.sentence_of({"text": "Ana came.", "tokens": ["Ana", "came."]}) == "Ana\x1fcame.\x1f"
    assert replace(CODEC, column="said").sentence_of({"said": "Ana came.", "tokens": ["Ana"]}) == "Ana came."


def test_plain_text_stays_a_sentence_a_line(tmp_path: Path) -> None:
    path = tmp_path / "plain.txt"
    path.write_bytes(b"Ana lives in Lima.\n\nIker \xff too.\n")
    (first, second) = read_sentences(path, path.name, CODEC)
    assert first == ("plain.txt:1", b"Ana lives in Lima.")
    assert second == ("plain.txt:3", b"Iker \xff too.")


def test_a_table_s_column_holds_sentences(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nAna came,x\nBen left,y\n")
    assert [text for _, text in read(path)] == ["Ana came", "Ben left"]


def test_a_row_without_a_sentence_says_what_one_may_be_called() -> None:
    with pytest.raises(PayloadError, match=r"no sentence.*'text' or 'tokens' or 'words'.*'wrods'"):
        CODEC.sentence_of({"wrods": ["Ana"]})
