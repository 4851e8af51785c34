"""Entities are what conlleval says, paths are the best ones, and answers say where entities stand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bedplate.codecs.tags import NEVER, TagSet, best_path, tagged
from bedplate.codecs.words import joined

TAGS = TagSet(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))


def codes(*tags: str) -> np.ndarray:
    return np.array([[TAGS.tags.index(tag) if tag else -1 for tag in tags]])


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        (["B-LOC", "I-LOC", "O", "B-PER"], [(0, 2, "LOC"), (3, 4, "PER")]),
        (["B-LOC", "B-LOC", "I-LOC"], [(0, 1, "LOC"), (1, 3, "LOC")]),
        (["I-LOC", "I-LOC", "B-LOC"], [(0, 2, "LOC"), (2, 3, "LOC")]),  # IOB1
        (["O", "I-PER", "I-LOC"], [(1, 2, "PER"), (2, 3, "LOC")]),  # another type begins another entity
        (["B-PER", "I-LOC", "I-PER"], [(0, 1, "PER"), (1, 2, "LOC"), (2, 3, "PER")]),
        (["B-PER", "", ""], [(0, 1, "PER")]),
        (["O", "O"], []),
    ],
)
def test_entities_are_as_conlleval_sees_them(tags: list[str], entities: list[tuple[int, int, str]]) -> None:
    found = [(first, behind, TAGS.types[kind]) for _, first, behind, kind in TAGS.entities(codes(*tags)).tolist()]
    assert found == entities


def test_tags_without_marks_name_each_word() -> None:
    plain = TagSet(("ADJ", "NOUN", "X-Y"))
    assert not plain.marks
    assert plain.entities(np.array([[1, 1, -1]])).tolist() == [[0, 0, 1, 1], [0, 1, 2, 1]]
    assert plain.allowed.all()


def test_an_inside_follows_its_own_type_alone() -> None:
    allowed = {(i, j) for i, j in zip(*np.nonzero(TAGS.allowed), strict=True)}
    assert (1, 2) in allowed
    assert (2, 2) in allowed
    assert not {(0, 2), (3, 2), (4, 2), (5, 2)} & allowed  # the last row is the sentence's beginning
    assert (TAGS.rules()[~TAGS.allowed] == NEVER).all()


def test_counted_transitions_say_what_follows_what() -> None:
    found = TAGS.counted(np.concatenate([codes("B-LOC", "I-LOC", "O", "O"), codes("O", "B-LOC", "I-LOC", "")]))
    assert found.shape == (6, 5)
    assert found[1, 2] > found[1, 0]  # LOC goes on
    assert (found[~TAGS.allowed] == NEVER).all()
    assert np.isfinite(found).all()
    # Each row, weighted by how often tags stand anywhere, is a distribution.
    words = np.array([3, 2, 2, 0, 0]) + 0.5
    np.testing.assert_allclose((np.exp(found) * words / words.sum()).sum(axis=1), 1.0)


def brute(scores: np.ndarray, length: int, transitions: np.ndarray) -> float:
    """Return the greatest score of any sequence, by trying all."""
    size = scores.shape[1]
    return max(
        transitions[size, path[0]] + sum(scores[k, tag] for k, tag in enumerate(path))
        + sum(transitions[a, b] for a, b in itertools.pairwise(path))
        for path in itertools.product(range(size), repeat=length)
    )  # fmt: skip


@given(
    arrays.arrays(np.float64, (3, 4, 3), elements=st.floats(-5, 5)),
    arrays.arrays(np.float64, (4, 3), elements=st.floats(-5, 5)),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
)
def test_no_path_is_better_than_the_best(scores: np.ndarray, transitions: np.ndarray, lengths: list[int]) -> None:
    found = best_path(scores, np.array(lengths), transitions)
    for row, length in enumerate(lengths):
        path = found[row, :length].tolist()
        assert (found[row, length:] == -1).all()
        own = transitions[3, path[0]] + sum(scores[row, k, tag] for k, tag in enumerate(path))
        own += sum(transitions[a, b] for a, b in itertools.pairwise(path))
        assert own == pytest.approx(brute(scores[row], length, transitions))


def test_answers_say_where_entities_stand() -> None:
    texts = np.array(["Vive en  San José (Ana).", joined(["San", "José", "y", "Ana"])], object)
    tags = [["O", "O", "B-LOC", "I-LOC", "O", "B-PER", "O", "O"], ["B-LOC", "I-LOC", "O", "B-PER"]]
    wide = np.zeros((2, 8, 5), np.float32)
    for row, own in enumerate(tags):
        wide[row, np.arange(len(own)), [TAGS.tags.index(tag) for tag in own]] = 1
    text, words = tagged(wide, texts, TAGS, TAGS.rules().tolist())
    assert text["tags"] == tags[0]
    assert text["words"] == ["Vive", "en", "San", "José", "(", "Ana", ")", "."]
    assert text["answer"] == [
        {"type": "LOC", "words": [2, 4], "text": "San José", "start": 9, "end": 17},
        {"type": "PER", "words": [5, 6], "text": "Ana", "start": 19, "end": 22},
    ]
    assert [texts[0][one["start"] : one["end"]] for one in text["answer"]] == ["San José", "Ana"]
    assert words["answer"][0] == {"type": "LOC", "words": [0, 2], "text": "San José"}
    # What can't be is never answered, however likely each word's tag is.
    wide[1, 0] = [0, 0, 1, 0, 0]
    assert tagged(wide, texts, TAGS, TAGS.rules().tolist())[1]["tags"][0] != "I-LOC"
