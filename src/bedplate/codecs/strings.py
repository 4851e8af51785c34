"""Strings as payloads: told from bytes and objects, and checked, before any codec of texts reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unicodedata import category

import numpy as np

from bedplate.codecs.codec import Codec, Payload
from bedplate.codecs.rows import check_form
from bedplate.core.errors import PayloadError, json_kind

_UNSEEN = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))
"""Unicode's categories of control and format characters (NUL, the byte order mark) and of spaces."""

MOST_CHARACTERS = 2_000_000
"""A longer text is refused before it is read."""


def column_of(codec: Codec) -> str | None:
    """Return the column of a table in which a codec of strings, or of a language, looks for its text; None: another."""
    found: str | None = getattr(codec, "column", None)
    return found


def each(payloads: Sequence[Payload], read: Callable[[Payload], str]) -> np.ndarray:
    """Return what `read` makes of each payload, object [N].

    Raises:
        PayloadError: `read`'s, with the payload's number where there are several.
    """
    found = np.empty(len(payloads), dtype=object)
    for number, payload in enumerate(payloads):
        try:
            found[number] = read(payload)
        except PayloadError as error:
            where = f"payload {number}" if len(payloads) > 1 else None
            raise PayloadError(
                error.what, where=where, expected=error.expected, received=error.received, hint=error.hint
            ) from error
    return found


def held(payload: Payload, names: Sequence[str], what: str = "text") -> Payload:
    """Return what an object holds under the first of `names` that it has; anything else as it is.

    `what` is what is looked for, as messages call it.

    Raises:
        PayloadError: the object has none of them.
    """
    if not isinstance(payload, Mapping):
        return payload
    for name in names:
        if name in payload:
            return payload[name]
    known = list(dict.fromkeys(names)) if what != "text" else names[:1]
    raise PayloadError(
        f"the row has no {what}", expected=" or ".join(f"'{name}'" for name in known),
        received=f"{sorted(map(str, payload))[:8]}",
    )  # fmt: skip


def checked_text(payload: Payload) -> str:
    """Return a string, or its UTF-8 bytes, as a text: not empty, not endless, and whole characters alone.

    Raises:
        PayloadError: it isn't such.
    """
    if isinstance(payload, bytes | bytearray | memoryview):
        payload = _decoded(bytes(payload))
    if not isinstance(payload, str):
        raise _no_text(payload)
    if all(category(sign) in _UNSEEN for sign in payload):  # stops at the first that can be seen
        kind = "spaces or control characters" if payload.strip() else "spaces"
        told = f"{len(payload)} characters, all of them {kind}" if payload else "nothing"
        raise PayloadError("the text is empty", expected="a text", received=told)
    if len(payload) > MOST_CHARACTERS:
        raise PayloadError(
            "the text is too long", expected=f"at most {MOST_CHARACTERS:,} characters", received=f"{len(payload):,}"
        )
    try:
        payload.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(
            "the text holds half a surrogate pair", received=f"character {error.start}", hint="send whole characters"
        ) from error
    return payload


def _no_text(payload: object) -> PayloadError:
    """Return what to tell of a payload that is no text, in the words of its sender."""
    if isinstance(payload, list | tuple):
        return PayloadError(
            "not a text", expected="a string", received=f"a list of {len(payload)} values: {str(list(payload))[:60]}",
            hint="in a table, a text that holds the delimiter stands in quotes",
        )  # fmt: skip
    return PayloadError("not a text", expected="a string", received=json_kind(payload))


def _decoded(data: bytes) -> str:
    check_form(data, "the text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(
            "the text is not UTF-8", received=f"byte 0x{data[error.start]:02x} at {error.start}",
            hint="save it as UTF-8",
        ) from error  # fmt: skip
