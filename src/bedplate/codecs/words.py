"""Words of a sentence: where they stand in a text, by a stated rule, or as a list that was cut by somebody else.

A list travels as one string in which U+001F (unit separator) ends every word, so that a row is a string in either form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from bedplate.core.errors import PayloadError, json_kind

END = "\x1f"
"""Ends a word of a list."""

MOST_WORDS = 2_000
"""A longer sentence is refused: every word is answered, so none can be cut off."""

MOST_LETTERS = 1_000
"""A longer word is refused."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


class Word(NamedTuple):
    """A word, and where it stands in its text: the characters [start, end)."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Return the words of a text, or of a list that travels as one string.

    Words stand between blanks. Signs (punctuation and symbols) at a word's edges are words of their own, equal ones
    side by side are one; signs within a word stay in it ("franco-alemán", "1.000", "EE.UU"). Every Chinese character is
    a word. Characters that only format (U+200F and its like) are no words.

    Example:
        >>> [word.text for word in split_words("¿Vive en EE.UU. (hoy)?")]
        ['¿', 'Vive', 'en', 'EE.UU', '.', '(', 'hoy', ')', '?']
    """
    if END in text:
        return _listed(text)
    found: list[Word] = []
    for run in _RUN.finditer(text):
        if run[0].isalnum():
            found.append(Word(run[0], run.start(), run.end()))
        else:
            found += _apart(run[0], run.start())
    return found


def _listed(text: str) -> list[Word]:
    found, start = [], 0
    for part in text.removesuffix(END).split(END):
        found.append(Word(part, start, start + len(part)))
        start += len(part) + 1
    return found


def _apart(run: str, offset: int) -> list[Word]:
    """Return a run of characters between blanks, its signs at the edges set apart."""
    kinds: list[str] = []
    for character in run:
        category = unicodedata.category(character)
        if category[0] in "PS":
            kinds.append("sign")
        elif category in ("Mn", "Mc", "Me", "Cf"):  # it belongs to what it stands behind
            kinds.append(kinds[-1] if kinds else "sign")
        else:
            kinds.append("word")
    first = next((k for k, kind in enumerate(kinds) if kind == "word"), len(run))
    last = len(run) - next((k for k, kind in enumerate(reversed(kinds)) if kind == "word"), 0)
    inner = [(first, last)] if first < len(run) else []
    pieces = [*_signs(run, 0, first), *inner, *(_signs(run, last, len(run)) if inner else [])]
    return [
        Word(run[start:end], offset + start, offset + end) for start, end in pieces
        if any(unicodedata.category(character) != "Cf" for character in run[start:end])
    ]  # fmt: skip


def _signs(run: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return where the signs in [start, end) stand: each by itself with its marks, equal ones together."""
    found: list[tuple[int, int]] = []
    for k in range(start, end):
        mark = unicodedata.category(run[k])[0] in "MC"
        if found and (mark or run[k] == run[k - 1]):
            found[-1] = (found[-1][0], k + 1)
        else:
            found.append((k, k + 1))
    return found


def joined(words: Sequence[object]) -> str:
    """Return a list of words as one string.

    Raises:
        PayloadError: it is empty, or holds something that is no word.
    """
    if not len(words):
        raise PayloadError("the sentence is empty", expected="a list of words", received="an empty list")
    for number, word in enumerate(words, 1):
        if not isinstance(word, str):
            raise PayloadError("not a word", where=f"word {number}", expected="a string", received=json_kind(word))
        if not word.strip():
            raise PayloadError("the word is empty", where=f"word {number}", received=f"{len(word)} blanks")
        if END in word:
            raise PayloadError("the word holds a control character", where=f"word {number}", received="U+001F")
    return END.join(map(str, words)) + END


def check_words(text: str) -> str:
    """Return a sentence, as a text or a list's string, if it can be read.

    Raises:
        PayloadError: it holds control characters, no word, too many words, or one that is too long.
    """
    listed = END in text
    control = _CONTROL.search(text.replace(END, " ") if listed else text)
    if control:
        raise PayloadError(
            "the sentence holds a control character",
            received=f"U+{ord(control[0]):04X} at character {control.start()}",
            hint="remove it; blanks, tabs and line ends are fine",
        )  # fmt: skip
    words = split_words(text)
    if not words:
        raise PayloadError("the sentence holds no word", received=f"{len(text)} characters")
    if len(words) > MOST_WORDS:
        raise PayloadError(
            "the sentence is too long", expected=f"at most {MOST_WORDS:,} words", received=f"{len(words):,} words",
            hint="send sentences one by one: each is tagged by itself",
        )  # fmt: skip
    for number, word in enumerate(words, 1):
        if len(word.text) > MOST_LETTERS:
            raise PayloadError(
                "a word is too long", where=f"word {number}", expected=f"at most {MOST_LETTERS:,} characters",
                received=f"{len(word.text):,}",
            )  # fmt: skip
        if listed and not word.text.strip():
            raise PayloadError("the word is empty", where=f"word {number}")
    if listed and not text.endswith(END):
        raise PayloadError(
            "not a list of words", expected="U+001F behind every word, the last one too", received=text[-20:]
        )
    return text
