"""The sentence codec: a sentence in, for each of its words its number, its shape and its letters' numbers out.

At the graph's boundary stands the sentence, one string a row: a text, or a list of words (`words.END` behind each). The
numbers are made right before the graph, filled up to the longest row of the batch that runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bedplate.codecs.codec import TEXT, Payload, Prepare, TensorSpec
from bedplate.codecs.strings import checked_text, each, held
from bedplate.codecs.words import check_words, joined, split_words
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError, json_kind

TOKENS, SHAPES, LETTERS = "tokens", "shapes", "letters"
UNKNOWN, FIRST = 1, 2
"""The number of unknown words and letters, and the first one of known ones; 0 fills rows up."""

LISTS = ("tokens", "words")
"""What rows usually call their lists of words."""

MOST_ALPHABET = 255 - FIRST
"""Letters' numbers are bytes."""

SHAPE_NAMES = (
    "padding", "small letters", "capitals", "one capital", "a capital first", "capitals within", "digits",
    "digits and signs", "letters and digits", "signs", "letters without case",
)  # fmt: skip
"""What a word looks like, by the number of its shape."""


def shape_of(word: str) -> int:
    """Return the number of a word's shape among `SHAPE_NAMES`."""
    letters, digits = sum(map(str.isalpha, word)), sum(map(str.isdigit, word))
    if not letters:
        return 9 if not digits else 6 if digits == len(word) else 7
    if digits:
        return 8
    upper, lower = sum(map(str.isupper, word)), sum(map(str.islower, word))
    if not upper:
        return 1 if lower else 10
    if not lower:
        return 2 if upper > 1 else 3
    return 4 if upper == 1 and word[0].isupper() else 5


@dataclass(frozen=True)
class SentenceCodec:
    """Number the words of sentences and their letters.

    `words` are the known ones, as they are looked up: with digits as 0, and (`lower`) in small letters. `alphabet` are
    the known letters, as they stand. Of a word `letters` are read, of a longer one as many from either end. `column`
    is what sentences were called in the training data; `encoding` and `comment` are how its files were read.

    Example:
        >>> codec = SentenceCodec(("in", "madrid"), "Madrin")
        >>> codec.number(codec.decode(["Madrid", ["in", "2024"]]))["tokens"].tolist()
        [[3, 0], [2, 1]]
    """

    words: tuple[str, ...]
    alphabet: str
    lower: bool = True
    letters: int = 16
    column: str = TEXT
    encoding: str | None = None
    comment: str | None = None

    kind = "sentence"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: FIRST + k for k, word in enumerate(self.words)}

    @cached_property
    def _letters(self) -> dict[str, int]:
        return {letter: FIRST + k for k, letter in enumerate(self.alphabet)}

    @property
    def tensors(self) -> list[TensorSpec]:
        """The one tensor: `text`, a string a row."""
        return [TensorSpec(TEXT, "string")]

    @property
    def prepare(self) -> Prepare:
        """Sentences to numbers: how far rows are filled up depends on those that run together."""
        return self.number

    @property
    def prepared(self) -> list[TensorSpec]:
        """What the graph takes: of every word its number, its shape and its letters."""
        return [
            TensorSpec(TOKENS, "int32", (-1,)), TensorSpec(SHAPES, "int32", (-1,)),
            TensorSpec(LETTERS, "uint8", (-1, self.letters)),
        ]  # fmt: skip

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return `{"text": object [N]}`; a payload is a text, a list of words, or an object that holds either.

        Raises:
            PayloadError: names the payload by its number, and the fault.
        """
        return {TEXT: each(payloads, self.sentence_of)}

    def sentence_of(self, payload: Payload) -> str:
        """Return one payload's sentence as a string, checked. Raises PayloadError."""
        payload = held(payload, self._names(payload), "sentence")
        if isinstance(payload, np.ndarray):
            payload = payload.tolist()
        if isinstance(payload, list | tuple):
            return check_words(checked_text(joined(payload)))
        if not isinstance(payload, str | bytes | bytearray | memoryview):
            raise PayloadError("not a sentence", expected="a string, or a list of words", received=json_kind(payload))
        return check_words(checked_text(payload))

    def _names(self, payload: Payload) -> list[str]:
        """Return where an object may hold its sentence: first where the data had it, then lists, which training reads.

        A row may have its text beside its words; the words are what the answer's are counted by.
        """
        names = list(dict.fromkeys((self.column, TEXT, *LISTS)))
        named = names[: self.column != TEXT]
        listed = [
            name for name in names if isinstance(payload, Mapping) and isinstance(payload.get(name), list | tuple)
        ]
        return list(dict.fromkeys((*named, *listed, *names)))

    def spelt(self, word: str) -> str:
        """Return a word as it is looked up."""
        if not word.isalpha():
            word = "".join("0" if letter.isdigit() else letter for letter in word)
        return word.lower() if self.lower else word

    def _word(self, word: str) -> tuple[int, int, bytes]:
        read = word
        if len(word) > self.letters:
            half = self.letters // 2
            read = word[: self.letters - half] + word[len(word) - half :]
        letters = bytes(self._letters.get(letter, UNKNOWN) for letter in read)
        return self._numbers.get(self.spelt(word), UNKNOWN), shape_of(word), letters.ljust(self.letters, b"\0")

    def number(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return `tokens` and `shapes`, int32 [N, L], and `letters`, uint8 [N, L, letters]; 0 beyond a row's end."""
        known: dict[str, tuple[int, int, bytes]] = {}
        rows = [[word.text for word in split_words(str(text))] for text in inputs[TEXT].tolist()]
        longest = max(1, max(map(len, rows), default=1))
        tokens, shapes = (np.zeros((len(rows), longest), np.int32) for _ in range(2))
        letters = np.zeros((len(rows), longest, self.letters), np.uint8)
        for k, row in enumerate(rows):
            for word in row:
                if word not in known:
                    known[word] = self._word(word)
            found = [known[word] for word in row]
            if found:
                tokens[k, : len(row)] = [one[0] for one in found]
                shapes[k, : len(row)] = [one[1] for one in found]
                spelt = np.frombuffer(b"".join(one[2] for one in found), np.uint8)
                letters[k, : len(row)] = spelt.reshape(len(row), -1)
        return {TOKENS: tokens, SHAPES: shapes, LETTERS: letters}

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        return {
            "kind": self.kind, "column": self.column, "lower": self.lower, "letters": self.letters,
            "alphabet": self.alphabet, "words": list(self.words),
            **({"encoding": self.encoding} if self.encoding else {}),
            **({"comment": self.comment} if self.comment else {}),
        }  # fmt: skip

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> SentenceCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            codec = cls(
                tuple(map(str, contract["words"])), str(contract["alphabet"]), bool(contract["lower"]),
                int(contract["letters"]), str(contract["column"]), contract.get("encoding"), contract.get("comment"),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the contract of the sentence codec is damaged", received=repr(error)[:200]) from error
        if codec.letters < 1 or len(codec.alphabet) > MOST_ALPHABET:
            raise BundleError(
                "the contract of the sentence codec contradicts itself",
                received=f"{codec.letters} letters a word, {len(codec.alphabet)} in the alphabet",
            )
        return codec

    def graph(self) -> bytes | None:
        """Return None: what was learned are lists of words and letters."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the numbers."""
        return self.number(inputs)

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know: how many numbers words, shapes and letters have."""
        return {
            "kind": self.kind, "vocabulary": FIRST + len(self.words), "shapes": len(SHAPE_NAMES),
            "alphabet": FIRST + len(self.alphabet), "letters": self.letters,
        }  # fmt: skip
