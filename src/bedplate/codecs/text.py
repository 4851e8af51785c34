"""The text codec: texts in, token numbers out, by the `tokenizers` library whose rules travel in the contract.

At the graph's boundary stands the text itself, one string a row. Token numbers are made right before the graph, padded
to the longest row of the batch that runs, so that batches may be put together from requests of any length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bedplate.codecs.codec import TEXT, Payload, Prepare, TensorSpec
from bedplate.codecs.strings import checked_text, each, held
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, InputError

try:
    from tokenizers import Tokenizer
except ImportError as error:  # serving images and tables needs no tokenizer
    raise InputError("texts need the tokenizers library", hint="pip install 'bedplate[text]'") from error

TOKENS = "tokens"
PAD = 0
"""The number that fills a row up; models take it for nothing."""


@dataclass(frozen=True)
class TextCodec:
    """Cut texts into tokens.

    `tokenizer` is a tokenizer.json as the library writes it, whose number 0 is padding; `length` is how many tokens of
    a text are read, the first ones; `column` is what the text was called in the training data.

    Example:
        >>> codec = TextCodec(learn_tokenizer(["so it goes"], kind="word", size=10), length=4)
        >>> codec.number(codec.decode(["it goes", "so"]))["tokens"].shape
        (2, 2)
    """

    tokenizer: Mapping[str, Any]
    length: int
    column: str = TEXT

    kind = "text"

    @cached_property
    def _rules(self) -> Tokenizer:
        rules = Tokenizer.from_str(json.dumps(self.tokenizer))
        rules.no_padding()
        rules.enable_truncation(self.length)
        return rules

    @property
    def tensors(self) -> list[TensorSpec]:
        """The one tensor: `text`, a string a row."""
        return [TensorSpec(TEXT, "string")]

    @property
    def prepare(self) -> Prepare:
        """Texts to token numbers: padding depends on the rows that run together, so it is done last."""
        return self.number

    @property
    def prepared(self) -> list[TensorSpec]:
        """What the graph takes: `tokens`, int32, as many as the longest row of the batch has."""
        return [TensorSpec(TOKENS, "int32", (-1,))]

    @property
    def vocabulary(self) -> int:
        """How many token numbers there are."""
        return int(self._rules.get_vocab_size(with_added_tokens=True))

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return `{"text": object [N]}`; a payload is a text, its UTF-8 bytes, or a mapping that holds it.

        Raises:
            PayloadError: names the payload by its number, and the fault.
        """
        return {TEXT: each(payloads, self.text_of)}

    def text_of(self, payload: Payload) -> str:
        """Return one payload's text, checked. Raises PayloadError."""
        return checked_text(held(payload, (self.column, TEXT)))

    def number(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return `{"tokens": int32 [N, L]}`, filled up with 0 to the longest row; L is 1 at least."""
        encoded = self._rules.encode_batch_fast([str(text) for text in inputs[TEXT].tolist()])
        rows = [one.ids for one in encoded]
        longest = max((len(row) for row in rows), default=0)
        tokens = np.full((len(rows), max(1, longest)), PAD, np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return {TOKENS: tokens}

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        return {"kind": self.kind, "column": self.column, "length": self.length, "tokenizer": dict(self.tokenizer)}

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> TextCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            codec = cls(contract["tokenizer"], int(contract["length"]), str(contract["column"]))
            codec._rules  # noqa: B018 - read now, not when somebody asks
        except Exception as error:  # the library raises plain Exception
            raise BundleError("the contract of the text codec is damaged", received=repr(error)[:200]) from error
        return codec

    def graph(self) -> bytes | None:
        """Return None: what was learned is in the tokenizer."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the token numbers."""
        return self.number(inputs)

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know: how many token numbers there are, and the longest row."""
        return {"kind": self.kind, "vocabulary": self.vocabulary, "length": self.length}
