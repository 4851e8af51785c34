"""OpenAI's interface for text: completions, chat completions and the list of models.

https://platform.openai.com/docs/api-reference. `GET /v1/models` is KServe's as well: `kserve.py` answers both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bedplate.core.errors import listing
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.held import Held, status_of
from bedplate.serving.models import Model
from bedplate.serving.openai_forms import EVENTS, Fields, in_form, wrong
from bedplate.serving.openai_read import Wanted, read_chat, read_completion
from bedplate.serving.openai_write import Events, Form, whole
from bedplate.serving.problems import Problem
from bedplate.serving.routes import Handler, Route
from bedplate.serving.tfserving import STRICT

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec  # needs the tokenizers library, which other models don't

PROTOCOL = "openai"
PATHS = ("/v1/completions", "/v1/chat/completions")
VECTORS = "/v1/embeddings"

_NO_CACHE = (b"cache-control", b"no-cache")


def routes(plane: DataPlane) -> list[Route]:
    """Return the interface's routes; none where TensorFlow Serving alone is asked for."""
    if plane.compat == STRICT:
        return []
    found = []
    handlers = _handler(plane, False, read_completion), _handler(plane, True, read_chat)
    for path, handler in zip(PATHS, handlers, strict=True):
        # Any other method is told in this form: TensorFlow Serving's would call such a path malformed.
        found += [Route("POST", path, in_form(handler)), Route("*", path, in_form(_only_post))]
    # Newer clients begin here; TensorFlow Serving's word, "Malformed request", would leave them without a clue.
    return [*found, *(Route("*", path, in_form(_no_responses)) for path in ("/v1/responses", "/v1/responses/{rest:*}"))]


async def _no_responses(ask: Ask) -> Reply:
    known = listing([*reversed(PATHS), VECTORS])
    message = f"nothing is served at {ask.path[:200]}; of OpenAI's interface there are: {known}"
    raise Problem(404, message, facts={"code": "unknown_url"})


async def _only_post(ask: Ask) -> Reply:
    raise Problem(405, f"{ask.method[:20]} isn't answered at {ask.path}; allowed: POST", allow="POST")


def asked_model(plane: DataPlane, name: str) -> Model:
    """Return the model that a request's `model` names, `NAME` or `NAME:VERSION`. Raises Problem 404."""
    base, _, version = name.partition(":")
    try:
        return plane.repository.find(base, version)
    except Problem as problem:
        plane.metrics.refused(PROTOCOL, str(problem.status))
        problem.facts |= {"param": "model", "code": "model_not_found"}
        raise


def _handler(plane: DataPlane, chat: bool, read: Callable[[Fields, LanguageCodec], Wanted]) -> Handler:
    async def handle(ask: Ask) -> Reply:
        fields = Fields(ask.body)
        name = fields.text("model", needed=True)
        model = asked_model(plane, name)
        streams = model.streams
        if streams is None:
            plane.metrics.refused(PROTOCOL, "400")
            raise wrong("model", f"'{name[:100]}' writes no text; ask it at /predict/{model.name}")
        codec, held = streams.generator.codec, Held(plane, model, PROTOCOL)
        try:
            wanted = await plane.do(len(ask.body) < 4096, read, fields, codec)
            texts = [
                streams.generator.begin(prompt, wanted.sampling, number)
                for prompt in wanted.prompts
                for number in range(wanted.choices)
            ]
            writing = streams.submit(texts, ask.deadline, whole=ask.own_deadline)
        except BaseException as error:
            held.end(status_of(error))
            raise
        form = Form(chat, name, codec, wanted)
        if wanted.stream:
            return Reply(Events(form, writing, held), media_type=EVENTS, headers=[_NO_CACHE])
        try:
            reply = json_reply(await whole(form, writing))
            held.end("200")
            return reply
        except BaseException as error:
            held.end(status_of(error))
            raise
        finally:
            writing.cancel()

    return handle
