"""CoNLL columns and JSON lines give sentences, whatever marks their tags have; what is faulty is told with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.tags import TagSet
from bedplate.core.errors import DataError
from bedplate.data.conll import Sentence, as_bio, marks_entities, read_conll, read_json_sentences


def of(*tags: str) -> Sentence:
    return Sentence("f", 1, [f"w{k}" for k in range(len(tags))], list(tags))


def test_columns_are_words_and_tags_and_empty_lines_end_sentences() -> None:
    text = "-DOCSTART- -X- O\n\nEU NNP B-ORG\r\nrejects\tVBZ\tO\n\n\n \nAna NNP B-PER\n-DOCSTART- -X- O\n. . O"
    found = read_conll(text, "a.txt")
    assert [(one.place, one.words, one.tags, one.fault) for one in found] == [
        ("a.txt:3", ["EU", "rejects"], ["B-ORG", "O"], None),
        ("a.txt:8", ["Ana"], ["B-PER"], None),
        ("a.txt:10", ["."], ["O"], None),
    ]


def test_a_line_with_other_columns_is_told() -> None:
    found = read_conll("# a comment\na X O\nb O\nc X O\n\nd X O\n", "a.txt", "#")
    assert found[0].fault == "line 3: 2 columns (expected 3 columns, as the first line has)"
    assert found[1].fault is None
    assert read_conll("alone\n", "a.txt")[0].fault == "1 column (expected a word and its tag)"


def test_json_lines_hold_two_lists() -> None:
    text = '{"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]}\n\n{"tokens": ["a"], "ner_tags": ["O", "O"]}\n'
    found = read_json_sentences(text, "a.jsonl", None, None)
    assert [(one.place, one.tags) for one in found] == [("a.jsonl:1", ["B-ORG", "O"]), ("a.jsonl:3", ["O", "O"])]
    assert found[1].fault == "1 words and 2 tags"
    assert (
        read_json_sentences('{"w": [1], "t": ["O"]}', "a", "w", "t")[0].fault
        == "item 1 of 'w' is 1, which is no string"
    )
    for line, message in (('{"words": ["a"]}', "list is missing"), ("[1]", "not an object"), ("{", "not JSON")):
        with pytest.raises(DataError, match=message):
            read_json_sentences(line, "a.jsonl", None, None)


@pytest.mark.parametrize(
    ("given", "bio", "note"),
    [
        (["B-LOC", "I-LOC", "O", "B-LOC"], ["B-LOC", "I-LOC", "O", "B-LOC"], None),
        (["I-LOC", "I-LOC", "B-LOC", "I-PER"], ["B-LOC", "I-LOC", "B-LOC", "B-PER"], "IOB1"),
        (["S-LOC", "O", "B-PER", "I-PER", "E-PER"], ["B-LOC", "O", "B-PER", "I-PER", "I-PER"], None),
        (["U-LOC", "O", "B-PER", "L-PER"], ["B-LOC", "O", "B-PER", "I-PER"], None),
    ],
)
def test_every_scheme_becomes_bio(given: list[str], bio: list[str], note: str | None) -> None:
    one = of(*given)
    notes = as_bio([one])
    assert one.tags == bio
    assert one.fault is None
    assert (note in notes[0]) if note else not notes


@given(st.lists(st.sampled_from(["B-A", "I-A", "B-B", "I-B", "O"]), min_size=1, max_size=12))
def test_the_entities_stay_what_they_are(tags: list[str]) -> None:
    import numpy as np

    kinds = TagSet(("O", "B-A", "I-A", "B-B", "I-B"))
    before = kinds.entities(np.array([[kinds.tags.index(tag) for tag in tags]])).tolist()
    one = of(*tags)
    as_bio([one])
    assert kinds.entities(np.array([[kinds.tags.index(tag) for tag in one.tags]])).tolist() == before
    assert all(tag[:2] != "I-" or last[2:] == tag[2:] for last, tag in zip(["O", *one.tags], one.tags, strict=False))


def test_a_few_wrong_beginnings_are_mended_and_told_and_many_are_faults() -> None:
    good = [of("B-LOC", "I-LOC") for _ in range(100)]
    odd = Sentence("f.txt", 40, ["el", "Río"], ["O", "I-LOC"])
    (note,) = as_bio([*good, odd])
    assert "f.txt:41, 'Río' after O" in note
    assert odd.tags == ["O", "B-LOC"]
    many = [of("B-LOC"), of("O", "I-PER"), of("B-LOC", "I-PER")]
    as_bio(many)
    assert many[1].fault == "word 2, 'w1': I-PER follows O, but nothing of its type has begun"
    assert many[2].fault is not None


def test_a_tag_without_a_mark_is_a_fault_among_marked_ones() -> None:
    rows = [of("B-LOC", "I-LOC") for _ in range(20)]
    odd = of("LOC")
    assert marks_entities([*rows, odd])
    as_bio([*rows, odd])
    assert odd.fault == "word 1, 'w0': the tag 'LOC' is neither O, B-type nor I-type"
    assert not marks_entities([of("NOUN", "VERB"), of("DET")])


def test_a_list_that_is_null_is_told_as_that() -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: 'tags' is no list .*received null"):
        read_json_sentences('{"tokens": ["a"], "tags": null}', "a.jsonl", None, None)
