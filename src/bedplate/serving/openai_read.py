"""Read requests for text in OpenAI's form: which texts are continued, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bedplate.codecs.chat import MESSAGES, Turn, read_messages, read_talk
from bedplate.codecs.codec import UNKNOWN
from bedplate.core.errors import InputError, PayloadError, json_kind
from bedplate.generation import Sampling
from bedplate.generation.chat import chat_prompt
from bedplate.serving.openai_forms import Fields, of_field, wrong
from bedplate.serving.problems import Problem

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec  # needs the tokenizers library, which other models don't

MOST_TEXTS = 128
"""Texts of one request: prompts times choices."""

COMPLETION_TOKENS = 16
"""What a completion writes at most where nothing is said, as OpenAI has it."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    `prompts` are tokens; `choices` are written of each; `echo` are the texts that are repeated before them, or None;
    `dropped` is how many of a talk's oldest messages were left out.
    """

    prompts: list[list[int]]
    sampling: Sampling
    choices: int = 1
    stream: bool = False
    usage: bool = False
    echo: list[str] | None = None
    dropped: int = 0


def read_completion(fields: Fields, codec: LanguageCodec) -> Wanted:
    """Read what is left of the fields of `POST /v1/completions`. Raises Problem."""
    usual = codec.length if codec.pairs else COMPLETION_TOKENS
    given = fields.take("prompt")
    choices = fields.whole("n", 1, 1, MOST_TEXTS) or 1
    best = fields.whole("best_of", choices, 1, MOST_TEXTS)
    if best != choices:
        raise wrong("best_of", "texts aren't ranked here; leave it out", "unsupported_parameter")
    logprobs = fields.whole("logprobs", None, 0, 5)
    most = fields.whole("max_tokens", usual, 1, 100_000)
    echo = fields.truth("echo")
    fields.only("suffix", (), "a text can't be put between two others here")
    sampling = _sampling(fields, most or usual, logprobs, 0.0 if codec.pairs else 1.0)
    stream, usage = _streaming(fields)
    _unsupported(fields)
    fields.end()
    prompts = _each(_prompts(given), codec)
    if len(prompts) * choices > MOST_TEXTS:
        raise wrong("n", f"at most {MOST_TEXTS} texts in one request, received {len(prompts)} × {choices}")
    echoed = [codec.text(prompt) for prompt in prompts] if echo else None
    return Wanted(prompts, sampling, choices, stream, usage, echoed)


def read_chat(fields: Fields, codec: LanguageCodec) -> Wanted:
    """Read what is left of the fields of `POST /v1/chat/completions`. Raises Problem."""
    turns = _turns(fields.take(MESSAGES), codec)
    most = fields.whole("max_tokens", None, 1, 100_000)
    most = fields.whole("max_completion_tokens", most, 1, 100_000)
    told, best = fields.truth("logprobs"), fields.whole("top_logprobs", None, 0, 20)
    if best is not None and not told:
        raise wrong("top_logprobs", "set logprobs: true as well")
    choices = fields.whole("n", 1, 1, MOST_TEXTS) or 1
    temperature = 0.0 if codec.pairs else 1.0
    sampling = _sampling(fields, most or codec.length, (best or 0) if told else None, temperature)
    stream, usage = _streaming(fields)
    _unsupported(fields)
    for name in ("tools", "functions"):
        fields.only(name, ([],), "this model calls no tools")
    fields.only("tool_choice", ("none", "auto"), "this model calls no tools")
    fields.only("function_call", ("none", "auto"), "this model calls no tools")
    fields.only("parallel_tool_calls", (True, False), "this model calls no tools")
    fields.only("response_format", ({"type": "text"},), "answers are plain text")
    fields.only("modalities", (["text"],), "answers are plain text")
    fields.only("store", (False,), "nothing is stored here")
    fields.end()
    prompt, stop, dropped = _talk(turns, codec)
    if most is None:
        sampling = replace(sampling, max_tokens=max(1, codec.length - len(prompt)))
    known = replace(sampling, stop=(*sampling.stop, *stop))
    return Wanted([prompt], known, choices, stream, usage, dropped=dropped)


def _talk(turns: list[Turn], codec: LanguageCodec) -> tuple[list[int], tuple[str, ...], int]:
    """Return a talk's tokens, what ends the answer, and how many of the oldest messages were left out.

    The bundle's own template renders it, if there is one; else it becomes plain lines. A model that answers texts, and
    never saw a talk, is asked with a single message: its content is the text.
    """
    if codec.template is not None:
        try:
            tokens, dropped = codec.talk(turns)
        except PayloadError as error:
            raise _refusal(MESSAGES, error) from error
        return tokens, (), dropped
    if codec.pairs:
        if len(turns) != 1:
            raise wrong(
                MESSAGES,
                f"this model answers a text at a time and wasn't trained on talks (expected 1 message; received "
                f"{len(turns)}). Send the text as the only message, or train on talks (data.text.messages)",
                "model_not_supported",
            )
        return _tokens(turns[0].content, codec, MESSAGES), (), 0
    text, stop = chat_prompt(turns)
    signs, _ = chat_prompt([Turn("user", "")])
    if not codec.unknown and UNKNOWN in codec.tokens_of(signs):
        raise wrong(
            MESSAGES,
            f"this model can't talk: it has never seen the signs of {signs!r}, by which a talk is written for it; "
            "ask /v1/completions",
            "model_not_supported",
        )
    return _tokens(text, codec, MESSAGES), stop, 0


def _sampling(fields: Fields, most: int, logprobs: int | None, temperature: float) -> Sampling:
    stop = fields.take("stop", [])
    given = {
        "temperature": fields.take("temperature", temperature), "top_p": fields.take("top_p", 1.0),
        "top_k": fields.take("top_k", 0), "seed": fields.take("seed"),
    }  # fmt: skip
    stops = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else (stop,)
    try:
        return Sampling(max_tokens=most, stop=stops, logprobs=logprobs, **given)
    except InputError as error:
        raise of_field(error.where or "", error) from error


def _streaming(fields: Fields) -> tuple[bool, bool]:
    stream, options = fields.truth("stream"), fields.take("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise wrong("stream_options", "set stream: true as well")
    known = isinstance(options, dict) and set(options) <= {"include_usage", "include_obfuscation"}
    usage = options.get("include_usage", False) if known else None
    if not isinstance(usage, bool) or options.get("include_obfuscation"):
        raise wrong("stream_options", 'expected {"include_usage": true}')
    return stream, usage


def _unsupported(fields: Fields) -> None:
    fields.text("user")  # an identifier for whoever runs a server; nothing depends on it
    for name in ("presence_penalty", "frequency_penalty"):
        fields.only(name, (0, 0.0), "tokens aren't made rarer for having come here")
    fields.only("logit_bias", ({},), "scores aren't changed here")


def _prompts(given: Any) -> list[str | list[int]]:
    if given is None:
        raise wrong("prompt", "expected a string to go on from, received nothing")
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        if all(isinstance(one, str) for one in given):
            return given
        if all(isinstance(one, int) and not isinstance(one, bool) for one in given):
            return [given]
        lists = all(isinstance(one, list) and one for one in given)
        if lists and all(isinstance(item, int) and not isinstance(item, bool) for one in given for item in one):
            return given
    raise wrong("prompt", f"expected a string, strings, or token numbers, received {json_kind(given)}")


def _each(given: list[str | list[int]], codec: LanguageCodec) -> list[list[int]]:
    """Return the tokens of each prompt; of several it is told which one is at fault."""
    if len(given) > MOST_TEXTS:
        few = f"at most {MOST_TEXTS} texts in one request"
        raise wrong("prompt", f"{few}, received {len(given):,}; send them in parts")
    found = []
    for number, one in enumerate(given):
        try:
            found.append(_tokens(one, codec, f"prompt[{number}]" if len(given) > 1 else "prompt"))
        except Problem as problem:
            problem.facts["param"] = "prompt"
            raise
    return found


def _tokens(given: str | list[int], codec: LanguageCodec, name: str) -> list[int]:
    if isinstance(given, list):
        odd = [one for one in given if not 0 <= one < codec.vocabulary or one in codec.never]
        if odd:
            raise wrong(
                name, f"expected token numbers from {len(codec.never)} to {codec.vocabulary - 1:,}, received {odd[0]}"
            )
        if len(given) > codec.readable:
            raise wrong(
                name, f"at most {codec.readable:,} tokens are seen at once, received {len(given):,}",
                "context_length_exceeded",
            )  # fmt: skip
        return codec.closed(given)
    try:
        return codec.encode(given)
    except PayloadError as error:
        raise _refusal(name, error) from error


def _refusal(name: str, error: PayloadError) -> Problem:
    return of_field(name, error, "context_length_exceeded" if "longer" in error.what else None)


def _turns(given: Any, codec: LanguageCodec) -> list[Turn]:
    try:
        return read_messages(given) if codec.template is None else read_talk(given)
    except PayloadError as error:
        raise of_field(error.where or MESSAGES, error) from error
