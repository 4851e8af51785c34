"""Tagged sentences from files: CoNLL columns, or JSON lines with lists; tags of any scheme become B, I and O.

CoNLL: a word a line, its columns apart by blanks, the tag in the last one; an empty line ends a sentence.
JSON lines: an object a sentence, with the list of its words and the list of their tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bedplate.codecs.conll import MARKED, mark_entities, read_columns
from bedplate.codecs.sentence import LISTS
from bedplate.codecs.tags import OUTSIDE
from bedplate.core.errors import DataError, did_you_mean, json_kind, listing
from bedplate.data.tables import counted

TAGS = ("tags", "ner_tags", "labels")
"""What JSON lines usually call the list of tags."""

_MARKS = {"S": "B", "U": "B", "E": "I", "L": "I"}
"""IOBES and BILOU mark single words and ends, too."""

_FEW = 0.02
"""At most so many of the entities may begin with an I, where others begin with a B."""


@dataclass
class Sentence:
    """A sentence: the place and line where it begins, its words, their tags, and what is wrong with it."""

    where: str
    line: int
    words: list[str]
    tags: list[str]
    fault: str | None = None

    @property
    def place(self) -> str:
        """Where it begins."""
        return f"{self.where}:{self.line}"


def read_conll(text: str, where: str, comment: str | None = None) -> list[Sentence]:
    """Return a file's sentences; one with a line at fault has the first fault and its line.

    Args:
        text: the file's.
        where: its name.
        comment: lines that begin with it are passed over.
    """
    found: list[Sentence] = []
    columns = 0
    for rows in read_columns(text, comment):
        now = Sentence(where, rows[0][0], [cells[0] for _, cells in rows], [cells[-1] for _, cells in rows])
        found.append(now)
        for number, cells in rows:
            columns = columns or len(cells)
            if len(cells) != columns or columns < 2:
                expected = f"{max(2, columns)} columns, as the first line has" if columns > 1 else "a word and its tag"
                at = f"line {number}: " if number != now.line else ""
                now.fault = now.fault or f"{at}{counted(len(cells), 'column')} (expected {expected})"
    return found


def read_json_sentences(text: str, where: str, words: str | None, tags: str | None) -> list[Sentence]:
    """Return the sentences of JSON lines.

    Args:
        text: the file's.
        where: its name.
        words: the name of the list of words; None for one of `LISTS`.
        tags: of the list of tags; None for one of `TAGS`.

    Raises:
        DataError: a line is no JSON object, or lacks a list.
    """
    return [_json_sentence(line, number, where, words, tags) for number, line in _lines(text)]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _json_sentence(line: str, number: int, where: str, words: str | None, tags: str | None) -> Sentence:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError("not JSON", where=f"{where}:{number}", received=str(error)) from error
    if not isinstance(row, dict):
        raise DataError("not an object", where=f"{where}:{number}", received=json_kind(row))
    wanted = ((words,) if words else LISTS, (tags,) if tags else TAGS)
    (words_name, own), (tags_name, told) = (_list_of(row, names, f"{where}:{number}") for names in wanted)
    found = Sentence(where, number, [str(item) for item in own], [str(item) for item in told])
    for name, items in ((words_name, own), (tags_name, told)):
        for k, item in enumerate(items, 1):
            if not isinstance(item, str):
                found.fault = found.fault or f"item {k} of '{name}' is {json.dumps(item)[:40]}, which is no string"
                if name == tags_name and isinstance(item, int):
                    found.fault += "; write the classes' names, such as B-PER, in place of their numbers"
                break
    if not found.fault and len(found.words) != len(found.tags):
        found.fault = f"{len(found.words)} words and {len(found.tags)} tags"
    return found


def _list_of(row: dict[str, Any], names: Sequence[str], where: str) -> tuple[str, list[Any]]:
    for name in names:
        if isinstance(row.get(name), list):
            return name, row[name]
    other = next((name for name in names if name in row), None)
    if other is not None:
        raise DataError(
            f"'{other}' is no list", where=where, expected="a list of texts", received=json.dumps(row[other])[:40],
            hint="mend the line, or leave it out",
        )  # fmt: skip
    raise DataError(
        "the list is missing", where=where, expected=f"a list called {listing(names)}", received=listing(sorted(row)),
        hint=did_you_mean(names[0], row),
    )  # fmt: skip


def marks_entities(sentences: Sequence[Sentence]) -> bool:
    """Return whether the tags mark the beginnings and insides of entities; else each names its word's class."""
    return mark_entities([tag for sentence in sentences for tag in sentence.tags])


def as_bio(sentences: Sequence[Sentence]) -> list[str]:
    """Turn the tags of sentences, in place, into B, I and O; one with a tag that is none of those gets a `fault`.

    Entities may be marked as BIO (every one begins with B), as IOB1 (B only where one follows another of its type), or
    as IOBES or BILOU. An I where nothing of its type has begun begins an entity, as `conlleval` counts it: so are all
    of IOB1 meant, and a few of BIO are mistakes, which are told. Where they are many, all of them are faults.

    Args:
        sentences: without a fault; their tags mark entities.

    Returns:
        Notes on what was changed.
    """
    for sentence in sentences:
        for k, tag in enumerate(sentence.tags):
            if tag != OUTSIDE and not MARKED.fullmatch(tag):
                sentence.fault = (
                    sentence.fault or f"{_at(sentence, k)}: the tag '{tag}' is neither O, B-type nor I-type"
                )
            sentence.tags[k] = _MARKS.get(tag[:1], tag[:1]) + tag[1:] if tag[1:2] == "-" else tag
    iob1 = _is_iob1(sentences)
    strange = [(sentence, k, before) for sentence in sentences for k, before in _begun_inside(sentence.tags)]
    entities = sum(tag.startswith("B-") for sentence in sentences for tag in sentence.tags) + len(strange)
    for sentence, k, before in strange:
        if not iob1 and len(strange) > _FEW * entities:
            why = f"{_at(sentence, k)}: {sentence.tags[k]} follows {before}, but nothing of its type has begun"
            sentence.fault = sentence.fault or why
    for sentence, k, _ in strange:
        sentence.tags[k] = f"B-{sentence.tags[k][2:]}"
    if not strange:
        return []
    if iob1:
        return ["the tags were IOB1, and are taken as BIO"]
    sentence, k, before = strange[0]
    return [
        f"{counted(len(strange), 'I tag')} where nothing of its type has begun are taken for B, as conlleval does; the "
        f"first is {sentence.where}:{sentence.line + k}, '{sentence.words[k]}' after {before}"
    ]


def _begun_inside(tags: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield where an I tag stands and nothing of its type has begun, and the tag before."""
    before = OUTSIDE
    for k, tag in enumerate(tags):
        if tag.startswith("I-") and before[2:] != tag[2:]:
            yield k, before
        before = tag


def _at(sentence: Sentence, word: int) -> str:
    return f"word {word + 1}, '{sentence.words[word][:40]}'"


def _is_iob1(sentences: Sequence[Sentence]) -> bool:
    """Return whether B stands only where an entity follows another of its type, as IOB1 has it."""
    for sentence in sentences:
        before = OUTSIDE
        for tag in sentence.tags:
            if tag.startswith("B-") and before[2:] != tag[2:]:
                return False
            before = tag
    return True
