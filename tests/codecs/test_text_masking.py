"""Which token hides others, and which tokens are a text's own, in tokenizers learnt here and made elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from bedplate.codecs.text import TOKENS, TextCodec
from bedplate.codecs.text_learning import learn_tokenizer
from bedplate.codecs.text_loading import read_tokenizer
from bedplate.codecs.text_masking import mask_tokens
from bedplate.core.errors import InputError

TEXTS = ["so it goes", "the quick brown fox jumps over the lazy dog", "naïve café"] * 4


def written(found: Tokenizer, folder: Path) -> TextCodec:
    found.save(str(folder / "tokenizer.json"))
    loaded = read_tokenizer(folder)
    return TextCodec(loaded.rules, 32, shift=loaded.shift)


def words(special: list[str], unknown: str) -> Tokenizer:
    found = Tokenizer(models.WordLevel(unk_token=unknown))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    return found


@pytest.mark.parametrize("kind", ["word", "character", "bpe", "wordpiece"])
def test_what_was_learnt_here_hides_by_the_unknown_token(kind: str) -> None:
    codec = TextCodec(learn_tokenizer(TEXTS, kind=kind, size=400), 32)  # type: ignore[arg-type]
    masks = mask_tokens(codec)
    assert (masks.mask, masks.name, masks.unknown) == (1, "[UNK]", 1)
    assert np.flatnonzero(~masks.own).tolist() == [0, 1]
    assert len(masks.own) == codec.vocabulary


def test_a_tokenizers_own_mask_hides_and_its_special_tokens_are_nobodys(tmp_path: Path) -> None:
    found = words(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[UNK]")
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    codec = written(found, tmp_path)
    masks = mask_tokens(codec)
    assert (masks.mask, masks.name, masks.unknown) == (4, "[MASK]", 1)
    assert np.flatnonzero(~masks.own).tolist() == [0, 1, 2, 3, 4]
    tokens = codec.number(codec.decode(["so it goes xyzzy"]))[TOKENS]
    assert masks.own[tokens].tolist() == [[False, True, True, True, False, False]]  # [CLS] so it goes [UNK] [SEP]


def test_numbers_are_as_the_graph_takes_them(tmp_path: Path) -> None:
    codec = written(words(["<unk>", "<mask>"], "<unk>"), tmp_path)  # number 0 isn't padding, so all are moved by one
    masks = mask_tokens(codec)
    assert (masks.mask, masks.name, masks.unknown) == (2, "<mask>", 1)
    assert np.flatnonzero(~masks.own).tolist() == [0, 1, 2]
    (tokens,) = codec.number(codec.decode(["so xyzzy"]))[TOKENS]
    assert masks.own[tokens].tolist() == [True, False]


def test_the_unknown_token_is_nobodys_whether_it_is_called_special_or_not(tmp_path: Path) -> None:
    found = Tokenizer(models.WordLevel({"[PAD]": 0, "so": 1, "?": 2}, unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    masks = mask_tokens(written(found, tmp_path))
    assert (masks.mask, masks.name, masks.unknown) == (2, "?", 2)
    assert masks.own.tolist() == [False, True, False]


def test_a_tokenizer_that_knows_every_text_and_has_no_mask_is_refused(tmp_path: Path) -> None:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    with pytest.raises(InputError, match=r"no token that could hide others \(expected \[MASK\] or <mask>"):
        mask_tokens(written(found, tmp_path))
