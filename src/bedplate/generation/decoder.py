"""Texts that are continued side by side, a token each at a time; any may come or go between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bedplate.codecs.codec import NEVER, TOKENS, TensorSpec
from bedplate.core.arrays import Arrays
from bedplate.generation.cache import Cache

Step = Callable[[Arrays], Arrays]
"""The graph: tokens and the past in, `logits` and what is added to the past out."""


class Decoder:
    """A step with the cache of the rows under way.

    Args:
        step: the graph.
        past: its inputs that carry the past.
        context: how many tokens it sees at once.
        never: token numbers that are never written.
        slides: whether a text goes on beyond the context, from its later half; else it ends there.
    """

    def __init__(
        self, step: Step, past: Sequence[TensorSpec], context: int, never: Sequence[int] = NEVER, slides: bool = True
    ) -> None:
        self._step, self.context, self._never, self.slides = step, context, list(never), slides
        self.cache = Cache(past, context)

    @property
    def rows(self) -> int:
        """How many rows are under way."""
        return self.cache.rows

    def join(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        """Add a row for each prompt of 1 to `context` tokens; return the scores of what follows [prompts, vocabulary].

        Rows are numbered in the order in which they joined.
        """
        lengths = [len(prompt) for prompt in prompts]
        tokens = np.zeros((len(prompts), max(lengths)), np.int32)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        given = self._step({TOKENS: tokens})
        self.cache.append(lengths, given)
        return self._scores(given["logits"][np.arange(len(prompts)), np.array(lengths) - 1])

    def advance(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """Go on with one token a row; return the scores of what follows [rows, vocabulary].

        No row's past may be as long as the context.
        """
        given = self._step({TOKENS: np.asarray(tokens, np.int32)[:, None], **self.cache.feed()})
        self.cache.write(given)
        return self._scores(given["logits"][:, 0])

    def full(self, row: int) -> bool:
        """Return whether a row's past leaves no room for another token."""
        return bool(self.cache.lengths[row] >= self.context)

    def leave(self, row: int) -> None:
        """Take a row away; the last one takes its number."""
        self.cache.remove(row)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Return scores in which what is no text can't come."""
        found = np.array(logits, np.float32)
        found[:, self._never] = -np.inf
        return found


def greedy(decoder: Decoder, prompts: Sequence[Sequence[int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeliest continuation of each prompt, and how sure it is.

    Args:
        decoder: without rows.
        prompts: with `count` tokens each at most as long as the context.
        count: how many tokens are written.

    Returns:
        tokens int32 [prompts, count], and by how much each one's score is above the next best [prompts, count].
    """
    scores = decoder.join(prompts)
    tokens, margins = np.empty((len(prompts), count), np.int32), np.empty((len(prompts), count), np.float32)
    for k in range(count):
        if k:
            scores = decoder.advance(tokens[:, k - 1])
        best = np.sort(scores, axis=1)
        tokens[:, k], margins[:, k] = scores.argmax(axis=1), best[:, -1] - best[:, -2]
    return tokens, margins
