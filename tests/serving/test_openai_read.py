"""A talk that a server reads becomes the very tokens that training made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.talks import Talk, said, write

from bedplate.codecs.chat import read_talk
from bedplate.codecs.codec import SEPARATOR, TOKENS
from bedplate.codecs.language import LanguageCodec
from bedplate.data.pairs import fit_pairs
from bedplate.data.talk_pool import read_talk_pool
from bedplate.recipe.schema import DataSpec
from bedplate.serving.openai_forms import Fields
from bedplate.serving.openai_read import Wanted, read_chat, read_completion
from bedplate.serving.problems import Problem

TEMPLATES: tuple[dict[str, str] | None, ...] = (
    None, {"user": "<u>{content}</u>", "assistant": "<a>{content}</a>", "system": "{content}"},
    {"user": "{content}\r\n", "assistant": "\n{content}", "system": "\ufeff{content}"},
)  # fmt: skip
LETTERS = "ab é\u0301\n\r\t{}:\ufeff猫\U0001f408"


def content() -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(LETTERS), min_size=1, max_size=12).map(lambda text: text + "x")


def talk() -> st.SearchStrategy[Talk]:
    def message(roles: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({"role": st.sampled_from(roles), "content": content()})

    later = st.lists(message(("system", "user", "assistant")), max_size=5)
    return st.builds(
        lambda first, others, last: [first, *others, last], message(("system", "user")), later, message(("assistant",))
    )


def read(codec: LanguageCodec, messages: Talk, **more: Any) -> Wanted:
    return read_chat(Fields(json.dumps({"messages": messages, **more}).encode()), codec)


def answered(codec: LanguageCodec, messages: Talk) -> Wanted | Problem:
    try:
        return read(codec, messages)
    except Problem as problem:
        return problem


@settings(max_examples=60)
@given(
    st.lists(talk(), min_size=1, max_size=3), st.sampled_from(TEMPLATES),
    st.sampled_from(("character", "bpe", "word")), st.integers(16, 160),
)  # fmt: skip
def test_a_talk_is_read_as_it_was_learnt(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Talk], template: dict[str, str] | None, kind: str, length: int
) -> None:
    path: Path = write(tmp_path_factory.getbasetemp() / "drawn.jsonl", rows)
    text = {"messages": "messages", "template": template, "tokens": kind, "length": length, "lower": False}
    spec = DataSpec.model_validate({"source": path.name, "text": text})
    pool = read_talk_pool(spec, path.parent, lambda text: None)
    codec, parts, told = fit_pairs(pool, {"train": np.arange(len(pool.texts))}, spec.text)
    learnt, dropped, k = parts["train"].inputs[TOKENS].tolist(), list[int](), 0
    for row in rows:
        for number, message in enumerate(row):
            if message["role"] != "assistant":
                continue
            prompt = learnt[k][: learnt[k].index(SEPARATOR) + 1]
            k += 1
            wanted = answered(codec, row[:number])
            if isinstance(wanted, Problem):
                assert wanted.facts["code"] == "context_length_exceeded"
                assert len(codec.tokens_of(codec.fitted(read_talk(row[:number]))[0])) > codec.readable
            # Else the last message alone is longer than the room, and training may cut it.
            elif len(wanted.prompts[0]) - 1 <= codec.room:
                assert wanted.prompts == [prompt]
                assert (wanted.sampling.stop, wanted.sampling.temperature) == ((), 0.0)
                dropped.append(wanted.dropped)
    assert k == len(learnt)
    assert ("the oldest messages before" in told) >= any(dropped)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> LanguageCodec:
    path = write(tmp_path_factory.mktemp("talks") / "talks.jsonl", [said("so", "it goes", "and", "on", system="Be!")])
    spec = DataSpec.model_validate(
        {"source": path.name, "text": {"messages": "messages", "tokens": "character", "lower": False}}
    )
    pool = read_talk_pool(spec, path.parent, lambda text: None)
    return fit_pairs(pool, {"train": np.arange(2)}, spec.text)[0]


def test_what_is_left_out_is_told(codec: LanguageCodec) -> None:
    assert read(codec, said("so", "on", "so")).dropped == 0
    long = said(*["so", "it goes"] * 20, "and", system="Be!")
    wanted = read(codec, long)
    assert 0 < wanted.dropped < len(long) - 2
    assert codec.text(wanted.prompts[0]).startswith("Be!\n")
    # What is kept says the same by itself, and leaves room for the longest answer that was learnt.
    kept = [long[0], *long[1 + wanted.dropped :]]
    assert read(codec, kept).prompts == wanted.prompts
    assert codec.length - len(wanted.prompts[0]) > codec.reserved


def test_a_model_that_goes_on_with_texts_gets_plain_lines(codec: LanguageCodec) -> None:
    plain = replace(codec, template=None, reserved=0, pairs=False)
    wanted = read(plain, said("so", "on", "so"))
    assert plain.text(wanted.prompts[0]) == "User: so\nAssistant: on\nUser: so\nAssistant:"
    assert wanted.sampling.stop == ("\nUser:",)
    assert read(codec, said("so")).prompts == [codec.encode("User: so\nAssistant:")]


def test_a_model_that_answers_texts_and_learnt_no_talks_is_asked_with_one_message(codec: LanguageCodec) -> None:
    answers = replace(codec, template=None, reserved=0)
    assert read(answers, said("so")).prompts == [answers.encode("so")]
    with pytest.raises(Problem, match=r"wasn't trained on talks \(expected 1 message; received 3\)") as caught:
        read(answers, said("so", "on", "so"))
    assert (caught.value.status, caught.value.facts["param"]) == (400, "messages")
    with pytest.raises(Problem, match="received 2"):
        read(answers, said("so", system="Be!"))


@pytest.mark.parametrize(
    ("messages", "param", "match"),
    [
        ("so", "messages", "received a string"), ([], "messages", "not a list of messages"),
        ([{"role": "assistant", "content": "on"}], "messages[0].role", "the assistant speaks first"),
        ([{"role": "usr", "content": "on"}], "messages[0].role", "did you mean 'user'"),
        ([{"role": [], "content": "on"}], "messages[0].role", "no such role"),
        ([{"role": "user", "content": " "}], "messages[0].content", "empty"),
        ([{"role": "user", "content": {}}], "messages[0].content", "received an object"),
        ([*said("so", "on"), {"role": "tool", "content": "3"}], "messages[2].role", "messages of tools aren't read"),
        (said("猫"), "messages", "never seen"), (said("so " * 99), "messages", "longer than what the model sees"),
    ],
)  # fmt: skip
def test_a_talk_at_fault_is_named(codec: LanguageCodec, messages: Any, param: str, match: str) -> None:
    with pytest.raises(Problem, match=match) as caught:
        read(codec, messages)
    assert (caught.value.status, caught.value.facts["param"]) == (400, param)


@pytest.mark.parametrize(
    ("more", "param", "match"),
    [
        ({"prompt": ["so", "\0", "so"]}, "prompt", r"^prompt\[1\]: the text is empty"),
        ({"prompt": "\0"}, "prompt", "^prompt: the text is empty"),
        ({"prompt": ["so"] * 100_000}, "prompt", "^prompt: at most 128 texts in one request, received 100,000"),
        ({"prompt": ["so"] * 100, "n": 2}, "n", "received 100 × 2"),
        ({"prompt": "so", "max_tokens": "5"}, "max_tokens", "from 1 to 100,000, received '5'$"),
        ({"prompt": "so", "max_tokens": True}, "max_tokens", "from 1 to 100,000, received true$"),
        ({"prompt": "so", "temperature": [1, None]}, "temperature", r"received \[1, null\]"),
        ({"prompt": "so", "stop": [None]}, "stop", "received null"),
    ],
)
def test_a_completion_at_fault_is_named(codec: LanguageCodec, more: dict[str, Any], param: str, match: str) -> None:
    with pytest.raises(Problem, match=match) as caught:
        read_completion(Fields(json.dumps(more).encode()), codec)
    assert caught.value.facts["param"] == param
