"""Learn a tokenizer from texts: words, characters, byte-pair encoding or WordPiece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bedplate.core.errors import InputError, listing

Kind = Literal["word", "character", "bpe", "wordpiece"]
PADDING, UNKNOWN = "[PAD]", "[UNK]"
UNKNOWN_NUMBER = 1


def learn_tokenizer(
    texts: Iterable[str],
    *,
    kind: Kind,
    size: int,
    lower: bool = True,
    least: int = 2,
    lossless: bool = False,
    marks: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the tokenizer.json of a tokenizer that was trained on texts; number 0 is padding, 1 the unknown.

    - word: runs of letters and digits, and of other signs; what is seen fewer than `least` times is unknown.
    - character: one token a character.
    - bpe: byte-level byte-pair encoding (Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2), which
      knows every text.
    - wordpiece: as BERT's (Devlin et al. 2019): parts of words by Schuster and Nakajima 2012.

    Args:
        texts: the training texts.
        kind: how texts are cut.
        size: the most token numbers, 3 at least.
        lower: capitals are read as small letters.
        least: of words alone.
        marks: names of numbers from 2 on that no text becomes.
        lossless: whether tokens put side by side must give the text again: spaces are tokens of words, too.
    """
    if lossless and kind == "wordpiece":
        raise InputError(
            "parts of words don't keep the spaces between them", where="data.text.tokens",
            expected="bpe, character or word", received=kind,
        )  # fmt: skip
    special = [PADDING, UNKNOWN, *marks]
    folded = [normalizers.Lowercase()] if lower else []
    if kind == "word":
        found = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        found.pre_tokenizer = (
            pre_tokenizers.Split(Regex(r"\s+|\w+|[^\w\s]"), "isolated") if lossless else pre_tokenizers.Whitespace()
        )
        trainer: Any = trainers.WordLevelTrainer(
            vocab_size=size, min_frequency=least, special_tokens=special, show_progress=False
        )
    elif kind == "character":
        found = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        found.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    elif kind == "bpe":
        found = Tokenizer(models.BPE(unk_token=UNKNOWN))
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        found.decoder = decoders.ByteLevel()
        # A pair that occurs once is no part that recurs: of few texts without spaces, whole ones would become tokens.
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    elif kind == "wordpiece":
        found = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        found.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    else:
        raise InputError("no such kind of tokens", expected=listing(get_args(Kind)), received=str(kind))
    found.normalizer = normalizers.Sequence([normalizers.NFC(), *folded])
    found.train_from_iterator(texts, trainer)
    written: dict[str, Any] = json.loads(found.to_str())
    if lossless:  # a text that says "[PAD]" says just that
        written["added_tokens"] = []
    return written
