"""Delimited text (CSV and its kin): encoding, delimiter and header, found alike for training and for prediction."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from bedplate.codecs.columns import MISSING_NUMBERS
from bedplate.codecs.dates import parse_date
from bedplate.codecs.numbers import parse_number
from bedplate.core.errors import DataError

DELIMITERS = ("\t", ";", "|", ",")
UNNAMED = "unnamed"
"""What a column is called whose name in the header is blank; it mostly holds row numbers."""

WHITESPACE = " "
"""As a delimiter: any run of blanks."""

_SAMPLE_LINES = 1000
_TELLING_ROWS = 5
"""So many rows without a word of the first line say that it isn't one of them."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIELD_LIMIT = 1 << 26


@dataclass(frozen=True)
class Delimited:
    """Delimited text: column names, and where they came from. `rows` yields (line, cells) for what lies below them."""

    names: tuple[str, ...]
    header: bool
    delimiter: str
    text: str
    comment: str | None
    notes: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number from 1, cells); a row may be ragged, and blank lines are left out."""
        lines = parse_lines(self.text, self.delimiter, self.comment)
        if self.header:
            next(lines, None)
        width = len(self.names)
        for line, cells in lines:
            if len(cells) > width and not any(cells[width:]):
                cells = cells[:width]  # empty cells after the last column: a delimiter at the line's end
            yield line, cells


def decode_text(data: bytes, encoding: str | None, where: str) -> str:
    """Return the text of a file. Without `encoding`: by its byte-order mark, else UTF-8.

    Raises:
        DataError: the bytes are not text of that encoding; it names the line and the offset, and what to set.
    """
    marked = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    chosen = marked or encoding or "utf-8"
    try:
        text = data.decode(chosen)
    except LookupError as error:
        raise DataError(
            "unknown encoding",
            where="data.encoding",
            expected="for instance utf-8, cp1252 or gb18030",
            received=repr(encoding),
        ) from error
    except UnicodeError as error:
        offset = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = data.count(b"\n", 0, offset) + 1
        guess, odd = guess_encoding(data), _odd_bytes(data)
        if chosen == "utf-8" and odd:
            hint = f"it is UTF-8 but for {odd:,} byte{'' if odd == 1 else 's'}: mend {'it' if odd == 1 else 'them'}"
        else:
            hint = f"set data.encoding, for instance to {guess}" if guess else "is this a text file?"
        raise DataError(
            "the file's bytes are not text of the expected encoding",
            where=f"{where}, line {line}",
            expected=chosen,
            received=f"byte 0x{data[offset]:02x} at offset {offset}",
            hint=hint,
        ) from error
    if "\0" in text[:1_000_000]:
        raise DataError(
            "the file is not text: it holds NUL characters",
            where=where,
            expected="a delimited text file",
            hint="set data.encoding if it is UTF-16 without a byte-order mark",
        )
    return text.removeprefix("\ufeff").rstrip("\x1a")  # the end-of-file mark of old systems


def _odd_bytes(data: bytes) -> int:
    """Return how many bytes aren't UTF-8 in data that is UTF-8 but for few; 0: it is something else, or all is."""
    text = data.decode(errors="replace")
    odd = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    several = sum(sign > "\x7f" for sign in text) - odd  # signs of more bytes than one: by chance there are hardly any
    return odd if 0 < 10 * odd <= several else 0


def guess_encoding(data: bytes) -> str | None:
    """Return the likeliest encoding of bytes that are not UTF-8, or None where they look like no text.

    None also where they are UTF-8 but for few: those are faults, and another encoding would read all of them wrongly.
    """
    if _odd_bytes(data):
        return None
    sample = data[:200_000]
    zeros = sample.count(b"\0")
    if zeros > len(sample) // 5:
        return "utf-16-le" if sample[1::2].count(b"\0") > sample[0::2].count(b"\0") else "utf-16-be"
    if zeros:
        return None
    high = sum(byte >= 0x80 for byte in sample)
    cut = sample[: sample.rfind(b"\n") + 1] or sample
    # Chinese text is nearly all pairs of high bytes; accents in western text stand alone.
    alone = len(re.findall(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])", sample))
    candidates = ("cp1252", "latin-1") if alone * 3 > high else ("gb18030", "big5", "shift_jis", "cp1252", "latin-1")
    for encoding in candidates:
        try:
            cut.decode(encoding)
        except UnicodeError:
            continue
        return encoding
    return None


def parse_lines(text: str, delimiter: str, comment: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number of the row's last line, cells without outer blanks); blank and comment lines are left out."""
    limit = csv.field_size_limit()
    if limit < _FIELD_LIMIT:
        csv.field_size_limit(_FIELD_LIMIT)
    lines: Iterator[str] = io.StringIO(text, newline="")
    if comment:
        # A comment becomes a blank line, so that the lines' numbers stay true.
        lines = ("\n" if line.startswith(comment) else line for line in lines)
    if delimiter == WHITESPACE:
        lines = (line.strip().replace("\t", " ") for line in lines)
    latest = [""]
    reader = csv.reader(_noted(lines, latest), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if reader.line_num == 1 and len(delimiter.join(cells)) == 5 and cells[0].lower().startswith("sep="):
                continue
            cells = [cell.strip() for cell in cells]
            if any(cells) or len(cells) > 1 or (cells and '"' in latest[0]):  # "" is a row of one empty cell
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            "not readable as delimited text", where=f"line {reader.line_num}", received=str(error)
        ) from error


def _noted(lines: Iterable[str], latest: list[str]) -> Iterator[str]:
    for line in lines:
        latest[0] = line
        yield line


def sniff_delimiter(text: str, comment: str | None = None) -> str:
    """Return the delimiter under which the most lines have the same number (above one) of cells; "," in doubt."""
    sample = _head(text)
    first = sample.split("\n", 1)[0].strip().lower()
    if first.startswith("sep=") and len(first) == 5:
        return first[4]
    scores: dict[str, tuple[float, ...]] = {}
    for delimiter in (*DELIMITERS, WHITESPACE):
        if delimiter == WHITESPACE and any(
            score[4] == 1 or by != "\t" for by, score in scores.items() if score[1] > 0.5
        ):
            break
        try:
            rows = [cells for _, cells in parse_lines(sample, delimiter, comment)]
        except DataError:
            continue
        widths = Counter(map(len, rows))
        if not (wide := {width: times for width, times in widths.items() if width > 1}):
            continue
        width = max(wide, key=lambda width: (wide[width], width))
        share = wide[width] / len(rows)
        if delimiter == WHITESPACE:
            if share > 0.98:
                return delimiter
            continue
        # Commas also write decimals, and bars lists: where two delimiters explain the lines, the better one gives
        # the first line the same width, then more cells that are numbers or dates, then more cells.
        cells = [cell for row in rows[1:101] for cell in row]
        values = sum(map(_is_value, cells)) / len(cells) if cells else 0.0
        even = abs(len(rows[0]) - width) <= (1 if width > 2 else 0)
        scores[delimiter] = (float(even), round(share, 1), round(values, 1), width, share)
    return max(scores, key=lambda delimiter: scores[delimiter]) if scores else ","


def delimiter_of_header(text: str, names: Sequence[str]) -> str | None:
    """Return the delimiter under which the first line holds one of `names`; None where it holds none of them.

    A line that is one of them is a table of one column, whatever stands below: its cells are texts.
    """
    first = text.lstrip("\ufeff \r\n").split("\n", 1)[0].rstrip("\r")
    for delimiter in (",", *DELIMITERS):
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])]
        if set(cells) & set(names):
            return delimiter
    return None


def open_delimited(
    data: bytes,
    where: str,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    comment: str | None = None,
    names: Sequence[str] | None = None,
    known: Sequence[str] = (),
) -> Delimited:
    """Read the head of a delimited file; what isn't given is found out.

    Args:
        data: the file's bytes, uncompressed.
        where: the file's name, for messages.
        delimiter: one character; " " stands for any run of blanks.
        encoding: Python's name of one.
        comment: lines that begin with this are left out.
        names: the column names of a file without a header.
        known: names that a header would hold; where the first line holds one of them, it is the header.

    Raises:
        DataError: the bytes are no text, the file is empty, or `names` doesn't fit its width.
    """
    text = decode_text(data, encoding, where)
    if delimiter is not None and len(delimiter) != 1:
        delimiter = {"\\t": "\t", "tab": "\t", "whitespace": WHITESPACE, "\\s+": WHITESPACE}.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise DataError("a delimiter is one character", where="data.delimiter", received=repr(delimiter))
    chosen = delimiter or sniff_delimiter(text, comment)
    head = [cells for _, cells in parse_lines(_head(text), chosen, comment)]
    if not head:
        raise DataError("the file is empty", where=where, expected="a header and rows, or rows")
    first = head[0]
    if names is not None:
        width = Counter(map(len, head)).most_common(1)[0][0]
        if len(names) != width:
            raise DataError(
                "data.names does not fit the file",
                where=where,
                expected=f"{width} names",
                received=f"{len(names)} names",
            )
        header = [cell.casefold() for cell in first] == [name.casefold() for name in names]
        return Delimited(tuple(names), header, chosen, text, comment)
    width = Counter(map(len, head)).most_common(1)[0][0]
    # A first line that is much narrower or wider than the others counts the rows, or greets; it names no columns.
    header = bool(set(first) & set(known)) if known else abs(len(first) - width) <= 1 and looks_like_header(head)
    if not header:
        return Delimited(tuple(f"c{i}" for i in range(width)), False, chosen, text, comment)
    if len(head) > 2 and all(len(cells) == len(first) + 1 for cells in head[1:]):
        first = ["", *first]  # R writes row names without a name for their column
    unique, notes, renamed = unique_names(first)
    return Delimited(tuple(unique), True, chosen, text, comment, tuple(notes), tuple(renamed))


def unique_names(cells: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return (names, notes, repeated names): a blank name becomes "unnamed"; a repeated one gets ` (2)` behind it."""
    names: list[str] = []
    notes: list[str] = []
    renamed: list[str] = []
    for place, cell in enumerate(cells):
        name = cell or UNNAMED
        again = 2
        while name in names:
            name = f"{cell or UNNAMED} ({again})"
            again += 1
        if cell and name != cell:
            notes.append(f"the column name '{cell}' occurs more than once; column {place + 1} is called '{name}'")
            renamed.append(cell)
        names.append(name)
    return names, notes, renamed


def looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """Say whether the first of `rows` names the columns.

    Evidence for: words above a column of numbers or dates. Evidence against: a number above numbers, or (where no
    column is numeric) first cells that occur again below, or (below few rows) twice among themselves.
    """
    first, body = rows[0], [row for row in rows[1:] if len(row) >= len(rows[0])]
    if not body:
        return not any(map(_is_value, first))
    votes_for = votes_against = again = 0
    for place, cell in enumerate(first):
        below = [row[place] for row in body if row[place] not in MISSING_NUMBERS]
        if below and sum(map(_is_value, below)) >= 0.8 * len(below):
            if _is_value(cell):
                votes_against += 1
            elif cell not in MISSING_NUMBERS:
                votes_for += 1
        elif cell in below:
            again += 1
    if votes_for and votes_against:
        counted = [int(cell) for cell in first if cell.isdigit()]
        steps = len(counted) > 1 and all(b - a == 1 for a, b in pairwise(counted))
        return votes_for > votes_against or (steps and len(counted) == votes_against)
    if votes_for or votes_against:
        return votes_for > 0
    named = [cell for cell in first if cell]
    if len(set(named)) < len(named):  # two columns of one name, or values: categories would occur again
        return again == 0 and len(body) >= _TELLING_ROWS
    return bool(named) and again <= len(first) // 10


@lru_cache(maxsize=1 << 15)
def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a date: something that names no column."""
    return (
        parse_number(cell) is not None
        or parse_number(cell, ",") is not None
        or any(parse_date(cell, order) is not None for order in ("dmy", "mdy", "clock"))
    )


def _head(text: str) -> str:
    """The first lines of a text, whole."""
    end = -1
    for _ in range(_SAMPLE_LINES):
        step = text.find("\n", end + 1)
        if step < 0 or step > 2_000_000:
            return text[:2_000_000] if step > 2_000_000 and end < 0 else text if step < 0 else text[: end + 1]
        end = step
    return text[: end + 1]
