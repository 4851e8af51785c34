"""Strings as payloads: told from bytes and objects, and checked, before any codec of texts reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unicodedata import category

import numpy as np

from bedplate.codecs.codec import Payload
from bedplate.core.errors import PayloadError

_UNSEEN = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))
"""Unicode's categories of control and format characters (NUL, the byte order mark) and of spaces."""

MOST_CHARACTERS = 2_000_000
"""A longer text is refused before it is read."""


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
        raise PayloadError("not a text", expected="a string", received=type(payload).__name__)
    if all(category(sign) in _UNSEEN for sign in payload):  # stops at the first that can be seen
        kind = "spaces or control characters" if payload.strip() else "spaces"
        raise PayloadError("the text is empty", received=f"{len(payload)} characters, all of them {kind}")
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


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(
            "the text is not UTF-8", received=f"byte 0x{data[error.start]:02x} at {error.start}",
            hint="save it as UTF-8",
        ) from error  # fmt: skip
