from __future__ import annotations

import json
from unicodedata import category

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.codecs.text import PAD, TOKENS, TextCodec
from bedplate.codecs.text_learning import UNKNOWN_NUMBER, learn_tokenizer
from bedplate.core.errors import BundleError, InputError, PayloadError

TEXTS = [
    "The cat sat on the mat.",
    "A dog sat on the log!",
    "Cats and dogs, dogs and cats",
    "Ünï çödé – 猫と犬 🐈 עברית",
] * 3
KINDS = ("word", "character", "bpe", "wordpiece")


@pytest.fixture(scope="module", params=KINDS)
def codec(request: pytest.FixtureRequest) -> TextCodec:
    return TextCodec(learn_tokenizer(TEXTS, kind=request.param, size=400), length=12, column="review")


def test_a_codec_comes_back_from_its_contract(codec: TextCodec) -> None:
    again = from_contract(json.loads(json.dumps(codec.contract())))
    inputs = codec.decode([*TEXTS, "never seen before: zygote"])
    np.testing.assert_array_equal(again.prepare(inputs)[TOKENS], codec.prepare(inputs)[TOKENS])
    assert again.feature_spec() == codec.feature_spec()
    assert again.contract() == codec.contract()


SEEN = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(
    lambda text: any(category(sign)[0] not in "CZ" for sign in text)
)


@given(st.lists(SEEN, min_size=1, max_size=6))
def test_a_text_has_the_same_tokens_in_any_company(texts: list[str]) -> None:
    codec = WORDS
    together = codec.number(codec.decode(texts))[TOKENS]
    assert together.dtype == np.int32
    assert together.shape[1] <= codec.length
    assert together.min() >= 0
    assert together.max(initial=0) < codec.vocabulary
    for row, text in zip(together, texts, strict=True):
        alone = codec.number(codec.decode([text]))[TOKENS][0]
        np.testing.assert_array_equal(row[: len(alone)], alone)
        assert (row[len(alone) :] == PAD).all()


WORDS = TextCodec(learn_tokenizer(TEXTS, kind="word", size=400), length=12)


def test_what_is_longer_is_cut_and_what_is_unknown_is_told() -> None:
    codec = TextCodec(WORDS.tokenizer, length=3)
    tokens = codec.number(codec.decode(["the cat sat on the mat", "zygote"]))[TOKENS]
    assert tokens.shape == (2, 3)
    assert tokens[1].tolist() == [UNKNOWN_NUMBER, PAD, PAD]
    assert (tokens[0] > UNKNOWN_NUMBER).all()


def test_byte_pairs_know_every_text() -> None:
    codec = TextCodec(learn_tokenizer(TEXTS, kind="bpe", size=400), length=200)
    tokens = codec.number(codec.decode(["日本語 \x00 🚀 ﷽ zygote"]))[TOKENS]
    assert UNKNOWN_NUMBER not in tokens
    assert PAD not in tokens


@pytest.mark.parametrize(
    "payload", ["the cat", b"the cat", {"review": "the cat"}, {"text": "the cat"}, bytearray(b"the cat")]
)
def test_payloads_of_every_form_are_one_text(payload: object) -> None:
    codec = TextCodec(WORDS.tokenizer, length=12, column="review")
    assert codec.decode([payload])["text"].tolist() == ["the cat"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("", "empty"), (" \n\t", "empty"), (b"\xff\xfe", "not UTF-8"), (5, "not a text"), (None, "not a text"),
        ({"body": "x"}, "has no text"), ("a\ud800b", "surrogate"), ("x" * 2_000_001, "too long"), (["a"], "not a text"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_with_its_number(payload: object, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        WORDS.decode([payload])
    with pytest.raises(PayloadError, match="payload 1"):
        WORDS.decode(["fine", payload])


def test_long_and_strange_texts_are_read() -> None:
    found = WORDS.number(WORDS.decode(["cat " * 250_000, "a\x00b", "猫" * 1000, "‮abc‬"]))[TOKENS]
    assert found.shape == (4, WORDS.length)


def test_damaged_contracts_are_refused() -> None:
    contract = WORDS.contract()
    for damaged in ({**contract, "tokenizer": {}}, {**contract, "length": "x"}, {"kind": "text"}):
        with pytest.raises(BundleError, match="text codec"):
            from_contract(damaged)


def test_another_kind_of_tokens_is_named() -> None:
    with pytest.raises(InputError, match="wordpiece"):
        learn_tokenizer(TEXTS, kind="syllable", size=10)  # type: ignore[arg-type]


def test_capitals_count_where_they_shall() -> None:
    folded = TextCodec(learn_tokenizer(TEXTS, kind="word", size=400), 5)
    kept = TextCodec(learn_tokenizer(TEXTS, kind="word", size=400, lower=False, least=1), 5)
    same = [
        len(set(map(tuple, codec.number(codec.decode(["Cats", "cats"]))[TOKENS].tolist()))) for codec in (folded, kept)
    ]
    assert same == [1, 2]
