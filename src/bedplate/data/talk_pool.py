"""Read talks, lists of messages as OpenAI's fine-tuning has them, into a pool of rows: one for each answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.chat import MESSAGES, ChatTemplate, Turn, read_talk
from bedplate.codecs.codec import TEXT
from bedplate.codecs.columns import Raw
from bedplate.core.errors import DataError, InputError, PayloadError, did_you_mean, listing
from bedplate.core.hashing import fingerprint
from bedplate.data.download import Announce
from bedplate.data.official import refuse
from bedplate.data.pair_pool import PairPool, Talks, is_parallel
from bedplate.data.table_parts import read_files
from bedplate.data.tables import RawTable
from bedplate.recipe.schema import DataSpec, TextSpec

NO_TALKS = "no talks"
"""What is wrong with a table none of whose rows is a talk to learn from."""

_TOOLS = ("tools", "functions")
"""Columns of OpenAI's format that say which tools the assistant may call."""


def read_talk_pool(spec: DataSpec, base: Path, announce: Announce) -> PairPool:
    """Return a row for each answer in the talks of the column `data.text.messages`; relative paths start from `base`.

    A row's text is all that was said before the answer, as the template renders it, however long.

    Raises:
        DataError: no such source or column, or bad talks (the first is named) unless `on_bad_row` is "skip".
    """
    _check_keys(spec)
    template, column = template_of(spec.text), spec.text.messages
    assert column is not None
    tables, name = read_files(spec, base, announce)
    notes, bad = list[str](), dict[str, str]()
    texts, answers, ids, splits = list[str](), list[str](), list[str](), list[str]()
    turns, keys = list[list[Turn]](), list[str]()
    for split, table in tables.items():
        if column not in table.columns:
            raise DataError(
                "no such column", where="data.text.messages", expected=f"one of {listing(table.columns)}",
                received=column, hint=did_you_mean(column, table.columns),
            )  # fmt: skip
        notes += table.notes
        bad |= dict(table.skipped)
        for row, own in enumerate(table.ids):
            try:
                _check_tools(table, row)
                said, learnt = read_answers(parsed(table.columns[column][row]))
            except PayloadError as error:
                bad[own] = error.message
                continue
            key = fingerprint([[turn.role, turn.content] for turn in said])
            for number in learnt:
                texts.append(template.render(said[:number]))
                answers.append(said[number].content)
                ids.append(f"{own} {MESSAGES}[{number}]")
                splits.append(split)
                turns.append(said[:number])
                keys.append(key)
    refuse(bad, spec, name, notes, "talk")
    if not texts:
        raise DataError(NO_TALKS, where=name, expected="a list of messages in every row")
    return PairPool(
        name, np.array(texts, object), np.array(answers, object), ids,
        np.array(splits, object) if len(tables) > 1 else None, TEXT, "answer", notes, bad,
        Talks(template, turns, np.array(keys, object)),
    )  # fmt: skip


def template_of(spec: TextSpec) -> ChatTemplate:
    """Return the template that a recipe asks for. Raises DataError where a string of it doesn't show the message."""
    try:
        return ChatTemplate(**({} if spec.template is None else spec.template.model_dump(exclude_none=True)))
    except InputError as error:
        raise DataError(
            error.what, where=f"data.text.template.{error.where}", expected=error.expected, received=error.received
        ) from error


def read_answers(given: Any) -> tuple[list[Turn], list[int]]:
    """Return a talk's turns, and which of them are learnt as answers: the assistant's, but those of `weight` 0.

    Raises:
        PayloadError: it is no talk, or nothing in it is learnt; `where` is the place, such as "messages[2].role".
    """
    plain = given if isinstance(given, list) and all(isinstance(one, dict) for one in given) else []
    weights = [one.get("weight") for one in plain]
    turns = read_talk([{key: value for key, value in one.items() if key != "weight"} for one in plain] or given)
    for number, (turn, weight) in enumerate(zip(turns, weights, strict=True)):
        if weight is not None and (turn.role != "assistant" or weight not in (0, 1)):
            raise PayloadError(
                "not a weight", where=f"{MESSAGES}[{number}].weight",
                expected="1, or 0 for a message of the assistant that isn't to be learnt", received=repr(weight)[:40],
            )  # fmt: skip
        if plain[number].get("name"):
            raise PayloadError(
                "names of speakers aren't read", where=f"{MESSAGES}[{number}].name",
                hint="write the name into the content, or leave it out",
            )  # fmt: skip
    learnt = [number for number, turn in enumerate(turns) if turn.role == "assistant" and weights[number] != 0]
    if not learnt:
        raise PayloadError(
            "no message of the assistant to learn", where=MESSAGES, expected="at least one",
            received=f"{len(turns)} of {listing(dict.fromkeys(turn.role for turn in turns))}",
        )  # fmt: skip
    return turns, learnt


def _check_tools(table: RawTable, row: int) -> None:
    for name in _TOOLS:
        if name in table.columns and table.columns[name][row] not in (None, "", "[]"):
            raise PayloadError("talks with tools aren't learnt", where=name, expected="texts alone")


def parsed(value: Raw) -> Any:
    """Return what a cell holds: readers of tables make JSON texts of lists."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _check_keys(spec: DataSpec) -> None:
    files = [spec.source] if spec.files is None else spec.files.model_dump().values()
    if any(text is not None and is_parallel(text) for text in files):
        raise DataError(
            "parallel lines hold no talks", where="data.text.messages", received=str(spec.text.messages),
            hint="leave it out, or name a table of talks",
        )  # fmt: skip
    for where, name in (("data.target", spec.target), ("data.text.column", spec.text.column)):
        if name is not None:
            raise DataError(
                "talks hold their answers", where=where, received=name,
                hint="leave it out: data.text.messages names the only column that is read",
            )  # fmt: skip
