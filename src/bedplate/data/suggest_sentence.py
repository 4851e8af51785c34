"""Recognise tagged sentences: CoNLL files, or folders and archives that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedplate.codecs.delimited import guess_encoding
from bedplate.codecs.files import is_archive, walk
from bedplate.core.errors import InputError
from bedplate.data.conll import marks_entities, read_conll
from bedplate.data.sentence_pool import JSON_SUFFIXES, split_of

_ENOUGH = 400_000
"""So many bytes of a file are looked at."""


def holds_sentences(where: Path) -> bool:
    """Whether a file, or a training file in a folder or archive, plainly is CoNLL: columns, and tags of entities."""
    return any(_is_conll(data) for name, data in _files(where) if not name.lower().endswith(JSON_SUFFIXES))


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


def _is_conll(data: bytes) -> bool:
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
    whole = sum(sentence.fault is None for sentence in sentences)
    return len(sentences) > 1 and whole >= 0.9 * len(sentences) and marks_entities(sentences)


def suggest_sentences(where: Path, data: dict[str, Any], reasons: list[str]) -> None:
    """Fill in the data section for tagged sentences, with reasons."""
    data["source"] = str(where)
    reasons.append("a word and its tag a line, and an empty line between sentences")
    for name, content in _files(where):
        try:
            content[: content.rfind(b"\n") + 1].decode()
        except UnicodeDecodeError:
            encoding = guess_encoding(content)
            if encoding is not None:
                data["encoding"] = encoding
                reasons.append(f"encoding {encoding}: the bytes of {name} are not UTF-8, and read well as this")
