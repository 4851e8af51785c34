"""A talk as one text that a model can go on with: plain lines, where a model has no template of its own."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.codecs.chat import ChatTemplate, Turn

_LINES = ChatTemplate()


def chat_prompt(turns: Sequence[Turn]) -> tuple[str, tuple[str, ...]]:
    r"""Return the text to go on from, which ends where the assistant begins to speak, and what ends its turn.

    Example:
        >>> chat_prompt([Turn("user", "Who goes there?")])
        ('User: Who goes there?\nAssistant:', ('\nUser:',))
    """
    return _LINES.render(turns), ("\nUser:",)
