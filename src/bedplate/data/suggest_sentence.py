"""Recognise tagged sentences: CoNLL files, or folders and archives that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bedplate.codecs.delimited import guess_encoding
from bedplate.codecs.files import is_archive, walk
from bedplate.codecs.sentence import LISTS
from bedplate.codecs.sentence_files import JSON_SUFFIXES
from bedplate.core.errors import InputError
from bedplate.data.conll import TAGS, marks_entities, read_conll
from bedplate.data.sentence_pool import split_of

_ENOUGH = 400_000
"""So many bytes of a file are looked at."""

_NAMES = (".conll", ".conll2003", ".iob", ".iob1", ".iob2", ".bio", ".bioes", ".iobes", ".bilou")
"""How files of tagged words are called, whatever their tags are."""

_LINES = 20
"""So many JSON lines tell what a file holds."""


def holds_sentences(where: Path) -> bool:
    """Whether a file, or a training file in a folder or archive, plainly holds tagged words.

    These are CoNLL, with tags of entities or a name that says so, or JSON lines with two lists of one length.
    """
    return any(
        _is_json(data) if _named_json(name) else _is_conll(data, name.lower().endswith(_NAMES))
        for name, data in _files(where)
    )


def _named_json(name: str) -> bool:
    return name.lower().endswith(JSON_SUFFIXES)


def _is_json(data: bytes) -> bool:
    """Whether the first lines are objects with a list of words and one of as many tags, which may be numbers."""
    lines = [line for line in data.split(b"\n")[:_LINES] if line.strip()]
    lines = lines[:-1] if len(data) == _ENOUGH and len(lines) > 1 else lines
    try:
        rows = [json.loads(line) for line in lines]
    except ValueError:
        return False
    return bool(rows) and sum(map(_is_tagged, rows)) > len(rows) / 2


def _is_tagged(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    words, tags = _list_in(row, LISTS), _list_in(row, TAGS)
    return 0 < len(words) == len(tags) and all(isinstance(word, str) for word in words)


def _list_in(row: dict[str, Any], names: Sequence[str]) -> list[Any]:
    return next((row[name] for name in names if isinstance(row.get(name), list)), [])


def _files(where: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what may be training files, by name and content; nothing where they can't be read."""
    if where.is_file() and not is_archive(where):
        with where.open("rb") as file:
            yield where.name, file.read(_ENOUGH)
        return
    try:
        for member in walk(where):
            if split_of(member.name) == "train":
                yield member.name, member.data[:_ENOUGH]
    except InputError:
        return


def _is_conll(data: bytes, named: bool) -> bool:
    """Whether a file holds words and tags; one that is `named` so may have tags of any kind, and lines at fault."""
    try:
        text = data[: data.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        encoding = guess_encoding(data)
        if encoding is None:
            return False
        text = data[: data.rfind(b"\n") + 1].decode(encoding, "replace")
    if "\0" in text or "\n" not in text.strip():
        return False
    sentences = read_conll(text, "")
    if named:  # but for CoNLL-U, whose first column numbers the words
        words = [word for sentence in sentences for word in sentence.words]
        return sum(word.isdecimal() for word in words) < len(words) / 2
    whole = sum(sentence.fault is None for sentence in sentences)
    return len(sentences) > 1 and whole >= 0.9 * len(sentences) and marks_entities(sentences)


def suggest_sentences(where: Path, data: dict[str, Any], reasons: list[str]) -> None:
    """Fill in the data section for tagged sentences, with reasons."""
    data["source"] = str(where)
    files = list(_files(where))
    reasons.append(
        "an object a line, with a list of words and a list of their tags"
        if any(_named_json(name) for name, _ in files)
        else "a word and its tag a line, and an empty line between sentences"
    )
    for name, content in files:
        try:
            content[: content.rfind(b"\n") + 1].decode()
        except UnicodeDecodeError:
            encoding = guess_encoding(content)
            if encoding is not None:
                data["encoding"] = encoding
                reasons.append(f"encoding {encoding}: the bytes of {name} are not UTF-8, and read well as this")
