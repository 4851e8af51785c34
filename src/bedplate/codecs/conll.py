"""CoNLL columns: a word a line, its columns apart by blanks, the tag in the last one; an empty line ends a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from bedplate.codecs.tags import OUTSIDE

DOCUMENT = "-DOCSTART-"
"""In the first column it ends a sentence, and is no word."""

MARKED = re.compile(r"[BIESLU]-\S+")
"""A tag that marks a part of an entity."""

MOSTLY = 0.9
"""So many of the lines must be as CoNLL has them, and so many of the tags must mark entities."""

_BLANKS = re.compile(r"[ \t]+")
_ENOUGH = 10_000
"""So many lines tell what a file is."""


def read_columns(text: str, comment: str | None = None) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield each sentence's lines: (line number from 1, cells). Lines that begin with `comment` are passed over."""
    now: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if comment and line.startswith(comment):
            continue
        line = line.strip(" \t\r")
        cells = _BLANKS.split(line)
        if line and cells[0] != DOCUMENT:
            now.append((number, cells))
        elif now:
            yield now
            now = []
    if now:
        yield now


def mark_entities(tags: Sequence[str]) -> bool:
    """Return whether tags mark the beginnings and insides of entities; else each names its word's class."""
    inside = [tag for tag in tags if tag != OUTSIDE]
    return bool(inside) and sum(MARKED.fullmatch(tag) is not None for tag in inside) >= MOSTLY * len(inside)


def is_conll(text: str, tags: Collection[str] = (), comment: str | None = None) -> bool:
    """Return whether a text plainly is CoNLL: two lines or more, equally many columns, and known tags in the last one.

    Args:
        text: a file's, or its beginning.
        tags: those that are known; tags that mark entities are known without.
        comment: how lines begin that are passed over.
    """
    rows: list[list[str]] = []
    for sentence in read_columns(text, comment):
        rows += [cells for _, cells in sentence]
        if len(rows) >= _ENOUGH:
            break
    if len(rows) < 2:
        return False
    columns, times = Counter(map(len, rows)).most_common(1)[0]
    if columns < 2 or times < MOSTLY * len(rows):
        return False
    last = [cells[-1] for cells in rows if len(cells) == columns]
    # A sentence's full stop may be a tag, too: signs alone tell nothing.
    told = sum(tag in tags for tag in last) >= MOSTLY * len(last) and any(tag.isalnum() for tag in last)
    return told or mark_entities(last)
