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

from bedplate.codecs.codec import PAD, TEXT, TOKENS, Payload, Prepare, TensorSpec
from bedplate.codecs.strings import checked_text, each, held
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, InputError, PayloadError

try:
    from tokenizers import Tokenizer
except ImportError as error:  # serving images and tables needs no tokenizer
    raise InputError("texts need the tokenizers library", hint="pip install 'bedplate[text]'") from error


class Tokenized(str):
    """A text that brings its token numbers along, as the graph takes them, so that it isn't cut again."""

    numbers: tuple[int, ...]

    def __new__(cls, text: str, numbers: Sequence[int]) -> Tokenized:
        """Return the text with its numbers."""
        made = super().__new__(cls, text)
        made.numbers = tuple(numbers)
        return made


@dataclass(frozen=True)
class TextCodec:
    """Cut texts into tokens.

    `tokenizer` is a tokenizer.json as the library writes it; `length` is how many tokens of a text are read, the first
    ones, what the tokenizer's template adds among them; `column` is what the text was called in the training data.
    `shift` is added to the tokenizer's numbers: 1 where its number 0 isn't padding, which 0 is in the graph.

    Example:
        >>> codec = TextCodec(learn_tokenizer(["so it goes"], kind="word", size=10), length=4)
        >>> codec.number(codec.decode(["it goes", "so"]))["tokens"].shape
        (2, 2)
    """

    tokenizer: Mapping[str, Any]
    length: int
    column: str = TEXT
    shift: int = 0

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

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest token number: how many vectors a model needs."""
        return int(max(self._rules.get_vocab(with_added_tokens=True).values(), default=0)) + 1 + self.shift

    @property
    def names(self) -> list[tuple[int, str]]:
        """Every token number with its token, in order."""
        return sorted((number, name) for name, number in self._rules.get_vocab(with_added_tokens=True).items())

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
        rows = [text.numbers for text in self.tokenized(inputs[TEXT].tolist())]
        longest = max((len(row) for row in rows), default=0)
        tokens = np.full((len(rows), max(1, longest)), PAD, np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return {TOKENS: tokens}

    def tokenized(self, texts: Sequence[Any]) -> list[Tokenized]:
        """Return texts with their token numbers; those that bring them along stay as they are."""
        new = [k for k, text in enumerate(texts) if not isinstance(text, Tokenized)]
        found = list(texts)
        for k, one in zip(new, self._rules.encode_batch_fast([str(texts[k]) for k in new]), strict=True):
            found[k] = Tokenized(str(texts[k]), [number + self.shift for number in one.ids] if self.shift else one.ids)
        return found

    def from_numbers(self, numbers: Sequence[int]) -> Tokenized:
        """Return the text that the tokenizer's own numbers stand for; they are taken as they are, nothing is added.

        Raises:
            PayloadError: none, too many, or a number that the tokenizer doesn't have.
        """
        if not 1 <= len(numbers) <= self.length:
            raise PayloadError(
                "as many token numbers aren't read", expected=f"1 to {self.length}", received=str(len(numbers))
            )
        for number in numbers:
            if not 0 <= number < self.vocabulary - self.shift:
                raise PayloadError(
                    "no such token", expected=f"0 to {self.vocabulary - self.shift - 1}", received=str(number)[:40]
                )
        text = self._rules.decode(list(numbers), skip_special_tokens=False)
        return Tokenized(text, [number + self.shift for number in numbers])

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        told = {"kind": self.kind, "column": self.column, "length": self.length, "tokenizer": dict(self.tokenizer)}
        return told | ({"shift": self.shift} if self.shift else {})

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> TextCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            shift = int(contract.get("shift", 0))
            codec = cls(contract["tokenizer"], int(contract["length"]), str(contract["column"]), shift)
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
        told = {"kind": self.kind, "vocabulary": self.vocabulary, "length": self.length}
        return told | ({"shift": self.shift} if self.shift else {})
