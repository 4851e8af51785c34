"""What is asked of a model that writes text: texts or talks with their settings, in every form that a body may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from itertools import islice
from typing import Any

from bedplate.codecs.chat import MESSAGES
from bedplate.codecs.codec import TEXT
from bedplate.codecs.rows import json_rows, read_rows
from bedplate.core.errors import DataError, InputError, PayloadError, did_you_mean, json_kind, listing
from bedplate.generation import Generator, Sampling
from bedplate.serving.body import parse_json
from bedplate.serving.exchange import Ask
from bedplate.serving.native_forms import Part, read_form
from bedplate.serving.native_payloads import JSON_LINES
from bedplate.serving.oip_binary import text as text_of
from bedplate.serving.openai_read import MOST_TEXTS
from bedplate.serving.problems import Problem, bad_request, from_error

_SETTINGS = tuple(field.name for field in fields_of(Sampling) if field.name != "logprobs")


@dataclass(frozen=True)
class Asked:
    """One text: its tokens, how it is to be written, and how many of a talk's oldest messages were left out."""

    tokens: list[int]
    sampling: Sampling
    dropped: int


def read_texts(ask: Ask, write: Generator, usual: Sampling) -> list[Asked]:
    """Return the texts of a request, written as `usual` where it says nothing. Raises Problem, which names the text."""
    if not ask.body:
        raise bad_request("the body is empty: send a text to go on from")
    items = list(islice(_items(ask.body, ask.headers.get("content-type"), write.codec.column), MOST_TEXTS + 1))
    if not 0 < len(items) <= MOST_TEXTS:
        raise bad_request(f"expected 1 to {MOST_TEXTS} texts, received {'more' if items else 'none'}")
    asked = []
    for number, item in enumerate(items, 1):
        try:
            asked.append(_asked(item, write, usual))
        except Problem as problem:
            if len(items) == 1:
                raise
            facts = {**problem.facts, "text": number}
            raise Problem(problem.status, f"text {number}: {problem.message}", facts=facts) from problem
    return asked


def _items(body: bytes, content_type: str, column: str) -> Iterator[Any]:
    """Yield what stands for one text each: a string, bytes, or an object with settings."""
    kind = content_type.split(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            yield from _from_form(read_form(body, content_type), column)
        elif kind in JSON_LINES:
            yield from (value for _, value in json_rows(body, "the body", None))
        elif kind == "text/csv":
            yield from (_cell(row, place, column) for place, row in read_rows(body, name="the body", column=column))
        elif kind == "application/json" or (kind != "text/plain" and body.lstrip()[:1] in (b"{", b"[", b'"')):
            given = parse_json(body)
            yield from given if isinstance(given, list) else [given]
        else:
            yield body
    except (DataError, PayloadError) as error:
        raise from_error(error) from error


def _cell(row: Any, place: str, column: str) -> Any:
    """Return a table's row as a text; its other columns, such as the expected answer, aren't read."""
    if not isinstance(row, Mapping) or row.get(column, row.get(TEXT)) is None:
        names = listing(map(str, row)) if isinstance(row, Mapping) else repr(row)[:60]
        raise PayloadError("the row has no text", where=place, expected=f"a column '{column}'", received=names)
    return row.get(column, row.get(TEXT))


def _from_form(parts: list[Part], column: str) -> Iterator[Any]:
    """Yield a form's files, a text each, or as their own type says; without files, all fields as one object."""
    files = [part for part in parts if part.filename is not None]
    for part in files:
        yield from _items(part.data, part.kind if part.kind != "application/octet-stream" else "text/plain", column)
    if files:
        return
    row: dict[str, Any] = {}
    for part in parts:
        if part.name in row:
            raise bad_request(f"field '{part.name[:100]}' is given twice")
        value = text_of(part.data, f"field '{part.name[:100]}'")
        row[part.name] = value if part.name in (TEXT, column, "stop") else parse_json(part.data)
    yield row


def _asked(item: Any, write: Generator, usual: Sampling) -> Asked:
    codec, settings, talk = write.codec, dict[str, Any](), False
    if isinstance(item, dict):
        talk = MESSAGES in item and codec.column != MESSAGES
        settings = {key: value for key, value in item.items() if key not in (TEXT, codec.column, MESSAGES)}
        for name in settings:
            if name not in _SETTINGS:
                known = (*_SETTINGS, TEXT, *((MESSAGES,) if codec.template is not None else ()))
                hint = did_you_mean(name, known)
                raise bad_request(
                    f"no such setting '{name[:100]}'; there are {listing(_SETTINGS)}" + (f"; {hint}" if hint else "")
                )
        if "stop" in settings:
            stop = settings["stop"]
            settings["stop"] = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else (stop,)
        if not talk and TEXT not in item and codec.column not in item:
            received = listing(item) if item else "{}"
            raise bad_request(f"the object holds no text (expected '{codec.column}'; received {received})")
        item = item if talk else item.get(TEXT, item.get(codec.column))
    if not talk and not isinstance(item, str | bytes):
        raise bad_request(f'expected a text, or {{"text": …}}, received {json_kind(item)}')
    try:
        (tokens, dropped), sampling = codec.read(item), usual.asked(**settings)
        return Asked(tokens, sampling if "max_tokens" in settings else write.fitting(tokens, sampling), dropped)
    except InputError as error:
        raise from_error(error) from error
