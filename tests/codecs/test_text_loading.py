"""Tokenizers made elsewhere: the codec's numbers are the library's own, whatever the kind, and faults are told."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from bedplate.codecs import from_contract
from bedplate.codecs.codec import TEXT
from bedplate.codecs.text import TOKENS, TextCodec, Tokenized
from bedplate.codecs.text_loading import LoadedTokenizer, read_tokenizer
from bedplate.core.errors import InputError, PayloadError

CORPUS = [
    "so it goes",
    "the quick brown fox jumps over the lazy dog",
    "naïve café",
    "我喜欢这部电影",
    "numbers 1 2 3",
] * 4
KINDS = ("wordpiece", "bpe", "unigram", "word")


def made(kind: str) -> Tokenizer:
    """A tokenizer as one finds them: BERT's, GPT-2's (no padding, number 0 is a token), T5's, a word table."""
    if kind == "wordpiece":
        found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        found.normalizer = normalizers.BertNormalizer(lowercase=True)
        found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        trainer: Any = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    elif kind == "bpe":
        found = Tokenizer(models.BPE())
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        found.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    elif kind == "unigram":
        found = Tokenizer(models.Unigram())
        found.normalizer = normalizers.NFKC()
        found.pre_tokenizer = pre_tokenizers.Metaspace()
        special = ["<pad>", "</s>", "<unk>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    else:
        found = Tokenizer(models.WordLevel(unk_token="<unk>"))
        found.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=100, special_tokens=["<unk>"], show_progress=False)
    found.train_from_iterator(CORPUS, trainer)
    if kind == "wordpiece":
        found.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        found.enable_truncation(7)
        found.enable_padding(length=7)
    if kind == "unigram":
        found.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return found


@cache
def written(kind: str) -> str:
    return made(kind).to_str()


def loaded(kind: str, folder: Path) -> LoadedTokenizer:
    (folder / "tokenizer.json").write_text(written(kind), encoding="utf-8")
    return read_tokenizer(folder)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TextCodec, Tokenizer]:
    found = loaded(request.param, tmp_path_factory.mktemp("tokenizer"))
    alone = Tokenizer.from_str(written(request.param))
    alone.no_padding()
    alone.enable_truncation(12)
    return TextCodec(found.rules, 12, shift=found.shift), alone


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_the_numbers_are_the_librarys_own(pair: tuple[TextCodec, Tokenizer], texts: list[str]) -> None:
    codec, alone = pair
    tokens = codec.number({TEXT: np.array([*texts, "end"], object)})[TOKENS]
    for row, text in zip(tokens, [*texts, "end"], strict=True):
        wanted = [number + codec.shift for number in alone.encode(text).ids]
        assert row[: len(wanted)].tolist() == wanted
        assert not row[len(wanted) :].any()
    assert tokens.max() < codec.vocabulary


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_a_contract_rebuilds_the_codec(pair: tuple[TextCodec, Tokenizer], texts: list[str]) -> None:
    codec, array = pair[0], np.array(texts, object)
    again = from_contract(json.loads(json.dumps(codec.contract())))
    np.testing.assert_array_equal(again.features({TEXT: array})[TOKENS], codec.number({TEXT: array})[TOKENS])


@pytest.mark.parametrize(("kind", "shift", "added", "knows"), [
    ("wordpiece", 0, 2, False), ("bpe", 1, 0, True), ("unigram", 0, 1, False), ("word", 1, 0, False),
])  # fmt: skip
def test_zero_is_padding_and_nothing_else(kind: str, shift: int, added: int, knows: bool, tmp_path: Path) -> None:
    found = loaded(kind, tmp_path)
    assert (found.shift, found.added, found.unknown is None) == (shift, added, knows)
    codec = TextCodec(found.rules, 20, shift=found.shift)
    if found.unknown is not None:
        assert found.unknown in codec.number({TEXT: np.array(["☃☃☃"], object)})[TOKENS]
    # The file's own truncation and padding are dropped: the codec's count.
    assert codec.number({TEXT: np.array(["so it goes " * 9], object)})[TOKENS].shape == (1, 20)
    assert 0 not in codec.number({TEXT: np.array(["so it goes"], object)})[TOKENS]


def test_token_numbers_are_taken_as_they_are(pair: tuple[TextCodec, Tokenizer]) -> None:
    codec, alone = pair
    numbers = alone.encode("so it goes").ids
    text = codec.from_numbers(numbers)
    assert isinstance(text, Tokenized)
    assert isinstance(text, str)
    mixed = np.empty(2, object)
    mixed[:] = [text, "so it goes"]
    first, second = codec.number({TEXT: mixed})[TOKENS]
    assert first.tolist() == second.tolist()
    for wrong in ([], [-1], [codec.vocabulary - codec.shift], [1] * 13):
        with pytest.raises(PayloadError):
            codec.from_numbers(wrong)


@pytest.mark.parametrize(
    "text", ["a\0b", "🎬🎬", "שלום עולם", "我喜欢这部电影", "\t x \n", "word " * 100_000, "é" * 50_000]
)
def test_any_text_becomes_numbers(pair: tuple[TextCodec, Tokenizer], text: str) -> None:
    codec = pair[0]
    tokens = codec.number(codec.decode([text]))[TOKENS]
    assert tokens.shape[0] == 1
    assert 1 <= tokens.shape[1] <= 12


@pytest.mark.parametrize("payload", ["", " \n\t", b"\xff\xfe", 5, None, "\ud83c", "x" * 2_000_001])
def test_what_is_no_text_is_refused(pair: tuple[TextCodec, Tokenizer], payload: Any) -> None:
    with pytest.raises(PayloadError):
        pair[0].decode([payload])


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tokenizer.*vocab.txt"):
        read_tokenizer(tmp_path)
    for content, message in (("{", "isn't JSON"), ("[]", "not a tokenizer"), ('{"model": {}}', "can't read")):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_tokenizer(tmp_path / "tokenizer.json")
