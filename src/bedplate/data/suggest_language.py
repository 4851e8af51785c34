"""Propose how a plain text is learnt: in characters or in parts of words, and how much of it is seen at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bedplate.core.errors import DataError
from bedplate.data.language import CONTEXT, files_of, read_text

MANY = 3_000_000
"""Characters from which on parts of words are learnt: there are enough of each then."""

LEAST = 400
"""Characters without which nothing can be learnt."""


def suggest_language(where: Path) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's data section for a text, or a folder of texts, and the reasons.

    Raises:
        DataError: it is empty, no text, or too short to learn from.
    """
    texts = [read_text(file) for file in files_of(where)]
    size = sum(map(len, texts))
    if size < LEAST:
        raise DataError(
            "too little text to learn from", where=str(where), expected=f"{LEAST} characters or more",
            received=f"{size}",
        )  # fmt: skip
    tokens = "character" if size < MANY else "bpe"
    why = {
        "character": "each is a token, since parts of words would be too rare",
        "bpe": "parts of words are tokens, so that more of the text is seen at once",
    }
    reasons = [f"{size:,} characters: {why[tokens]}"]
    length = CONTEXT
    while length > 8 and size * 0.05 < 4 * length:
        length //= 2
    if length < CONTEXT:
        reasons.append(f"{length} tokens are seen at once: the text is short, and its end must hold some windows")
    reasons.append("the last tenth is set aside, half for validation and half for the test")
    return {"source": os.fspath(where), "text": {"tokens": tokens, "length": length}}, reasons
