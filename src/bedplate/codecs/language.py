"""The language codec: the beginning of a text in, its tokens out; and tokens back to text.

Every token stands for bytes of its own, so tokens put side by side give the text again, whatever the language.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bedplate.codecs.chat import MESSAGES, ChatTemplate, Turn, read_talk
from bedplate.codecs.codec import END, NEVER, PAD, SEPARATOR, TEXT, TOKENS, UNKNOWN, Payload, TensorSpec
from bedplate.codecs.strings import MOST_CHARACTERS
from bedplate.codecs.text import TextCodec
from bedplate.core.arrays import Arrays
from bedplate.core.errors import BundleError, PayloadError, listing

_CHUNK = 50_000
"""Longer texts are cut into parts of about so many characters, at ends of lines, before they become tokens."""


@dataclass(frozen=True)
class LanguageCodec:
    """Turn text into tokens and back.

    `tokenizer` is a tokenizer.json as the library writes it, whose number 0 is padding and 1 the unknown; `length` is
    how many tokens a model sees at once; `unknown` whether the training text held unknown tokens: where it didn't, the
    model knows nothing of them, and a prompt with one is refused.

    Where texts are answered by texts (`pairs`), a row is a text, `SEPARATOR`, its answer and `END`; `beams` is how many
    answers are followed side by side where nobody says. Where the texts are talks, `template` renders them, and so many
    tokens are left to the answer as `reserved` says: a talk's oldest messages make room for it.

    Of a tokenizer made elsewhere (byte-level, whose number 0 is a token like others) all numbers are moved by `shift`,
    and `ending` is the moved number that ends a text, if it has one.

    Example:
        >>> codec = LanguageCodec(learn_tokenizer(["so it goes"], kind="character", size=300, lossless=True), 8)
        >>> codec.text(codec.encode("goes so"))
        'goes so'
    """

    tokenizer: Mapping[str, Any]
    length: int
    unknown: bool = False
    column: str = TEXT
    pairs: bool = False
    beams: int = 1
    shift: int = 0
    ending: int | None = None
    template: ChatTemplate | None = None
    reserved: int = 0

    kind = "language"
    prepare = None

    @cached_property
    def _texts(self) -> TextCodec:
        return TextCodec(self.tokenizer, 1 << 40, self.column, self.shift)

    @property
    def tensors(self) -> list[TensorSpec]:
        """The one tensor: `tokens`, int32, filled up with 0 to the longest row of a request."""
        return [TensorSpec(TOKENS, "int32", (-1,))]

    @property
    def prepared(self) -> list[TensorSpec]:
        """The graph's inputs: the tensors."""
        return self.tensors

    @property
    def vocabulary(self) -> int:
        """How many token numbers there are."""
        return len(self.pieces)

    @property
    def never(self) -> tuple[int, ...]:
        """The numbers that are never written."""
        return (*NEVER, SEPARATOR) if self.pairs else NEVER

    @property
    def readable(self) -> int:
        """How many tokens a prompt may have: of a text that is answered, the separator and one more must fit behind."""
        return self.length - 2 * self.pairs

    @property
    def room(self) -> int:
        """How many tokens of a talk are read before its oldest messages are left out."""
        return max(1, self.readable - self.reserved)

    @property
    def end(self) -> int | None:
        """The number that ends an answer, or a text; None where texts just go on."""
        return END if self.pairs else self.ending

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each token stands for; none for padding, the unknown, and what ends texts."""
        names = self._texts.names
        marks = (*self.never, END) if self.pairs else self.never
        if self.shift:
            return (b"",) * self.shift + _spelled(names, self.tokenizer)
        if self.tokenizer["model"]["type"] == "BPE":
            alphabet = {sign: byte for byte, sign in enumerate(byte_signs())}
            found = [bytes(alphabet[sign] for sign in name) if number not in marks else b"" for number, name in names]
        else:
            found = [name.encode() if number not in marks else b"" for number, name in names]
        return tuple(found)

    def tokens_of(self, text: str) -> np.ndarray:
        """Return any text's tokens, int32 [tokens], the unknown among them."""
        parts = [self._texts.number({TEXT: np.array(chunks(text), object)})[TOKENS]] if text else []
        return np.concatenate([row[row != PAD] for part in parts for row in part]) if parts else np.empty(0, np.int32)

    def tokens_of_each(self, texts: np.ndarray) -> list[np.ndarray]:
        """Return each text's tokens, int32 [tokens], the unknown among them."""
        found: list[np.ndarray] = []
        for start in range(0, len(texts), 4096):
            tokens = self._texts.number({TEXT: texts[start : start + 4096]})[TOKENS]
            found += [row[row != PAD] for row in tokens]
        return found

    def encode(self, payload: Payload) -> list[int]:
        """Return a prompt's tokens, behind which goes what is written.

        Raises:
            PayloadError: no text, a NUL in it, characters that the model has never seen, or more tokens than it sees;
                of a talk, `where` is the message at fault.
        """
        return self.read(payload)[0]

    def read(self, payload: Payload) -> tuple[list[int], int]:
        """Return a prompt's tokens, as `encode` does, and how many of a talk's oldest messages were left out.

        A talk is `{"messages": [{"role": …, "content": …}, …]}`; any other payload is a text, taken as it is.
        """
        if isinstance(payload, Mapping) and MESSAGES in payload and self.column != MESSAGES:
            if self.template is None:
                raise PayloadError(
                    "this model wasn't trained on talks", where=MESSAGES, expected="a text",
                    hint="send the text alone" if self.pairs
                    else "/v1/chat/completions writes a talk as plain lines for it",
                )  # fmt: skip
            if TEXT in payload:
                raise PayloadError("either a text or a talk", where=MESSAGES, received="both")
            return self.talk(read_talk(payload[MESSAGES]))
        if isinstance(payload, str | bytes) and not len(payload):
            raise PayloadError("the prompt is empty", expected="at least one character to go on from")
        # A line's end is what most texts begin behind, so white space alone is a prompt, too.
        blank = isinstance(payload, str) and payload.isspace() and not self.pairs
        text = str(payload) if blank else self._texts.text_of(payload)
        return self._prompt(text.removeprefix("\ufeff")), 0

    def talk(self, turns: Sequence[Turn]) -> tuple[list[int], int]:
        """Return a talk's tokens, as the template renders it, and how many of its oldest messages were left out.

        Raises:
            PayloadError: characters that the model has never seen, or a last message that is too long by itself.
        """
        text, dropped = self.fitted(turns)
        return self._prompt(text), dropped

    def fitted(self, turns: Sequence[Turn]) -> tuple[str, int]:
        """Return a talk's text without as few of its oldest messages as don't fit into `room`, and how many these are.

        What the system says is left out last, and the last message never.
        """
        template = self.template
        assert template is not None
        oldest = sorted(range(len(turns) - 1), key=lambda number: turns[number].role == "system")

        def without(count: int) -> str:
            gone = set(oldest[:count])
            return template.render([turn for number, turn in enumerate(turns) if number not in gone])

        def fits(count: int) -> bool:
            text = without(count)
            return len(text) <= MOST_CHARACTERS and len(self.tokens_of(text)) <= self.room

        dropped = 0 if fits(0) else bisect_left(range(len(oldest)), True, key=fits)
        return without(dropped), dropped

    def _prompt(self, text: str) -> list[int]:
        if "\0" in text:
            raise PayloadError("the prompt holds a NUL", received=f"character {text.index(chr(0))}")
        found: list[int] = self.tokens_of(text).tolist()
        if UNKNOWN in found and not self.unknown and "\r\n" in text:  # lines of another system's file
            text = text.replace("\r\n", "\n")
            found = self.tokens_of(text).tolist()
        if UNKNOWN in found and not self.unknown:
            # Characters are words of one letter to the tokenizer.
            words = not text.isspace() and any(len(piece.decode(errors="replace")) > 1 for piece in self.pieces)
            strange = sorted({part for part in (text.split() if words else text) if UNKNOWN in self.tokens_of(part)})
            raise PayloadError(
                f"the prompt holds {'words' if words else 'characters'} that the model has never seen",
                received=listing(map(repr, strange), 8), hint="leave them out, or write them otherwise",
            )  # fmt: skip
        found += [SEPARATOR] if self.pairs else []
        if len(found) - self.pairs > self.readable:
            raise PayloadError(
                "the prompt is longer than what the model sees at once",
                expected=f"at most {self.readable:,} tokens", received=f"{len(found) - self.pairs:,}",
                hint="give a part of it" if self.pairs else "give its end alone",
            )  # fmt: skip
        return found

    def closed(self, tokens: list[int]) -> list[int]:
        """Return a prompt's tokens that came as numbers, ready to go on from."""
        return [*tokens, SEPARATOR] if self.pairs else tokens

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def decode(self, payloads: Sequence[Payload]) -> Arrays:
        """Return `{"tokens": int32 [N, L]}` of prompts; raises PayloadError that names the payload."""
        rows = []
        for number, payload in enumerate(payloads):
            try:
                rows.append(self.encode(payload))
            except PayloadError as error:
                where = f"payload {number}" if len(payloads) > 1 else None
                raise PayloadError(
                    error.what, where=where, expected=error.expected, received=error.received, hint=error.hint
                ) from error
        tokens = np.full((len(rows), max(map(len, rows), default=1)), PAD, np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return {TOKENS: tokens}

    def contract(self) -> dict[str, Any]:
        """Return all that rebuilds this codec, as JSON."""
        return {
            "kind": self.kind, "column": self.column, "length": self.length, "unknown": self.unknown,
            "tokenizer": dict(self.tokenizer), **({"pairs": True, "beams": self.beams} if self.pairs else {}),
            **({"template": asdict(self.template), "reserved": self.reserved} if self.template is not None else {}),
            **({"shift": self.shift, "ending": self.ending} if self.shift else {}),
        }  # fmt: skip

    @classmethod
    def from_contract(cls, contract: Mapping[str, Any]) -> LanguageCodec:
        """Rebuild from `contract()`'s JSON. Raises BundleError where it is damaged."""
        try:
            template = contract.get("template")
            codec = cls(
                contract["tokenizer"], int(contract["length"]), bool(contract["unknown"]), str(contract["column"]),
                bool(contract.get("pairs", False)), int(contract.get("beams", 1)), int(contract.get("shift", 0)),
                contract.get("ending"), None if template is None else ChatTemplate(**template),
                int(contract.get("reserved", 0)),
            )  # fmt: skip
            codec.pieces  # noqa: B018 - read now, not when somebody asks
        except Exception as error:  # the library raises plain Exception
            raise BundleError("the contract of the language codec is damaged", received=repr(error)[:200]) from error
        return codec

    def graph(self) -> bytes | None:
        """Return None: what was learned is in the tokenizer."""
        return None

    def features(self, inputs: Arrays) -> Arrays:
        """Return the inputs themselves."""
        return inputs

    def feature_spec(self) -> dict[str, Any]:
        """Return what a model's builder must know: how many token numbers there are, and the longest row."""
        facts = {"kind": self.kind, "vocabulary": self.vocabulary, "length": self.length}
        facts |= {"shift": self.shift} if self.shift else {}
        return facts | ({"separator": SEPARATOR} if self.pairs else {})


def _spelled(names: Sequence[tuple[int, str]], tokenizer: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return the bytes of a byte-level tokenizer's tokens by their own numbers; none for those that are no text."""
    alphabet = {sign: byte for byte, sign in enumerate(byte_signs())}
    added = {one["content"] for one in tokenizer.get("added_tokens") or () if one.get("special")}
    known = dict(names)
    found = []
    for number in range(max(known) + 1):
        name = known.get(number, "")
        text = name and name not in added
        found.append(bytes(alphabet[sign] for sign in name) if text else b"")
    return tuple(found)


def byte_signs() -> list[str]:
    """Return the sign by which byte-level tokens write each byte, in the order of the bytes.

    Printable ones stand for themselves, the others for the characters from 256 on (Radford et al. 2019, section 2.2).
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    known = set(plain)
    return [chr(byte) if byte in known else chr(next(others)) for byte in range(256)]


def chunks(text: str) -> list[str]:
    """Cut a text into parts at ends of lines, so that no part is very long; they give the text again."""
    parts, start = [], 0
    while start < len(text):
        end = text.find("\n", start + _CHUNK) + 1 or len(text)
        end = min(end, start + 4 * _CHUNK)
        parts.append(text[start:end])
        start = end
    return parts
