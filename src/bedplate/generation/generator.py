"""A language model that continues texts: a step, its codec, and whoever wants pieces of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.codecs.codec import Payload, TensorSpec
from bedplate.generation.beams import as_piece, beam_search
from bedplate.generation.decoder import Decoder, Step
from bedplate.generation.running import Running
from bedplate.generation.sampling import Sampling
from bedplate.generation.stream import Piece, Stream

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec  # it needs the tokenizers library, which this room doesn't


@dataclass(frozen=True)
class Generator:
    """Continue texts.

    Attributes:
        codec: texts to tokens and back.
        step: the graph.
        past: its inputs that carry the past.
        runnable: the name of the variant.
    """

    codec: LanguageCodec
    step: Step
    past: Sequence[TensorSpec]
    runnable: str = ""

    def decoder(self) -> Decoder:
        """Return a decoder without rows."""
        return Decoder(self.step, self.past, self.codec.length)

    def stream(self, prompt: Payload, sampling: Sampling | None = None) -> Iterator[Piece]:
        """Yield a text's continuation as it is written; beams come as one piece. Raises PayloadError, InputError."""
        sampling = sampling or Sampling()
        tokens = self.codec.encode(prompt)
        if sampling.beams > 1:
            yield self.best(tokens, sampling)
            return
        running = Running(self.decoder())
        found = running.join([Stream(tokens, sampling, self.codec.pieces)])
        while True:
            for _, piece in found:
                yield piece
            if not running.streams:
                return
            found = running.advance()

    def best(self, tokens: Sequence[int], sampling: Sampling) -> Piece:
        """Return the likeliest continuation that beams find. Raises InputError."""
        pieces = self.codec.pieces
        return as_piece(beam_search(self.decoder(), tokens, sampling, pieces)[0], sampling, pieces)

    def answer(self, prompt: Payload, sampling: Sampling | None = None) -> dict[str, Any]:
        """Return a whole continuation: `{answer, finish_reason, tokens}`."""
        pieces = list(self.stream(prompt, sampling))
        return {
            "answer": "".join(piece.text for piece in pieces),
            "finish_reason": pieces[-1].finish,
            "tokens": sum(len(piece.tokens) for piece in pieces),
        }
