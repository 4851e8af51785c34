"""What masked-language pre-training must know of a tokenizer: which number hides others, and which are a text's."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from bedplate.codecs.codec import PAD
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_loading import unknown_number
from bedplate.core.errors import InputError

MASKS = ("[MASK]", "<mask>")
"""How the token that hides others is called by those that make tokenizers."""


@dataclass(frozen=True)
class MaskTokens:
    """Token numbers as the graph takes them.

    Attributes:
        mask: the number that hides a token.
        name: how the tokenizer calls it.
        unknown: what the tokenizer doesn't know; None where it knows every text.
        own: whether a number is a part of texts, bool [vocabulary]: neither padding, mask nor unknown, nor a special
            token such as [CLS]. Only such numbers are hidden, and only they stand in for others.
    """

    mask: int
    name: str
    unknown: int | None
    own: np.ndarray


def mask_tokens(codec: TextCodec) -> MaskTokens:
    """Return which number hides a token of a codec's texts.

    A tokenizer that was learnt here has no mask: there its unknown token hides others, which says much the same of what
    stands there, and needs no number of its own in every model that is never pre-trained.

    Raises:
        InputError: the tokenizer has neither.
    """
    rules = Tokenizer.from_str(json.dumps(dict(codec.tokenizer)))
    unknown = unknown_number(codec.tokenizer, rules, codec.shift)
    masks = [number + codec.shift for name in MASKS if (number := rules.token_to_id(name)) is not None]
    if not masks and unknown is None:
        raise InputError(
            "the tokenizer has no token that could hide others", where="data.text.tokenizer",
            expected=f"{' or '.join(MASKS)}, or a token for what it doesn't know",
            hint="take another tokenizer, or leave training.pretrain out",
        )  # fmt: skip
    mask = masks[0] if masks else int(unknown or 0)
    special = {int(one["id"]) + codec.shift for one in codec.tokenizer.get("added_tokens") or () if one.get("special")}
    own = np.zeros(codec.vocabulary, bool)
    own[[number + codec.shift for number, _ in codec.names]] = True
    own[[*special, *masks, PAD]] = False
    if unknown is not None:
        own[unknown] = False
    return MaskTokens(mask, str(rules.id_to_token(mask - codec.shift)), unknown, own)
