"""One text under way: which token comes next, what of the text is certain, and when it ends."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bedplate.generation.sampling import Sampling, draw, log_probabilities, probabilities

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Chosen:
    """One token with its log probability in nats, and those of the likeliest: (token, log probability)."""

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """What one step adds to a text; `finish` says that, and why, it is the last."""

    text: str
    tokens: tuple[int, ...] = ()
    finish: Finish | None = None
    chosen: tuple[Chosen, ...] = ()


class Spelling:
    """Bytes to text as they come: held back is what may still become a character, or one of the strings that end it."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """Return what is certain now; after `last`, or once `stopped`, nothing is held back any more."""
        text = self._held + self._decoder.decode(data, last)
        ends = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        kept = 0 if last else max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return how many of a text's last characters may be the first ones of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


class Stream:
    """One continuation.

    Args:
        prompt: its tokens.
        sampling: how it is continued.
        pieces: the bytes of each token.
        number: which of several continuations of one request; each draws differently.
        end: the token that ends it, if any.

    Attributes:
        tokens: those written so far.
        finish: why it has ended, or None.
        forgotten: how many tokens of the beginning are out of sight, since the context is full.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        pieces: Sequence[bytes],
        number: int = 0,
        end: int | None = None,
    ) -> None:
        self.prompt, self.sampling = list(prompt), sampling
        self.tokens: list[int] = []
        self.finish: Finish | None = None
        self.forgotten = 0
        self._pieces, self._end = pieces, end
        seed = None if sampling.seed is None else [sampling.seed, number]
        self._source = np.random.default_rng(seed)
        self._spelling = Spelling(sampling.stop)

    def take(self, scores: np.ndarray) -> Piece:
        """Choose the next token by its scores [vocabulary]; return what it adds."""
        token = draw(probabilities(scores, self.sampling), self._source)
        self.tokens.append(token)
        ended = token == self._end
        last = ended or len(self.tokens) >= self.sampling.max_tokens
        text = self._spelling.feed(self._pieces[token], last=last)
        if self._spelling.stopped or ended:
            self.finish = "stop"
        elif last:
            self.finish = "length"
        chosen = () if self.sampling.logprobs is None else (self._told(scores, token, self.sampling.logprobs),)
        return Piece(text, (token,), self.finish, chosen)

    def cut(self) -> Piece:
        """End the text where no more fits; return what of it was held back."""
        self.finish = "length"
        return Piece(self._spelling.feed(b"", last=True), (), "length")

    @staticmethod
    def _told(scores: np.ndarray, token: int, count: int) -> Chosen:
        found = log_probabilities(scores)
        best = np.argsort(-found, kind="stable")[:count].tolist()
        return Chosen(token, float(found[token]), tuple((one, float(found[one])) for one in best))

    def seen(self, context: int) -> list[int]:
        """Return the tokens that the model goes on from where the context is full: the later half of it."""
        written = self.prompt + self.tokens
        kept = written[len(written) - max(1, context // 2) :]
        self.forgotten = len(written) - len(kept)
        return kept
