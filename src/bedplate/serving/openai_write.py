"""Write texts in OpenAI's form: as one reply, or as events while they are written."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bedplate.generation import Piece
from bedplate.generation.stream import Chosen
from bedplate.serving.held import Held, status_of
from bedplate.serving.openai_forms import DONE, error_json, event, identity
from bedplate.serving.openai_read import Wanted
from bedplate.serving.problems import Problem
from bedplate.serving.streams import Writing, unseen

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec  # needs the tokenizers library, which other models don't

log = logging.getLogger("bedplate.serving")


class Form:
    """How one request's texts are written.

    Args:
        chat: whether as a chat's messages, else as completions.
        model: the name under which it was asked.
        codec: tokens to text.
        wanted: the request.
    """

    def __init__(self, chat: bool, model: str, codec: LanguageCodec, wanted: Wanted) -> None:
        self.chat, self.wanted, self._model, self._codec = chat, wanted, model, codec
        self._identity = identity("chatcmpl" if chat else "cmpl")
        self._created = int(time.time())
        self._written = 0
        self._lengths: dict[int, int] = {}

    def usage(self) -> dict[str, int]:
        """Return how many tokens were read and written so far."""
        prompt = sum(map(len, self.wanted.prompts))
        return {
            "prompt_tokens": prompt, "completion_tokens": self._written, "total_tokens": prompt + self._written
        }  # fmt: skip

    def head(self, *, chunk: bool) -> dict[str, Any]:
        """Return the fields with which every reply begins."""
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        return {"id": self._identity, "object": kind, "created": self._created, "model": self._model}

    def echoed(self, number: int) -> str:
        """Return the prompt that is repeated before a text."""
        return self.wanted.echo[number // self.wanted.choices] if self.wanted.echo else ""

    def unseen(self, writing: Writing) -> dict[str, int]:
        """Return what is told of texts that don't fit into the context."""
        return unseen(self.wanted.dropped, max(stream.forgotten for stream in writing.streams))

    def count(self, piece: Piece) -> None:
        """Count a piece's tokens."""
        self._written += len(piece.tokens)

    def choice(
        self, number: int, text: str, chosen: Sequence[Chosen], finish: str | None, **more: Any
    ) -> dict[str, Any]:
        """Return one text, whole or a part of it, as the request's form has it."""
        told = None if self.wanted.sampling.logprobs is None else self._logprobs(number, chosen)
        return {"index": number, **more, **({} if more else {"text": text}), "logprobs": told, "finish_reason": finish}

    def _logprobs(self, number: int, chosen: Sequence[Chosen]) -> dict[str, Any]:
        if self.chat:
            return {"content": [self._token(one) for one in chosen]}
        tokens = [self._codec.text([one.token]) for one in chosen]
        offsets, at = [], self._lengths.get(number, len(self.echoed(number)))
        for token in tokens:
            offsets.append(at)
            at += len(token)
        self._lengths[number] = at
        return {
            "tokens": tokens, "token_logprobs": [one.logprob for one in chosen], "text_offset": offsets,
            "top_logprobs": [{self._codec.text([token]): value for token, value in one.likeliest} for one in chosen],
        }  # fmt: skip

    def _token(self, one: Chosen) -> dict[str, Any]:
        def told(token: int, value: float) -> dict[str, Any]:
            piece = self._codec.pieces[token]
            return {"token": piece.decode(errors="replace"), "logprob": value, "bytes": list(piece)}

        return told(one.token, one.logprob) | {"top_logprobs": [told(*best) for best in one.likeliest]}


async def whole(form: Form, writing: Writing) -> dict[str, Any]:
    """Return all texts as one reply. Raises Problem."""
    texts = [form.echoed(number) for number in range(len(writing.streams))]
    chosen: list[list[Chosen]] = [[] for _ in writing.streams]
    finish: list[str | None] = [None for _ in writing.streams]
    async for number, piece in writing:
        texts[number] += piece.text
        chosen[number] += piece.chosen
        finish[number] = piece.finish
        form.count(piece)
    choices = []
    for number, text in enumerate(texts):
        more = {"message": {"role": "assistant", "content": text, "refusal": None}} if form.chat else {}
        choices.append(form.choice(number, text, chosen[number], finish[number], **more))
    return {**form.head(chunk=False), "choices": choices, "usage": form.usage(), **form.unseen(writing)}


class Events:
    """The events of one reply; an asynchronous iterator over bytes. The model is held until the last, or `aclose`."""

    def __init__(self, form: Form, writing: Writing, held: Held) -> None:
        self._form, self._writing, self._held = form, writing, held
        self._events = self._all()

    def __aiter__(self) -> Events:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next event."""
        return await anext(self._events)

    async def aclose(self) -> None:
        """Write no more, and let go of the model."""
        self._writing.cancel()
        self._held.end("499")
        await self._events.aclose()

    async def _all(self) -> Any:
        form, writing = self._form, self._writing
        head = form.head(chunk=True)
        try:
            for number in range(len(writing.streams)):
                if form.chat:
                    first = form.choice(number, "", (), None, delta={"role": "assistant", "content": ""})
                    yield event({**head, "choices": [first | {"logprobs": None}]})
                elif form.wanted.echo:
                    first = form.choice(number, form.echoed(number), (), None)
                    yield event({**head, "choices": [first | {"logprobs": None}]})
            async for number, piece in writing:
                form.count(piece)
                if piece.text or piece.chosen:
                    more = {"delta": {"content": piece.text}} if form.chat else {}
                    yield event({**head, "choices": [form.choice(number, piece.text, piece.chosen, None, **more)]})
                if piece.finish:
                    more = {"delta": {}} if form.chat else {}
                    last = form.choice(number, "", (), piece.finish, **more) | {"logprobs": None}
                    yield event({**head, "choices": [last], **form.unseen(writing)})
            if form.wanted.usage:
                yield event({**head, "choices": [], "usage": form.usage()})
            yield DONE
            self._held.end("200")
        except Problem as problem:
            self._held.end(str(problem.status))
            yield event(error_json(problem))
        except Exception as error:  # the status is sent already, so the reply must say it
            log.exception("a text failed while it was written")
            self._held.end(status_of(error))
            yield event(error_json(Problem(500, "the server failed on this request; its log says why")))
