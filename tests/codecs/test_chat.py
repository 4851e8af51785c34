"""Messages and the chat template: how a talk becomes one text, and what of it is refused, with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.codecs.chat import ROLES, ChatTemplate, Turn, read_messages, read_talk
from bedplate.core.errors import InputError, PayloadError

TALK = [Turn("system", "Be brief."), Turn("user", "Hi"), Turn("assistant", "Ho"), Turn("user", "?")]


def message(role: Any, content: Any = "so", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_a_talk_is_rendered_turn_by_turn_and_ends_where_the_assistant_begins() -> None:
    assert ChatTemplate().render(TALK) == "Be brief.\nUser: Hi\nAssistant: Ho\nUser: ?\nAssistant:"
    own = ChatTemplate(system="[{content}]", user="<u>{content}</u>", assistant="<a>\n{content}</a>")
    assert own.render(TALK) == "[Be brief.]<u>Hi</u><a>\nHo</a><u>?</u><a>"
    assert ChatTemplate(assistant="{content}\n").render(TALK[1:2]) == "User: Hi\n"


@given(st.lists(st.builds(Turn, st.sampled_from(ROLES), st.text(max_size=20)), max_size=6))
def test_what_a_message_says_is_taken_literally(turns: list[Turn]) -> None:
    text = ChatTemplate(system="s{content}\0", user="u{content}\0", assistant="a{content}\0").render(turns)
    assert text == "".join(f"{turn.role[0]}{turn.content}\0" for turn in turns) + "a"
    assert ChatTemplate().render([Turn("user", "{content} {x} %s \\n")]) == "User: {content} {x} %s \\n\nAssistant:"


@pytest.mark.parametrize("text", ["", "User: ", "{contents}", "{content}{content}", "{ content }", 3])
@pytest.mark.parametrize("role", ROLES)
def test_a_template_shows_each_message_once(role: str, text: Any) -> None:
    with pytest.raises(InputError, match=f"where the {role}'s message stands") as caught:
        ChatTemplate(**{role: text})
    assert caught.value.where == role


def test_messages_come_in_openais_forms() -> None:
    given: list[Any] = [
        message("developer", name="me", tool_calls=None, refusal=""),
        message("user", [{"type": "text", "text": "so "}, {"type": "text", "text": "it"}]),
        message("user", "goes"), message("assistant", "on"), message("assistant", "and on"),
    ]  # fmt: skip
    wanted = [("system", "so"), ("user", "so it"), ("user", "goes"), ("assistant", "on"), ("assistant", "and on")]
    for read in (read_messages, read_talk):
        assert [(turn.role, turn.content) for turn in read(given)] == wanted


@pytest.mark.parametrize(
    ("given", "where", "match"),
    [
        (None, "messages", "not a list of messages.*received nothing"), ("so", "messages", "received a string"),
        ([], "messages", "received an empty list"), ({"role": "user"}, "messages", "received an object"),
        (["so"], "messages[0]", "not a message.*received a string"), ([{}], "messages[0]", "no 'role', 'content'"),
        ([{"role": "user"}], "messages[0]", "no 'content'"), ([message("user", None)], "messages[0]", "no 'content'"),
        ([message("user"), message("asistant")], "messages[1].role", "did you mean 'assistant'"),
        ([message("human")], "messages[0].role", "one of system, user, assistant; received 'human'"),
        ([message([])], "messages[0].role", "no such role"), ([message(3)], "messages[0].role", "received 3"),
        ([message("user", 3)], "messages[0].content", "a string, or parts of type text; received a number"),
        ([message("user", [{"type": "image_url"}])], "messages[0].content", "received a list"),
        ([message("user"), message("tool")], "messages[1].role", "messages of tools aren't read.*texts alone"),
        ([message("function", None)], "messages[0].role", "messages of tools"),
        ([message("user"), message("assistant", None, tool_calls=[{}])], "messages[1].tool_calls", "calls of tools"),
        ([message("user", contents="x")], "messages[0].contents", "no such field.*did you mean 'content'"),
        ([message("user", wait=1)], "messages[0].wait", "no such field"),
    ],
)  # fmt: skip
def test_messages_at_fault_are_named(given: Any, where: str, match: str) -> None:
    for read in (read_messages, read_talk):
        with pytest.raises(PayloadError, match=match) as caught:
            read(given)
        assert caught.value.where == where


@pytest.mark.parametrize(
    ("given", "where", "match"),
    [
        ([message("assistant"), message("user")], "messages[0].role", "the assistant speaks first"),
        ([message("user", "")], "messages[0].content", "empty"), ([message("user", [])], "messages[0].content", "empty"),
        ([message("user"), message("assistant", " \n")], "messages[1].content", "all of them spaces"),
        ([message("user", "a\0")], "messages[0].content", "NUL"),
        ([message("user", "\ud800")], "messages[0].content", "surrogate"),
        ([message("user", "a" * 2_000_001)], "messages[0].content", "too long"),
    ],
)  # fmt: skip
def test_what_no_template_renders_is_refused_there_alone(given: Any, where: str, match: str) -> None:
    assert len(read_messages(given)) == len(given)
    with pytest.raises(PayloadError, match=match) as caught:
        read_talk(given)
    assert caught.value.where == where


def test_a_system_may_speak_before_the_assistant() -> None:
    assert len(read_talk([message("system"), message("assistant")])) == 2


def test_weights_of_fine_tuning_mean_nothing_to_whoever_answers() -> None:
    said = [message("user", "so"), message("assistant", "on", weight=0), message("user", "so")]
    plain = [{key: value for key, value in one.items() if key != "weight"} for one in said]
    assert read_talk(said) == read_talk(plain)
