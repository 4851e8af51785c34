from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.codecs import from_contract
from bedplate.codecs.chat import ChatTemplate, Turn
from bedplate.codecs.codec import NEVER, SEPARATOR, TOKENS, UNKNOWN
from bedplate.codecs.language import LanguageCodec, byte_signs, chunks
from bedplate.codecs.text_learning import learn_tokenizer
from bedplate.core.errors import BundleError, InputError, PayloadError

TEXT = "The cat sat\n\non the mat.  A dog – Ünï 猫 🐈 sat\ton it!\n" * 4
LETTERS = sorted(set(TEXT))


def codec(kind: str, length: int = 64, **changes: Any) -> LanguageCodec:
    tokenizer = learn_tokenizer(chunks(TEXT), kind=kind, size=400, lower=False, lossless=True)  # type: ignore[arg-type]
    return LanguageCodec(tokenizer, length, **changes)


CODECS = {kind: codec(kind) for kind in ("character", "bpe", "word")}


@pytest.mark.parametrize("kind", list(CODECS))
def test_tokens_give_the_training_text_again(kind: str) -> None:
    tokens = CODECS[kind].tokens_of(TEXT)
    assert CODECS[kind].text(tokens.tolist()) == TEXT
    assert not np.isin(tokens, NEVER).any()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_bytes_know_every_text(text: str) -> None:
    import unicodedata

    found = CODECS["bpe"].tokens_of(text)
    assert CODECS["bpe"].text(found.tolist()) == unicodedata.normalize("NFC", text)
    assert sum(len(CODECS["bpe"].pieces[token]) for token in found) == len(unicodedata.normalize("NFC", text).encode())


@given(st.text(st.sampled_from(LETTERS), min_size=1, max_size=60))
def test_known_characters_come_back_one_a_token(text: str) -> None:
    prompt = CODECS["character"].encode(text) if len(text) <= 64 else []
    assert len(prompt) == len(text)
    assert CODECS["character"].text(prompt) == text


@settings(max_examples=30)
@given(st.text(st.sampled_from("ab \n"), max_size=3000), st.integers(1, 50))
def test_a_cut_text_is_whole_and_no_part_is_long(text: str, size: int) -> None:
    import bedplate.codecs.language as module

    before = module._CHUNK
    module._CHUNK = size
    try:
        parts = chunks(text)
    finally:
        module._CHUNK = before
    assert "".join(parts) == text
    assert all(0 < len(part) <= 4 * size for part in parts)


@pytest.mark.parametrize("kind", list(CODECS))
def test_a_codec_comes_back_from_its_contract(kind: str) -> None:
    again = from_contract(json.loads(json.dumps(CODECS[kind].contract())))
    assert isinstance(again, LanguageCodec)
    assert again.contract() == CODECS[kind].contract()
    assert again.pieces == CODECS[kind].pieces
    assert again.encode("The cat") == CODECS[kind].encode("The cat")
    with pytest.raises(BundleError, match="damaged"):
        from_contract({**CODECS[kind].contract(), "tokenizer": {"model": {}}})


def test_prompts_are_filled_up_to_the_longest() -> None:
    found = CODECS["character"].decode(["The", "A dog"])[TOKENS]
    assert (found.dtype, found.shape) == (np.int32, (2, 5))
    assert found[0].tolist()[3:] == [0, 0]
    assert CODECS["character"].decode(["\n"])[TOKENS].shape == (1, 1)


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ("", "the prompt is empty"), (b"", "the prompt is empty"), (b"a\xff", "not UTF-8"), ("a\0", "NUL"),
        ("The ξ", "never seen.*'ξ'"), ("[PAD]", r"never seen"), ("a" * 65, "at most 64 tokens; received 65"),
        (None, "not a text"), ("\ud800", "surrogate"),
    ],
)  # fmt: skip
def test_a_prompt_at_fault_is_told(prompt: object, match: str) -> None:
    with pytest.raises(PayloadError, match=match):
        CODECS["character"].encode(prompt)
    with pytest.raises(PayloadError, match="payload 1"):
        CODECS["character"].decode(["a", prompt])


def test_what_was_unknown_in_training_may_be_unknown_in_a_prompt() -> None:
    assert UNKNOWN in codec("word", unknown=True).encode("The zygote")


def test_byte_signs_are_256_different_ones_and_plain_where_they_can_be() -> None:
    signs = byte_signs()
    assert len(set(signs)) == 256
    assert signs[ord("a")] == "a"
    assert signs[ord(" ")] == "Ġ"  # as GPT-2's vocabulary writes it


def test_parts_of_words_lose_spaces_and_are_refused() -> None:
    with pytest.raises(InputError, match="don't keep the spaces"):
        codec("wordpiece")


SIGNS = "User: Assistant: one two three four five Be!\n" + TEXT
PLAIN = LanguageCodec(
    learn_tokenizer(
        [SIGNS], kind="character", size=400, lower=False, lossless=True, marks=("[SEP]", "[END]")
    ), 64, pairs=True,
)  # fmt: skip
TALKER = replace(PLAIN, template=ChatTemplate(), reserved=8)


def said(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    turns = [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]
    return [*([{"role": "system", "content": system}] if system else []), *turns]


def test_a_talk_is_read_as_its_template_renders_it() -> None:
    tokens, dropped = TALKER.read({"messages": said("so", "it", "on")})
    assert (TALKER.text(tokens), tokens[-1], dropped) == ("User: so\nAssistant: it\nUser: on\nAssistant:", SEPARATOR, 0)
    assert TALKER.encode({"messages": said("so")}) == TALKER.encode("User: so\nAssistant:")
    assert TALKER.read("so") == (TALKER.encode("so"), 0)  # a text is taken as it is
    assert TALKER.decode([{"messages": said("so")}, "so"])[TOKENS].shape == (2, 20)


def test_the_template_travels_in_the_contract() -> None:
    own = replace(TALKER, template=ChatTemplate(user="<u>{content}"))
    again = from_contract(json.loads(json.dumps(own.contract())))
    assert isinstance(again, LanguageCodec)
    assert (again.template, again.reserved, again.room) == (own.template, 8, 54)
    old = from_contract({key: value for key, value in PLAIN.contract().items() if key not in ("template", "reserved")})
    assert isinstance(old, LanguageCodec)
    assert (old.template, old.reserved) == (None, 0)
    assert not {"template", "reserved"} & set(PLAIN.contract())
    for damaged in ({"user": "no content"}, {"users": "{content}"}, 3):
        with pytest.raises(BundleError, match="damaged"):
            from_contract({**own.contract(), "template": damaged})


def test_the_oldest_messages_make_room_and_the_systems_go_last() -> None:
    talk = said("one", "two", "three", "four", "five", system="Be!")
    tokens, dropped = TALKER.read({"messages": talk})
    assert TALKER.text(tokens) == "Be!\nUser: three\nAssistant: four\nUser: five\nAssistant:"
    assert dropped == 2
    for length, count, text in (
        (50, 4, "Be!\nUser: five\nAssistant:"), (34, 5, "User: five\nAssistant:"), (24, 5, "User: five\nAssistant:"),
    ):  # fmt: skip
        tokens, dropped = replace(TALKER, length=length).read({"messages": talk})
        assert (TALKER.text(tokens), dropped) == (text, count)
    with pytest.raises(PayloadError, match=r"longer than what the model sees.*at most 20 tokens; received 21"):
        replace(TALKER, length=22).read({"messages": talk})


@given(
    st.lists(st.tuples(st.sampled_from(("system", "user", "assistant")), st.integers(1, 30)), min_size=1, max_size=9),
    st.integers(4, 120), st.integers(0, 60),
)  # fmt: skip
def test_no_more_is_left_out_than_must_be(sizes: list[tuple[str, int]], length: int, reserved: int) -> None:
    turns = [Turn(role, "a" * size) for role, size in sizes]
    codec = replace(TALKER, length=length, reserved=reserved)
    text, dropped = codec.fitted(turns)
    assert 0 <= dropped < len(turns)
    assert text.endswith(ChatTemplate().render(turns[-1:]))
    oldest = [k for k in range(len(turns) - 1) if turns[k].role != "system"]
    oldest += [k for k in range(len(turns) - 1) if turns[k].role == "system"]

    def without(count: int) -> str:
        return ChatTemplate().render([turn for k, turn in enumerate(turns) if k not in oldest[:count]])

    assert text == without(dropped)
    assert len(text) <= codec.room or dropped == len(turns) - 1
    assert not dropped or len(without(dropped - 1)) > codec.room


@pytest.mark.parametrize(
    ("codec", "payload", "match"),
    [
        (PLAIN, {"messages": said("so")}, "wasn't trained on talks"),
        (TALKER, {"messages": said("so"), "text": "so"}, "either a text or a talk"),
        (TALKER, {"messages": said("ξ")}, "never seen.*'ξ'"), (TALKER, {"messages": said("")}, r"messages\[0\].content"),
        (TALKER, {"messages": said("a" * 90)}, "longer than what the model sees"), (TALKER, {"message": []}, "no text"),
    ],
)  # fmt: skip
def test_a_talk_at_fault_is_told(codec: LanguageCodec, payload: Any, match: str) -> None:
    with pytest.raises(PayloadError, match=match):
        codec.read(payload)
