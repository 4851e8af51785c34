"""Propose how texts with answers are learnt: which two files or columns they are, and what their tokens are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.pair_pool import parallel_paths
from bedplate.data.tables import read_table
from bedplate.recipe.schema import DataSpec


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
    place = {"source": str(train)} if len(tables) == 1 else {"files": {split: str(p) for split, p in tables.items()}}
    why = f"'{column}' is read and '{chosen}' is written" + ("" if target else ": the longer columns, in their order")
    return {**place, "target": chosen, "text": {"column": column}}, [why]
