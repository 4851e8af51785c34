"""Read texts with their answers, from two files of parallel lines or two columns of a table, into one pool of rows."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bedplate.codecs.chat import ChatTemplate, Turn
from bedplate.codecs.codec import TEXT
from bedplate.codecs.strings import checked_text
from bedplate.core.errors import DataError, PayloadError
from bedplate.data.download import Announce
from bedplate.data.layout import SPLIT_NAMES
from bedplate.data.official import refuse
from bedplate.data.table_parts import read_tables
from bedplate.data.tables import counted
from bedplate.data.text_pool import text_column
from bedplate.recipe.schema import DataSpec

_BRACES = re.compile(r"^(.*)\{([^{},/]+),([^{},/]+)\}(.*)$")
"""How two files that go together are named: `train.{de,en}.gz`, the texts before their answers."""

_OPENERS: dict[str, Callable[[Path], bytes]] = {
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".bz2": lambda path: bz2.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
}


@dataclass(frozen=True)
class Talks:
    """Where rows are the answers of talks: what renders them, and of each row what was said before and in which talk.

    `turns` are each row's turns before its answer [N]; `keys` are a digest of each row's whole talk [N], object `str`.
    """

    template: ChatTemplate
    turns: list[list[Turn]]
    keys: np.ndarray


@dataclass
class PairPool:
    """Texts and answers before they are split, a row each.

    `texts` and `answers` are object `str` [N]; `splits` is "train", "validation" or "test" [N], or None where the
    source has no official ones; `column` and `target` are what both are called; `bad` maps what was left out to why.
    Rows of `talks` have their texts whole, however long.
    """

    name: str
    texts: np.ndarray
    answers: np.ndarray
    ids: list[str]
    splits: np.ndarray | None
    column: str
    target: str
    notes: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    talks: Talks | None = None


def is_parallel(text: str) -> bool:
    """Whether a recipe's path names two files that go together, such as `train.{de,en}.gz`."""
    return _BRACES.match(text) is not None


def _sides(text: str) -> tuple[str, str]:
    found = _BRACES.match(text)
    assert found is not None
    return found[2], found[3]


def parallel_paths(text: str, base: Path) -> tuple[Path, Path]:
    """Return the two files of a path with braces; `~` and `$NAME` are expanded. Raises DataError."""
    left, right = _sides(text)
    paths = [
        base / Path(os.path.expandvars(_BRACES.sub(rf"\g<1>{side}\g<4>", text))).expanduser() for side in (left, right)
    ]
    for path in paths:
        if not path.is_file():
            raise DataError(
                "no such file of lines", where="data", expected=f"two files, one for {left} and one for {right}",
                received=str(path),
            )  # fmt: skip
    return paths[0], paths[1]


def parallel_name(text: str, base: Path) -> str:
    """Return what a path with braces is called: the files' common name, or their folder's where that names a split."""
    left, _ = parallel_paths(text, base)
    found = _BRACES.match(Path(text).name)
    stem = found[1].rstrip(".-_") if found is not None else ""
    return left.resolve().parent.name if not stem or stem.lower() in SPLIT_NAMES else stem


def read_lines(path: Path) -> list[str]:
    """Return a file's lines, unpacked by its ending. Raises DataError where it can't be read or is no UTF-8."""
    try:
        raw = _OPENERS.get(path.suffix.lower(), Path.read_bytes)(path)
        # Lines end at a line feed alone: U+2028 and the like are part of a text, and must not shift what follows.
        lines = raw.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            "the lines are not UTF-8", where=str(path), received=f"byte 0x{error.object[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from error  # fmt: skip
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError("can't be read", where=str(path), received=str(error)[:200]) from error
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def read_pair_pool(spec: DataSpec, base: Path, announce: Announce) -> PairPool:
    """Return the texts with their answers that `spec` names; relative paths start from `base`.

    Raises:
        DataError: no such source, files of other lengths, or bad rows (the first is named) unless `on_bad_row` is
            "skip".
    """
    named = [(spec.source or "", "train")]
    if spec.files is not None:
        named = [(text, split) for split, text in spec.files.model_dump().items() if text is not None]
    if not any(is_parallel(text) for text, _ in named):
        return _from_tables(spec, base, announce)
    for where, name in (("data.target", spec.target), ("data.text.column", spec.text.column)):
        if name is not None:
            raise DataError(
                "parallel lines have no columns", where=where, received=name,
                hint="leave it out: the file named first is read, the other one written",
            )  # fmt: skip
    column, target = "text", "answer"
    rows: list[tuple[str, str, str, str]] = []
    for text, split in named:
        if not is_parallel(text):
            raise DataError(
                "parallel lines beside a table", where=f"data.files.{split}", received=text,
                hint="name every split alike, such as test.{de,en}",
            )  # fmt: skip
        left, right = parallel_paths(text, base)
        column, target = _sides(text)
        lines = read_lines(left), read_lines(right)
        if len(lines[0]) != len(lines[1]):
            raise DataError(
                "two files of parallel lines differ in length", where=f"{left.name}, {right.name}",
                expected=f"{len(lines[0]):,} lines in both", received=f"{len(lines[1]):,} in {right.name}",
                hint="line n of one must go with line n of the other: look for an empty or a broken line",
            )  # fmt: skip
        announce(f"{counted(len(lines[0]), 'pair')} of lines in {left.name} and {right.name}")
        rows += [
            (one, other, f"{left.name}:{number}", split)
            for number, (one, other) in enumerate(zip(*lines, strict=True), 1)
        ]
    return _pool(parallel_name(named[0][0], base), rows, len(named) > 1, column, target, spec, [])


def _from_tables(spec: DataSpec, base: Path, announce: Announce) -> PairPool:
    tables, name, target = read_tables(spec, base, announce)
    column = text_column(tables["train"], target, spec)
    rows, notes, bad = list[tuple[str, str, str, str]](), list[str](), dict[str, str]()
    for split, table in tables.items():
        notes += table.notes
        bad |= dict(table.skipped)
        for own, one, other in zip(table.ids, table.columns[column], table.columns[target], strict=True):
            rows.append(("" if one is None else str(one), "" if other is None else str(other), own, split))
    return _pool(name, rows, len(tables) > 1, column, target, spec, notes, bad)


def _pool(
    name: str, rows: list[tuple[str, str, str, str]], official: bool, column: str, target: str, spec: DataSpec,
    notes: list[str], bad: dict[str, str] | None = None,
) -> PairPool:  # fmt: skip
    """Check every text and answer: `rows` are (text, answer, where from, split)."""
    bad, good = dict(bad or {}), []
    for one, other, own, split in rows:
        try:
            checked = [_checked(one), _checked(other)]
        except PayloadError as error:
            side = column if not one.strip() or "\0" in one else target
            bad[own] = f"'{side}': {error.message}"
            continue
        good.append((*checked, own, split))
    refuse(bad, spec, name, notes)
    if not good:
        raise DataError("no pairs of texts", where=name, expected="a text and its answer in every row")
    texts, answers, ids, splits = (list(part) for part in zip(*good, strict=True))
    return PairPool(
        name, np.array(texts, object), np.array(answers, object), ids, np.array(splits, object) if official else None,
        column or TEXT, target, notes, bad,
    )  # fmt: skip


def _checked(text: str) -> str:
    """Return a text in which something can be seen, and no NUL, as nobody may ask with one. Raises PayloadError."""
    if "\0" in checked_text(text):
        raise PayloadError("the text holds a NUL", received=f"character {text.index(chr(0))}")
    return text
