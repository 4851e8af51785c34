"""Numbers as people write them: `1,234.50`, `1.234,50`, `$5`, `12%`, `(3.20)`, `−7`, `1e-3`.

What this module accepts is part of the table contract's version 1: a later release may accept more, never less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_DRESSING = "$€£¥₹ \t\u00a0\u202f"
_GROUPED = {
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:([,' \u00a0\u202f])\d{3})(?:\1\d{3})*(?:\.\d*)?"),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:([.' \u00a0\u202f])\d{3})(?:\1\d{3})*(?:,\d*)?"),
}
_COMMA_DECIMAL = re.compile(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?")
_GROUP_SIGNS = re.compile(r"['  \u00a0\u202f]")


def parse_number(text: str, decimal: str = ".") -> float | None:
    """Return the number that `text` writes, or None where it writes none.

    `decimal` is the decimal sign, "." or ","; the other one may group thousands. A percent sign and a currency sign
    are dropped: `12%` is 12. Infinity is returned as such, for the caller to judge; NaN is returned for "nan".
    """
    if decimal == "." and "_" not in text:
        try:
            return float(text)
        except ValueError:
            pass
    bare = text.strip(_DRESSING).removesuffix("%").strip(_DRESSING).replace("\u2212", "-")
    if bare.startswith("(") and bare.endswith(")"):
        bare = "-" + bare[1:-1].strip(_DRESSING)
    if bare[:1] in "+-":
        bare = bare[:1] + bare[1:].lstrip(_DRESSING)
    if not bare or "_" in bare:
        return None
    if _GROUPED[decimal].fullmatch(bare):
        bare = _GROUP_SIGNS.sub("", bare.replace("," if decimal == "." else ".", ""))
    if decimal == ",":
        if not _COMMA_DECIMAL.fullmatch(bare):
            return float(bare) if bare.lower().lstrip("+-") in {"nan", "inf", "infinity"} else None
        bare = bare.replace(",", ".")
    try:
        return float(bare)
    except ValueError:
        return None


def decimal_sign(texts: Iterable[str]) -> str:
    """Return the decimal sign that explains the most of `texts`; "." where both explain them equally well.

    `1,234` alone is ambiguous and read as a thousand; one `0,5` or `12,25` beside it settles for the comma.
    """
    point = comma = 0
    for text in texts:
        if "," in text or "." in text:
            point += parse_number(text, ".") is not None
            comma += parse_number(text, ",") is not None
    return "," if comma > point else "."


def number_text(value: float) -> str:
    """Return the one text of a number used as a category: `2.0` and `2` are both "2"."""
    if math.isfinite(value) and value == int(value) and abs(value) < 2**63:
        return str(int(value))
    return repr(float(value))
