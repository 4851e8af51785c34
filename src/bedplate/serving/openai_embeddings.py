"""OpenAI's interface for vectors: `POST /v1/embeddings`.

https://platform.openai.com/docs/api-reference/embeddings

Token numbers are those of the model's own tokenizer, taken as they are: nothing is put before or behind them. A text
that is longer than the model reads is cut, as on every other path; `usage` counts the tokens that were read.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bedplate.codecs.codec import TEXT
from bedplate.core.arrays import Arrays
from bedplate.core.errors import PayloadError, json_kind, json_text
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Call, Protocol, Question, Reply
from bedplate.serving.openai import VECTORS, asked_model
from bedplate.serving.openai_forms import Fields, in_form, of_field, wrong
from bedplate.serving.routes import Route
from bedplate.serving.tfserving import STRICT

if TYPE_CHECKING:
    from bedplate.codecs.text import TextCodec, Tokenized  # needs the tokenizers library, which other models don't


MOST_INPUTS = 2048
"""Texts of one request, as OpenAI has it."""


def routes(plane: DataPlane) -> list[Route]:
    """Return the interface's route; none where TensorFlow Serving alone is asked for."""
    if plane.compat == STRICT:
        return []

    async def embeddings(ask: Ask) -> Reply:
        fields = Fields(ask.body)
        model = asked_model(plane, fields.text("model", needed=True))
        reply: Reply = await plane.answer(EMBEDDINGS, Call(model, fields, len(ask.body), ask.deadline))
        return reply

    return [Route("POST", VECTORS, in_form(embeddings))]


def read(call: Call) -> Question:
    """Read what is left of a request's fields. Raises Problem."""
    model, fields = call.model, cast(Fields, call.payload)
    size = model.bundle.answers.dimensions
    if not size:
        raise wrong("model", f"'{model.name}' gives no vectors; ask it at /predict/{model.name}")
    codec = cast("TextCodec", model.bundle.codec)
    given = fields.take("input")
    encoding = fields.take("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise wrong("encoding_format", f"expected 'float' or 'base64', received {json_text(encoding, 40)}")
    wanted = fields.whole("dimensions", size, 1, 1_000_000)
    if wanted != size:
        raise wrong(
            "dimensions", f"the vectors of '{model.name}' have {size} numbers and can't be cut; leave it out",
            "unsupported_parameter",
        )  # fmt: skip
    fields.text("user")
    fields.end()
    texts = codec.tokenized(_texts(given, codec))
    array = np.empty(len(texts), object)
    array[:] = texts
    return Question({TEXT: array}, len(texts), (encoding, sum(len(text.numbers) for text in texts)))


def _texts(given: Any, codec: TextCodec) -> list[str]:
    """Return the texts of `input`: a string, strings, token numbers, or lists of them."""
    if isinstance(given, str) or _numbers(given):
        given = [given]
    if not isinstance(given, list) or not given:
        received = "nothing" if given is None else "an empty list" if given == [] else json_kind(given)
        raise wrong("input", f"expected a string, strings, token numbers or lists of them, received {received}")
    if len(given) > MOST_INPUTS:
        few = f"at most {MOST_INPUTS:,} texts in one request"
        raise wrong("input", f"{few}, received {len(given):,}; send them in parts")
    return [_text(one, codec, f"input[{k}]" if len(given) > 1 else "input") for k, one in enumerate(given)]


def _text(one: Any, codec: TextCodec, where: str) -> str | Tokenized:
    try:
        if _numbers(one):
            return codec.from_numbers(one)
        if isinstance(one, str):
            return codec.text_of(one)
    except PayloadError as error:
        problem = of_field(where, error)
        problem.facts["param"] = "input"
        raise problem from error
    told = "" if where == "input" else f"{where}: "
    raise wrong("input", f"{told}expected a string or a list of token numbers, received {json_kind(one)}")


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def write(call: Call, question: Question, outputs: Arrays) -> Reply:
    """Answer with a vector an input, as numbers or as base64 of little-endian float32."""
    encoding, tokens = question.notes
    vectors = np.ascontiguousarray(outputs[call.model.output.name], "<f4")
    data = [
        {
            "object": "embedding", "index": k,
            "embedding": vector if encoding == "float" else base64.b64encode(vector.tobytes()).decode(),
        }
        for k, vector in enumerate(vectors)
    ]  # fmt: skip
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_reply({"object": "list", "data": data, "model": call.model.name, "usage": usage})


# Texts are cut into tokens while they are read, which takes about a second a megabyte.
EMBEDDINGS = Protocol("openai", read, write, light=4 << 10)
