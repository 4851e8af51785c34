"""A talk as one text that a model can go on with: plain lines, where a model has no template of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROLES = {"system": "", "developer": "", "user": "User: ", "assistant": "Assistant: "}
"""How what each says is begun."""


@dataclass(frozen=True)
class Turn:
    """What one role said."""

    role: str
    content: str


def chat_prompt(turns: Sequence[Turn]) -> tuple[str, tuple[str, ...]]:
    r"""Return the text to go on from, which ends where the assistant begins to speak, and what ends its turn.

    Example:
        >>> chat_prompt([Turn("user", "Who goes there?")])
        ('User: Who goes there?\nAssistant:', ('\nUser:',))
    """
    lines = [f"{ROLES[turn.role]}{turn.content}\n" for turn in turns]
    return "".join(lines) + ROLES["assistant"].rstrip(), (f"\n{ROLES['user'].rstrip()}",)
