"""Bedplate's own interface to models that write text: a text in, its continuation out, whole or as it is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bedplate.core.errors import InputError
from bedplate.generation import Piece
from bedplate.serving.dataplane import DataPlane, to_json
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.held import Held, status_of
from bedplate.serving.models import Model
from bedplate.serving.native_stream import MEDIA_TYPE, wants_stream
from bedplate.serving.native_text_read import Asked, read_texts
from bedplate.serving.problems import Problem, bad_request, from_error
from bedplate.serving.streams import Streams, Writing, unseen

log = logging.getLogger("bedplate.serving")


async def answer(plane: DataPlane, model: Model, ask: Ask) -> Reply:
    """Return the continuations of a request's texts. Raises Problem.

    The body is the text itself, or JSON: a string, `{"text": …}` or a talk, `{"messages": […]}`, with the settings of
    `Sampling` beside it, or a list of these. `?stream=true`, or `Accept: application/x-ndjson`, gives a line for every
    piece.
    """
    held = Held(plane, model, "native")
    writing: Writing | None = None
    try:
        streams = model.streams
        assert streams is not None
        write = streams.generator
        streamed = wants_stream(ask)
        # Pieces come as they are certain, and of beams none is before the end: a stream without settings has none.
        usual = replace(write.sampling, beams=1) if streamed else write.sampling
        asked = await plane.do(len(ask.body) < 4096, read_texts, ask, write, usual)
        if streamed:
            _check_stream(asked)
            (one,) = asked
            begun = [write.begin(one.tokens, one.sampling)]
            writing = streams.submit(begun, ask.deadline, whole=ask.own_deadline)
            return Reply(Lines(writing, held, one.dropped), media_type=MEDIA_TYPE)
        answers = await asyncio.gather(*(_one(plane, streams, one, ask) for one in asked))
        told = {"model": model.name, "version": model.version, "bundle": model.bundle.id, "answers": answers}
        reply = Reply(to_json(told))
        held.end("200")
        return reply
    except BaseException as error:
        if writing is not None:
            writing.cancel()
        held.end(status_of(error))
        raise


def _check_stream(asked: Sequence[Asked]) -> None:
    if len(asked) != 1:
        raise bad_request(f"stream: a stream is of one text (received {len(asked)}). Send a request for each text")
    if asked[0].sampling.beams > 1:
        raise bad_request(
            f"stream: of beams nothing is certain before the end (received beams: {asked[0].sampling.beams}). Leave "
            "beams out, or don't ask for a stream"
        )


async def _one(plane: DataPlane, streams: Streams, one: Asked, ask: Ask) -> dict[str, Any]:
    if one.sampling.beams > 1:
        try:
            return _told([await plane.do(False, streams.generator.best, one.tokens, one.sampling)], one, 0)
        except InputError as error:
            raise from_error(error) from error
    texts = [streams.generator.begin(one.tokens, one.sampling)]
    writing = streams.submit(texts, ask.deadline, whole=ask.own_deadline)
    try:
        pieces = [piece async for _, piece in writing]
    finally:
        writing.cancel()
    return _told(pieces, one, texts[0].forgotten)


def _told(pieces: Sequence[Piece], one: Asked, forgotten: int) -> dict[str, Any]:
    told = {
        "answer": "".join(piece.text for piece in pieces),
        "finish_reason": pieces[-1].finish,
        "prompt_tokens": len(one.tokens),
        "tokens": sum(len(piece.tokens) for piece in pieces),
    }
    return told | unseen(one.dropped, forgotten)


class Lines:
    """A line of JSON for every piece, and a last one with why it ended; the model is held until then."""

    def __init__(self, writing: Writing, held: Held, dropped: int) -> None:
        self._writing, self._held, self._dropped = writing, held, dropped

    def __aiter__(self) -> Lines:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next line."""
        if self._held.ended:
            raise StopAsyncIteration
        try:
            _, piece = await anext(self._writing)
        except StopAsyncIteration:
            self._held.end("200")
            stream = self._writing.streams[0]
            told = {"finish_reason": stream.finish, "prompt_tokens": len(stream.prompt), "tokens": len(stream.tokens)}
            return to_json(told | unseen(self._dropped, stream.forgotten)) + b"\n"
        except Problem as problem:
            self._held.end(str(problem.status))
            return to_json(problem.to_json()) + b"\n"
        except Exception:  # the status is sent already, so the reply must say it
            log.exception("a text failed while it was written")
            self._held.end("500")
            return to_json({"error": "the server failed on this request; its log says why"}) + b"\n"
        return to_json({"text": piece.text}) + b"\n" if piece.text else b""

    async def aclose(self) -> None:
        """Write no more, and let go of the model."""
        self._writing.cancel()
        self._held.end("499")
