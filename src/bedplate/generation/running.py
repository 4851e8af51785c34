"""Continuous batching: streams join and leave between steps, and each step adds a token to every one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bedplate.generation.decoder import Decoder
from bedplate.generation.stream import Piece, Stream


class Running:
    """The streams under way, one a row of a decoder.

    A stream's tokens don't depend on those beside it, but for rounding. Orca (Yu et al. 2022, "A Distributed Serving
    System for Transformer-Based Generative Models", section 4.1) calls it iteration-level scheduling.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.streams: list[Stream] = []

    def join(self, streams: Sequence[Stream]) -> list[tuple[Stream, Piece]]:
        """Read the prompts of new streams; return the first piece of each."""
        if not streams:
            return []
        scores = self._decoder.join([stream.prompt for stream in streams])
        self.streams += streams
        return self._settled([(stream, stream.take(row)) for stream, row in zip(streams, scores, strict=True)])

    def advance(self) -> list[tuple[Stream, Piece]]:
        """Add a token to every stream; return the pieces.

        One whose context is full goes on from its later half, or ends, as the decoder has it.
        """
        full = [stream for row, stream in enumerate(self.streams) if self._decoder.full(row)]
        self.leave(full)
        ended = [] if self._decoder.slides else [(stream, stream.cut()) for stream in full]
        full = full if self._decoder.slides else []
        found: list[tuple[Stream, Piece]] = []
        if self.streams:
            scores = self._decoder.advance([stream.tokens[-1] for stream in self.streams])
            found = [(stream, stream.take(row)) for stream, row in zip(self.streams, scores, strict=True)]
        if full:
            scores = self._decoder.join([stream.seen(self._decoder.context) for stream in full])
            self.streams += full
            found += [(stream, stream.take(row)) for stream, row in zip(full, scores, strict=True)]
        return [*self._settled(found), *ended]

    def leave(self, streams: Iterable[Stream]) -> None:
        """Let streams go, finished or not; those that aren't here are passed over."""
        gone = set(map(id, streams))
        for row in range(len(self.streams) - 1, -1, -1):
            if id(self.streams[row]) in gone:
                self._decoder.leave(row)
                self.streams[row] = self.streams[-1]  # as the decoder's last row takes the place
                self.streams.pop()

    def _settled(self, found: list[tuple[Stream, Piece]]) -> list[tuple[Stream, Piece]]:
        self.leave([stream for stream, piece in found if piece.finish])
        return found
