"""Words are found where the rule says, and a list of them travels as one string."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.words import END, MOST_LETTERS, MOST_WORDS, check_words, joined, split_words
from bedplate.core.errors import PayloadError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Vive en Madrid.", ["Vive", "en", "Madrid", "."]),
        ("¿Qué? (EE.UU.)", ["¿", "Qué", "?", "(", "EE.UU", ".", ")"]),
        ("franco-alemán 1.000 10,5% don't", ["franco-alemán", "1.000", "10,5", "%", "don't"]),
        ("-- espera...\tsí", ["--", "espera", "...", "sí"]),
        ("我爱Beijing，他也爱", ["我", "爱", "Beijing", "，", "他", "也", "爱"]),
        ("שלום עולם!", ["שלום", "עולם", "!"]),
        ("\u200fشركة «ألفا»", ["\u200fشركة", "«", "ألفا", "»"]),
        ("hola 🎬🎬 ❤️", ["hola", "🎬🎬", "❤️"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("\u200b \u200f", []),
    ],
)  # fmt: skip
def test_signs_at_the_edges_are_words_of_their_own(text: str, words: list[str]) -> None:
    found = split_words(text)
    assert [word.text.lstrip("\u200f") for word in found] == [word.lstrip("\u200f") for word in words]
    assert all(text[word.start : word.end] == word.text for word in found)


@given(st.text(max_size=60))
def test_every_word_stands_where_it_says_and_nothing_visible_is_lost(text: str) -> None:
    text = text.replace(END, "")
    found = split_words(text)
    assert all(text[word.start : word.end] == word.text for word in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    assert sum(map(str.isalnum, text)) == sum(letter.isalnum() for word in found for letter in word.text)


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda word: word.strip() and END not in word), min_size=1))
def test_a_list_travels_as_one_string(words: list[str]) -> None:
    assert [word.text for word in split_words(joined(words))] == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the sentence is empty"), (["a", 5], r"not a word \(word 2|word 2.*not a word"), (["a", " "], "the word is empty"),
        (["a\x1fb"], "control character"), ([None], "received null"), (["a", ["b"]], "received a list"),
    ],
)  # fmt: skip
def test_a_list_that_holds_no_words_is_refused(words: list[object], message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        joined(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\0b", r"U\+0000 at character 1"), ("a \x07", r"U\+0007"), ("\u200f\u200b", "holds no word"),
        ("x " * (MOST_WORDS + 1), "at most 2,000 words"), ("y" * (MOST_LETTERS + 1), "a word is too long"),
        (f"a{END}b", "behind every word"), (f"a{END}{END}", "the word is empty"), (f"a\0{END}", r"U\+0000"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        check_words(text)


def test_the_longest_sentence_is_read() -> None:
    assert check_words("x " * MOST_WORDS)
    assert check_words("a\tb\r\nc")
