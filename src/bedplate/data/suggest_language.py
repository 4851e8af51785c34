"""Propose how a plain text is learnt: in characters or in parts of words, and how much of it is seen at once."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from bedplate.codecs.delimited import DELIMITERS, parse_lines
from bedplate.codecs.files import is_junk
from bedplate.core.errors import DataError
from bedplate.data.language import CONTEXT, ENDINGS, files_of, read_text
from bedplate.data.language_tables import is_text_table, read_rows
from bedplate.data.layout import SPLIT_NAMES
from bedplate.recipe.schema import DataSpec

MANY = 3_000_000
"""Characters from which on parts of words are learnt: there are enough of each then."""

LEAST = 400
"""Characters without which nothing can be learnt."""

_ENOUGH = 100_000
"""So many characters tell whether a text is prose."""

_EVEN = 0.8
"""A table's lines, but for so few, have equally many cells."""

_SPACED = 0.9
"""In prose a blank stands behind so many of the commas."""

_LETTERS = 0.85
"""So much of prose is letters and blanks."""


def is_prose(where: Path) -> bool:
    """Return whether a file is called a text, and plainly is one: letters, in lines of no fixed number of cells.

    A folder is where it holds nothing but such files; in folders below it they would be classes.
    """
    if where.is_dir():
        inside = [entry for entry in where.iterdir() if not is_junk([entry.name])]
        return bool(inside) and all(entry.is_file() and is_prose(entry) for entry in inside)
    if not where.is_file() or where.suffix.lower() not in ENDINGS:
        return False
    try:
        text = read_text(where)[:_ENOUGH]
    except DataError:
        return False
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return letters >= _LETTERS * len(text) and not any(_divides(text, delimiter) for delimiter in DELIMITERS)


def _divides(text: str, delimiter: str) -> bool:
    """Return whether a delimiter cuts the lines into a table's cells.

    A comma may do so by chance, once a line: in prose a blank stands behind it, and clauses on both sides.
    """
    try:
        rows = [cells for _, cells in parse_lines(text, delimiter, None)]
    except DataError:
        return False
    width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
    if width == 1 or len(rows) < 3 or times < _EVEN * len(rows):
        return False
    columns = list(zip(*(cells for cells in rows if len(cells) == width), strict=True))
    clauses = all(sum(cell.count(" ") for cell in column) >= len(column) for column in columns)
    return not clauses or len(re.findall(f"{re.escape(delimiter)}\\s", text)) < _SPACED * text.count(delimiter)


def suggest_language(where: Path, data: dict[str, Any], reasons: list[str], column: str | None = None) -> None:
    """Fill in a recipe's data section for a text, a folder of texts, or a table with a column of them, with reasons.

    Args:
        where: where the text lies.
        data: the section; how a table is read is there already.
        reasons: what is said of each choice.
        column: of a table, the one that is asked for; None for that of the longest texts.

    Raises:
        DataError: it is empty, no text, too short to learn from, or a table without the column.
    """
    text: dict[str, Any] = {}
    if is_text_table(where):
        spec = DataSpec.model_validate({"source": str(where), **data, "text": {"column": column}})
        whole, text["column"], said = read_rows(where, spec)
        size = len(whole)
        reasons.append(said)
    else:
        files = files_of(where)
        size = sum(len(read_text(file)) for file in files)
        splits = {SPLIT_NAMES.get(file.stem.lower(), ""): os.fspath(file) for file in files}
        if where.is_dir() and "train" in splits and "" not in splits and len(splits) == len(files):
            data["files"] = splits
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
    reasons.append(f"{size:,} characters: {why[tokens]}")
    length = CONTEXT
    while length > 8 and size * 0.05 < 4 * length:
        length //= 2
    if length < CONTEXT:
        reasons.append(f"{length} tokens are seen at once: the text is short, and its end must hold some windows")
    if "files" not in data:
        reasons.append("the last tenth is set aside, half for validation and half for the test")
        data["source"] = os.fspath(where)
    data |= {"text": {**text, "tokens": tokens, "length": length}}
