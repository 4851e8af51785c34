"""Propose how texts with answers are learnt: which two files or columns they are, and what their tokens are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedplate.codecs.chat import ROLES
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.pair_pool import parallel_paths
from bedplate.data.tables import read_table
from bedplate.data.talk_pool import parsed
from bedplate.recipe.schema import DataSpec

_PLAIN = (".csv", ".tsv", ".txt")
"""Tables that can be looked into without unpacking or reading all of them."""

_ROWS = 20
"""So many rows tell what a column holds."""


def suggest_parallel(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's data section for two files of parallel lines, and the reasons. Raises DataError."""
    left, right = parallel_paths(text, Path.cwd())
    whole = os.fspath(left.parent.resolve() / Path(text).name)
    return {"source": whole}, [f"line n of {right.name} answers line n of {left.name}"]


def suggest_columns(tables: Mapping[str, Path], target: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's data section for a table of texts and answers, by split, and the reasons.

    Raises:
        DataError: no such column, or not two of texts.
    """
    (train, *_) = tables.values()
    table = read_table(train, DataSpec(source=str(train)))
    sizes = {
        name: sum(len(str(value)) for value in values if value is not None) for name, values in table.columns.items()
    }
    if len(sizes) < 2:
        raise DataError(
            "the table has no column beside the answers",
            where=str(train),
            expected="a column of texts and one of answers",
        )
    longest = sorted(sizes, key=lambda name: -sizes[name])[:2]
    chosen = target or max(longest, key=list(sizes).index)
    if chosen not in sizes:
        raise DataError(
            f"no column '{chosen}'", where=str(train), expected=f"one of {listing(sizes)}",
            hint=did_you_mean(chosen, sizes),
        )  # fmt: skip
    column = max((name for name in sizes if name != chosen), key=lambda name: sizes[name])
    why = f"'{column}' is read and '{chosen}' is written" + ("" if target else ": the longer columns, in their order")
    return {**_place(tables), "target": chosen, "text": {"column": column}}, [why]


def suggest_talks(tables: Mapping[str, Path]) -> tuple[dict[str, Any], list[str]] | None:
    """Return a recipe's data section for a table of talks, by split, and the reasons; None where it isn't one."""
    train = tables["train"]
    if train.suffix.lower() in _PLAIN and b"role" not in _head(train):
        return None  # a large table isn't read twice
    try:
        table = read_table(train, DataSpec(source=str(train), on_bad_row="skip"))
    except DataError:  # whoever reads it as another thing says what is wrong with it
        return None
    for column, values in table.columns.items():
        if any(map(_is_talk, values[:_ROWS])):
            why = f"'{column}' holds talks: each message of the assistant answers all that was said before it"
            return {**_place(tables), "text": {"messages": column}}, [why]
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 16)


def _is_talk(value: Any) -> bool:
    """Whether a cell is meant as a talk, at fault or not: the reader of talks says what is wrong with it."""
    turns = parsed(value)
    return isinstance(turns, list) and any(isinstance(one, dict) and one.get("role") in ROLES for one in turns)


def _place(tables: Mapping[str, Path]) -> dict[str, Any]:
    if len(tables) == 1:
        return {"source": str(tables["train"])}
    return {"files": {split: str(path) for split, path in tables.items()}}
