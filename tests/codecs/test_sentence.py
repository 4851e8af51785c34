"""Sentences become numbers, the same from a text and from its words, and the contract rebuilds the codec."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.codecs.sentence import SHAPE_NAMES, SentenceCodec, shape_of
from bedplate.core.errors import BundleError, PayloadError

CODEC = SentenceCodec(("la", "madrid", "en", "0000"), "adMrilen ", letters=6)


def test_a_text_and_its_words_are_the_same() -> None:
    payloads = ["La Madrid", ["La", "Madrid"], {"text": "La Madrid"}, {"words": ["La", "Madrid"]}, b"La  Madrid"]
    found = CODEC.number(CODEC.decode(payloads))
    assert found["tokens"].tolist() == [[2, 3]] * 5
    assert all((array == array[0]).all() for array in found.values())
    assert found["letters"].dtype == np.uint8
    assert found["letters"].shape == (5, 2, 6)


def test_rows_are_filled_up_and_unknown_words_are_one() -> None:
    found = CODEC.number(CODEC.decode(["en 2002", ["Quito"], ["x" * 9]]))
    assert found["tokens"].tolist() == [[4, 5], [1, 0], [1, 0]]
    assert found["shapes"].tolist() == [[1, 6], [4, 0], [1, 0]]
    assert found["letters"][1, 0].tolist() == [1, 1, 6, 1, 1, 0]
    assert (found["letters"][1, 1] == 0).all()


def test_of_a_long_word_both_ends_are_read() -> None:
    codec = SentenceCodec((), "abcdefgh", letters=4)
    assert codec.number(codec.decode([["abcdefgh"]]))["letters"][0, 0].tolist() == [2, 3, 8, 9]


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("casa", "small letters"), ("EFE", "capitals"), ("A", "one capital"), ("Madrid", "a capital first"),
        ("McDonald", "capitals within"), ("eBay", "capitals within"), ("2002", "digits"), ("1.000", "digits and signs"),
        ("G7", "letters and digits"), ("...", "signs"), ("北京", "letters without case"), ("d'Or", "capitals within"),
    ],
)  # fmt: skip
def test_a_word_has_a_shape(word: str, shape: str) -> None:
    assert SHAPE_NAMES[shape_of(word)] == shape


@given(st.text(min_size=1, max_size=12))
def test_every_word_has_a_shape(word: str) -> None:
    assert 1 <= shape_of(word) < len(SHAPE_NAMES)


def test_the_contract_rebuilds_the_codec() -> None:
    again = from_contract(json.loads(json.dumps(CODEC.contract())))
    assert again == CODEC
    rows = CODEC.decode(["La Madrid 2002 🎬"])
    for name, array in CODEC.number(rows).items():
        np.testing.assert_array_equal(again.features(rows)[name], array)
    for damage in ({"words": 5}, {"letters": 0}, {"alphabet": "x" * 300}):
        with pytest.raises(BundleError, match="sentence codec"):
            from_contract(CODEC.contract() | damage)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("", "the text is empty"), ("  \n", "the text is empty"), ([], "the sentence is empty"), (5, "not a sentence"),
        (None, "not a sentence"), (["a", 5], "not a word"), (b"\xff\xfe", "not UTF-8"), ("a\0", "control character"),
        ("x" * 1_000_000, "a word is too long"), ("x " * 100_000, "at most 2,000 words"), ({"body": "a"}, "no sentence"),
        (["a"] * 100_000, "at most 2,000 words"), ("\ud800", "surrogate"), (["\ud800"], "surrogate"),
        ({"text": {"a": 1}}, "not a sentence"),
    ],
)  # fmt: skip
def test_what_is_no_sentence_is_refused_with_a_reason(payload: object, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        CODEC.decode([payload])
    with pytest.raises(PayloadError, match="payload 1"):
        CODEC.decode(["fine", payload])
