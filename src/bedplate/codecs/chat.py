"""Talks as texts: messages as OpenAI's clients send them, and the chat template that renders them.

Training rows, the server and `bedplate predict` read and render by the same functions here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bedplate.codecs.strings import checked_text
from bedplate.core.errors import InputError, PayloadError, did_you_mean, json_kind, json_text, listing

MESSAGES = "messages"
"""What a payload calls its talk, and a file of OpenAI's fine-tuning its column."""

CONTENT = "{content}"
"""Where a message stands in a role's string."""

ROLES = ("system", "user", "assistant")
"""Who speaks in a talk; a developer's message is a system's."""

_FIELDS = ("role", "content", "name")
_WEIGHT = "weight"
"""Says in files of fine-tuning whether a message is learnt; to whoever answers it means nothing."""
_TOOL_ROLES, _TOOL_FIELDS = ("tool", "function"), ("tool_calls", "function_call")
_NO_TOOLS = "talks are of texts alone: leave the calls of tools, and what they gave, out"


@dataclass(frozen=True)
class Turn:
    """What one role said; `role` is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatTemplate:
    r"""How each role's messages stand in the one text of a talk: `{content}`, once in each string, is the message.

    Where the assistant is to answer, its string ends before `{content}`, and before the white space there.

    Raises:
        InputError: a string doesn't hold `{content}` once; `where` is the role.

    Example:
        >>> ChatTemplate().render([Turn("user", "Who goes there?")])
        'User: Who goes there?\nAssistant:'
    """

    system: str = "{content}\n"
    user: str = "User: {content}\n"
    assistant: str = "Assistant: {content}\n"

    def __post_init__(self) -> None:
        for role, text in asdict(self).items():
            times = text.count(CONTENT) if isinstance(text, str) else 0
            if times != 1:
                raise InputError(
                    f"the template doesn't say where the {role}'s message stands", where=role,
                    expected=f"text with {CONTENT} in it, once", received=repr(text)[:60],
                )  # fmt: skip

    def render(self, turns: Sequence[Turn]) -> str:
        """Return the text to be answered: all that was said, and where the assistant begins to speak."""
        said = [getattr(self, turn.role).replace(CONTENT, turn.content) for turn in turns]
        return "".join(said) + self.assistant.partition(CONTENT)[0].rstrip()


def read_messages(given: Any) -> list[Turn]:
    """Return the turns of OpenAI's messages: a list of `{"role": …, "content": …}`; null counts as left out.

    A content is a string, or parts of type text. A speaker's `name` may stand beside it, and isn't read.

    Raises:
        PayloadError: it is no such list; `where` is the place, such as "messages[2].role".
    """
    if not isinstance(given, list) or not given:
        raise PayloadError(
            "not a list of messages", where=MESSAGES, expected='[{"role": …, "content": …}, …]', received=_kind(given)
        )
    return [_turn(one, f"{MESSAGES}[{number}]") for number, one in enumerate(given)]


def read_talk(given: Any) -> list[Turn]:
    """Return the turns of a talk that a chat template renders: `read_messages`, each with something in it.

    Raises:
        PayloadError: it is no list of messages, one is empty, or the assistant speaks first; `where` is the place.
    """
    turns = read_messages(given)
    if turns[0].role == "assistant":
        raise PayloadError(
            "the assistant speaks first", where=f"{MESSAGES}[0].role",
            expected="a message of the user or the system that it answers", received="'assistant'",
        )  # fmt: skip
    for number, turn in enumerate(turns):
        where = f"{MESSAGES}[{number}].content"
        try:
            checked_text(turn.content)
        except PayloadError as error:
            raise PayloadError(
                error.what, where=where, expected=error.expected, received=error.received, hint=error.hint
            ) from error
        if "\0" in turn.content:
            raise PayloadError("the text holds a NUL", where=where, received=f"character {turn.content.index(chr(0))}")
    return turns


def _turn(one: Any, where: str) -> Turn:
    if not isinstance(one, Mapping):
        raise PayloadError("not a message", where=where, expected='{"role": …, "content": …}', received=_kind(one))
    given = {key: value for key, value in one.items() if value is not None}
    role, known = given.get("role"), listing(ROLES)
    if role in _TOOL_ROLES:
        raise PayloadError(
            "messages of tools aren't read", where=f"{where}.role", expected=f"one of {known}", received=repr(role),
            hint=_NO_TOOLS,
        )  # fmt: skip
    odd = sorted(str(key) for key, value in given.items() if value and key not in (*_FIELDS, _WEIGHT))
    calls = [key for key in odd if key in _TOOL_FIELDS]
    if calls:
        raise PayloadError("calls of tools aren't read", where=f"{where}.{calls[0]}", hint=_NO_TOOLS)
    lacking = [f"'{key}'" for key in ("role", "content") if key not in given]
    if lacking:
        raise PayloadError(
            "not a message", where=where, expected='{"role": …, "content": …}', received=f"no {listing(lacking)}"
        )
    if odd:
        raise PayloadError("no such field here", where=f"{where}.{odd[0][:100]}", hint=did_you_mean(odd[0], _FIELDS))
    if role not in (*ROLES, "developer"):
        raise PayloadError(
            "no such role", where=f"{where}.role", expected=f"one of {known}", received=json_text(role),
            hint=did_you_mean(str(role), ROLES),
        )  # fmt: skip
    return Turn("system" if role == "developer" else str(role), _content(given["content"], f"{where}.content"))


def _content(given: Any, where: str) -> str:
    if isinstance(given, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in given
    ):
        return "".join(part["text"] for part in given)
    if not isinstance(given, str):
        raise PayloadError("not a text", where=where, expected="a string, or parts of type text", received=_kind(given))
    return given


def _kind(given: Any) -> str:
    """Return what JSON calls a value's type."""
    if given is None or given == []:
        return "nothing" if given is None else "an empty list"
    return json_kind(given)
