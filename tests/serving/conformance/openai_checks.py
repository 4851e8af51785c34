"""What OpenAI's own Python client asks of a server that writes text; run by that client's environment, not by pytest.

    python openai_checks.py http://127.0.0.1:8000

It prints one line of JSON a check: its name, and "" or what went wrong.
"""

from __future__ import annotations

import asyncio
import sys

import openai
from script import run_all

URL = f"{sys.argv[1]}/v1"
CLIENT = openai.OpenAI(base_url=URL, api_key="none", max_retries=0, timeout=30)
TALK = [{"role": "user", "content": "so"}]  # the model sees 24 characters at once


def check_models() -> None:
    listed = CLIENT.models.list()
    assert [one.id for one in listed] == ["writer"]
    assert CLIENT.models.retrieve("writer").owned_by == "bedplate"


def check_completion() -> None:
    done = CLIENT.completions.create(model="writer", prompt="so it", max_tokens=9, seed=1, n=2, logprobs=1)
    assert [one.index for one in done.choices] == [0, 1]
    assert all(len(one.text) == 9 and one.finish_reason == "length" for one in done.choices)
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (5, 18)
    assert done.choices[0].logprobs is not None
    assert len(done.choices[0].logprobs.token_logprobs or []) == 9


def check_completion_stream() -> None:
    whole = CLIENT.completions.create(model="writer", prompt="so it", max_tokens=12, seed=3).choices[0].text
    parts, finish = "", None
    for part in CLIENT.completions.create(model="writer", prompt="so it", max_tokens=12, seed=3, stream=True):
        parts += part.choices[0].text
        finish = part.choices[0].finish_reason or finish
    assert (parts, finish) == (whole, "length")


def check_chat() -> None:
    done = CLIENT.chat.completions.create(model="writer", messages=TALK, max_tokens=5, seed=1)  # type: ignore[arg-type]
    assert done.choices[0].message.role == "assistant"
    assert len(done.choices[0].message.content or "") == 5
    assert done.usage is not None
    assert done.usage.completion_tokens == 5


def check_chat_stream_with_usage() -> None:
    parts, usage = "", None
    stream = CLIENT.chat.completions.create(
        model="writer", messages=TALK, max_tokens=6, seed=1, stream=True, stream_options={"include_usage": True},  # type: ignore[arg-type]
    )  # fmt: skip
    for part in stream:
        usage = part.usage or usage
        parts += (part.choices[0].delta.content or "") if part.choices else ""
    assert len(parts) == 6
    assert usage is not None
    assert usage.completion_tokens == 6


def check_chat_logprobs() -> None:
    done = CLIENT.chat.completions.create(
        model="writer", messages=TALK, max_tokens=3, logprobs=True, top_logprobs=2,  # type: ignore[arg-type]
    )  # fmt: skip
    told = done.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    assert [len(one.top_logprobs) for one in told.content] == [2, 2, 2]


def check_stop() -> None:
    whole = CLIENT.completions.create(model="writer", prompt="so", max_tokens=20, seed=5).choices[0].text
    choice = CLIENT.completions.create(model="writer", prompt="so", max_tokens=20, seed=5, stop=[whole[6:8]]).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.text == whole[: whole.index(whole[6:8])]


def check_unknown_model() -> None:
    try:
        CLIENT.completions.create(model="nobody", prompt="so")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
        assert error.param == "model"
        return
    raise AssertionError("it was answered")


def check_bad_request() -> None:
    try:
        CLIENT.completions.create(model="writer", prompt="so", max_tokens=0)
    except openai.BadRequestError as error:
        assert error.param == "max_tokens"
        assert error.type == "invalid_request_error"
        return
    raise AssertionError("it was answered")


def check_unsupported() -> None:
    try:
        CLIENT.chat.completions.create(model="writer", messages=TALK, presence_penalty=1.0)  # type: ignore[arg-type]
    except openai.BadRequestError as error:
        assert error.code == "unsupported_parameter"
        return
    raise AssertionError("it was answered")


def check_a_deadline() -> None:
    try:
        CLIENT.completions.create(
            model="writer", prompt="so", max_tokens=100_000, extra_headers={"x-request-timeout": "0.2"}
        )
    except openai.InternalServerError as error:
        assert error.status_code == 504
        return
    raise AssertionError("it was answered")


def check_several_at_once() -> None:
    async def ask(client: openai.AsyncOpenAI, seed: int) -> str:
        text = ""
        stream = await client.completions.create(model="writer", prompt="so it", max_tokens=20, seed=seed, stream=True)
        async for part in stream:
            text += part.choices[0].text
        return text

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=URL, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, seed) for seed in range(12)))

    found = asyncio.run(all_of_them())
    alone = [
        CLIENT.completions.create(model="writer", prompt="so it", max_tokens=20, seed=seed).choices[0].text
        for seed in range(12)
    ]
    assert found == alone


def check_a_stream_that_is_left() -> None:
    stream = CLIENT.completions.create(model="writer", prompt="so", max_tokens=100_000, stream=True)
    next(iter(stream))
    stream.close()
    assert CLIENT.completions.create(model="writer", prompt="so", max_tokens=2).choices[0].text


run_all(dict(globals()))
