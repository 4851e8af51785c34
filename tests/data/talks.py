"""Made-up talks in OpenAI's fine-tuning format, in which the last answer depends on what was said first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAMES = ("ann", "bob", "cid", "dan", "eva", "fay", "gus", "hal")
DRINKS = ("tea", "milk", "rum", "beer", "juice")

Talk = list[dict[str, Any]]


def said(*contents: str, system: str | None = None) -> Talk:
    """Return messages of the user and the assistant in turn, a system's before them where one is given."""
    turns = [{"role": ("user", "assistant")[k % 2], "content": content} for k, content in enumerate(contents)]
    return [*([{"role": "system", "content": system}] if system else []), *turns]


def talks() -> list[Talk]:
    """Return 80 talks of two answers each: who somebody is and what they drink, told first and asked for later."""
    found = []
    for k, name in enumerate(NAMES):
        for n, drink in enumerate(DRINKS):
            for question, answer in (("who am i", name), ("what do i drink", drink)):
                told = f"i am {name} and drink {drink}"
                system = "answer in one word" if (k + n) % 2 else None
                found.append(said(told, f"hello {name}", question, answer, system=system))
    return found


def write(path: Path, rows: Iterable[Talk]) -> Path:
    """Write talks as JSON lines."""
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return path
