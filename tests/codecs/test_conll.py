"""CoNLL columns, told from other texts by what they hold."""

from __future__ import annotations

import pytest

from bedplate.codecs.conll import is_conll, read_columns

POS = ("DET", "NOUN", "VERB", ".")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Ana B-PER\ncame O\n\nLima B-LOC\n", True),
        ("-DOCSTART- X O\n\nAna X B-PER\ncame X O\n", True),
        ("the DET\ncat NOUN\nsat VERB\n. .\n", True),
        ("# a sentence that is long\nthe DET\ncat NOUN\n", True),
        ("Ana lives in Quito.\nIker too.\n", False),
        ("Ana came .\nBen left .\n", False),
        ("Ana B-PER\n", False),
        ("", False),
        ("one\ntwo\n", False),
        ("text,label\nso it,goes\n", False),
    ],
)
def test_columns_are_told_by_their_tags(text: str, is_one: bool) -> None:
    assert is_conll(text, POS, "#") is is_one


def test_sentences_keep_their_lines() -> None:
    found = list(read_columns("-DOCSTART- O\n\nAna B-PER\r\n# no\ncame\tO\n\n\nLima B-LOC", "#"))
    assert found == [[(3, ["Ana", "B-PER"]), (5, ["came", "O"])], [(8, ["Lima", "B-LOC"])]]
