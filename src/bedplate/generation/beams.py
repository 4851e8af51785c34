"""Beam search: the likeliest of several continuations that are followed side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedplate.core.errors import InputError
from bedplate.generation.decoder import Decoder
from bedplate.generation.sampling import Sampling, log_probabilities
from bedplate.generation.stream import Finish, Piece, Spelling


@dataclass(frozen=True)
class Beam:
    """One continuation: its tokens, and the mean log probability of each in nats."""

    tokens: tuple[int, ...]
    score: float
    finish: Finish


def beam_search(
    decoder: Decoder, prompt: Sequence[int], sampling: Sampling, pieces: Sequence[bytes], end: int | None = None
) -> list[Beam]:
    """Return the continuations that were followed to their end, the likeliest first.

    Each step keeps the `beams` likeliest of all continuations by one token; one that a stop string ends is set aside.
    All are judged by the mean log probability of a token, so that a short one has no advantage (Wu et al. 2016,
    "Google's Neural Machine Translation System", section 7, with α = 1). It ends where as many have ended as are
    followed and what still runs is no likelier than they; that is left out then. What the context or `max_tokens` cuts
    off is kept, as such.

    Args:
        decoder: without rows.
        prompt: its tokens.
        sampling: `beams`, `max_tokens` and `stop`; the draw's settings don't count.
        pieces: the bytes of each token.
        end: the token that ends a continuation, if any.

    Raises:
        InputError: prompt and continuation together are longer than the context.
    """
    most = sampling.max_tokens
    if not decoder.slides:
        most = min(most, decoder.context - len(prompt) + 1)  # what is written last is never read
    elif len(prompt) + most > decoder.context:
        raise InputError(
            "beams don't reach beyond what the model sees at once", where="max_tokens",
            expected=f"at most {max(0, decoder.context - len(prompt)):,} behind this prompt",
            received=f"{sampling.max_tokens:,}",
        )  # fmt: skip
    width = sampling.beams
    scores = decoder.join([prompt])
    running: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    ended: list[Beam] = []
    for _ in range(most):
        totals = np.stack([total + log_probabilities(row) for (_, total), row in zip(running, scores, strict=True)])
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * width]
        kept: list[int] = []
        following: list[tuple[tuple[int, ...], float]] = []
        for place in best.tolist():
            row, token = divmod(place, totals.shape[1])
            total = float(totals[row, token])
            if len(following) == width or total == -np.inf:
                break
            tokens = (*running[row][0], token)
            if token == end or _stops(tokens, sampling.stop, pieces):
                ended.append(Beam(tokens, total / len(tokens), "stop"))
            else:
                kept.append(row)
                following.append((tokens, total))
        running = following
        ended = sorted(ended, key=lambda beam: -beam.score)[:width]
        if len(ended) == width and (not running or running[0][1] / len(running[0][0]) <= ended[-1].score):
            running = []  # they are behind already, and not at their end: no answers
        if not running:
            break
        if len(running[0][0]) == most:
            break
        decoder.cache.take(np.array(kept))
        scores = decoder.advance([tokens[-1] for tokens, _ in running])
    ended += [Beam(tokens, total / len(tokens), "length") for tokens, total in running]
    return sorted(ended, key=lambda beam: -beam.score)


def _stops(tokens: Sequence[int], stop: Sequence[str], pieces: Sequence[bytes]) -> bool:
    if not stop:
        return False
    spelling = Spelling(stop)
    spelling.feed(b"".join(pieces[token] for token in tokens), last=True)
    return spelling.stopped


def as_piece(beam: Beam, sampling: Sampling, pieces: Sequence[bytes]) -> Piece:
    """Return a whole continuation as one piece."""
    text = Spelling(sampling.stop).feed(b"".join(pieces[token] for token in beam.tokens), last=True)
    return Piece(text, beam.tokens, beam.finish)
