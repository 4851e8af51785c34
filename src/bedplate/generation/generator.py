"""A language model that continues texts: a step, its codec, and whoever wants pieces of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
        return Decoder(self.step, self.past, self.codec.length, self.codec.never, slides=not self.codec.pairs)

    @property
    def sampling(self) -> Sampling:
        """How texts are written where nobody says: drawn, or as an answer the likeliest one, to its end."""
        codec = self.codec
        return Sampling(codec.length, 0.0, beams=codec.beams) if codec.pairs else Sampling()

    def fitting(self, prompt: Sequence[int], sampling: Sampling) -> Sampling:
        """Return the sampling with as many tokens as fit behind a prompt: beams don't reach beyond the context."""
        room = max(1, self.codec.length - len(prompt))
        return replace(sampling, max_tokens=min(sampling.max_tokens, room)) if sampling.beams > 1 else sampling

    def begin(self, prompt: Sequence[int], sampling: Sampling, number: int = 0) -> Stream:
        """Return a text that is to be written."""
        return Stream(prompt, sampling, self.codec.pieces, number, self.codec.end)

    def stream(self, prompt: Payload, sampling: Sampling | None = None) -> Iterator[Piece]:
        """Yield a text's continuation as it is written; beams come as one piece. Raises PayloadError, InputError."""
        wanted = sampling or self.sampling
        yield from self.written(self.begin(self.codec.encode(prompt), wanted))

    def written(self, stream: Stream) -> Iterator[Piece]:
        """Yield what is written of a text that was begun; afterwards it says how much of its beginning is forgotten."""
        if stream.sampling.beams > 1:
            yield self.best(stream.prompt, stream.sampling)
            return
        running = Running(self.decoder())
        found = running.join([stream])
        while True:
            for _, piece in found:
                yield piece
            if not running.streams:
                return
            found = running.advance()

    def best(self, tokens: Sequence[int], sampling: Sampling) -> Piece:
        """Return the likeliest continuation that beams find. Raises InputError."""
        pieces = self.codec.pieces
        found = beam_search(self.decoder(), tokens, sampling, pieces, self.codec.end)
        return as_piece(found[0], sampling, pieces)

    def answers(self, prompts: Sequence[Sequence[int]], side_by_side: int = 64) -> Iterator[tuple[int, str]]:
        """Yield (number, whole text) of prompts' tokens as they are done, written as `sampling` has it.

        Those of like length are read together.
        """
        sampling = self.sampling
        if sampling.beams > 1:
            for number, prompt in enumerate(prompts):
                yield number, self.best(prompt, sampling).text
            return
        running, written = Running(self.decoder()), dict[int, str]()
        waiting = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
        numbers: dict[int, int] = {}
        while waiting or running.streams:
            begun = [waiting.pop() for _ in range(min(len(waiting), side_by_side - len(running.streams)))]
            streams = [self.begin(prompts[number], sampling) for number in begun]
            numbers |= {id(stream): number for stream, number in zip(streams, begun, strict=True)}
            found = running.join(streams) if streams else running.advance()
            for stream, piece in found:
                number = numbers[id(stream)]
                written[number] = written.get(number, "") + piece.text
                if piece.finish:
                    yield number, written.pop(number)

    def answer(self, prompt: Payload, sampling: Sampling | None = None) -> dict[str, Any]:
        """Return a whole continuation: `{answer, finish_reason, tokens}`.

        `dropped_messages` stands beside them where a talk's oldest messages didn't fit, `forgotten_tokens` where the
        text outgrew what the model sees at once.
        """
        tokens, dropped = self.codec.read(prompt)
        stream = self.begin(tokens, sampling or self.sampling)
        pieces = list(self.written(stream))
        return {
            "answer": "".join(piece.text for piece in pieces),
            "finish_reason": pieces[-1].finish,
            "tokens": sum(len(piece.tokens) for piece in pieces),
            **({"dropped_messages": dropped} if dropped else {}),
            **({"forgotten_tokens": stream.forgotten} if stream.forgotten else {}),
        }
