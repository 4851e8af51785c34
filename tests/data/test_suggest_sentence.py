"""Tagged words are recognised in either form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.names import as_conll

from bedplate.core.errors import DataError
from bedplate.data.conll import read_conll
from bedplate.data.suggest import suggest
from bedplate.data.suggest_sentence import holds_sentences


def lines(tmp_path: Path, rows: list[Any]) -> Path:
    path = tmp_path / "names.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("tags", ["tags", "ner_tags", "labels"])
def test_json_lines_of_two_lists_are_tagged_words(tmp_path: Path, tags: str) -> None:
    sentences = read_conll(as_conll(tmp_path / "names.conll", 60).read_text(), "names.conll")
    path = lines(tmp_path, [{"id": k, "tokens": one.words, tags: one.tags} for k, one in enumerate(sentences)])
    found = suggest(path)
    assert (found.task, found.data) == ("token-classification", {"source": str(path)})
    assert found.reasons[0] == "an object a line, with a list of words and a list of their tags"


def test_other_json_lines_are_a_table(tmp_path: Path) -> None:
    path = lines(tmp_path, [{"size": k % 7, "label": "ab"[k % 7 > 3]} for k in range(60)])
    assert suggest(path).task == "tabular-classification"


def test_classes_numbers_are_told_by_list_and_value(tmp_path: Path) -> None:
    path = lines(tmp_path, [{"tokens": ["Ana", "came"], "ner_tags": [1, 0]}] * 20)
    with pytest.raises(DataError, match="item 1 of 'ner_tags' is 1, which is no string; write the classes' names"):
        suggest(path)


PLAIN = "".join(
    f"the O\nking{k} O\nforgot O\nAnna PER\n\nthe O\nriver{k} O\nforgot O\nParis LOC\n\n" for k in range(30)
)


@pytest.mark.parametrize("name", ["names.conll", "names.iob2", "names.bio"])
def test_a_files_name_says_that_it_holds_sentences_whatever_its_tags_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(PLAIN)
    assert suggest(tmp_path / name).task == "token-classification"
    (tmp_path / name).write_text(PLAIN.replace("PER", "O").replace("LOC", "O"))
    with pytest.raises(DataError, match="only one tag"):
        suggest(tmp_path / name)


def test_a_name_does_not_make_words_of_conll_u_s_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{k}\tword{k}\tlemma\tNOUN\n" for k in range(1, 6))
    (tmp_path / "tree.conll").write_text(f"# text = so it goes\n{rows}\n" * 30)
    assert not holds_sentences(tmp_path / "tree.conll")
