"""Sentences for prediction from a file or standard input: CoNLL columns, JSON lines, tables, or a sentence a line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from bedplate.codecs.codec import Payload
from bedplate.codecs.conll import is_conll, read_columns
from bedplate.codecs.delimited import decode_text
from bedplate.codecs.rows import content_of, read_rows
from bedplate.codecs.sentence import SentenceCodec
from bedplate.core.errors import DataError, PayloadError

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
"""How files end that hold JSON lines, for training and for prediction."""


def read_sentences(
    source: Path | bytes, name: str, codec: SentenceCodec, tags: Collection[str] = ()
) -> Iterator[tuple[str, Payload]]:
    """Yield (`name:line`, payload) for every sentence of a file or of its bytes, ready for `codec.decode`.

    Of CoNLL columns the words are read, as training reads them; their tags are passed over. They are recognised by
    their content: `tags` are those that the model answers.

    Raises:
        PayloadError: there is no such file, or it can't be read as rows.
    """
    data, _ = content_of(source, name)
    plain = name.lower().removesuffix(".gz")
    if plain.endswith(JSON_SUFFIXES) or (data.lstrip()[:1] in (b"{", b"[") and not isinstance(source, Path)):
        yield from read_rows(data, name=Path(name).name)
        return
    try:
        text, unreadable = decode_text(data, codec.encoding, name), None
    except DataError as error:
        text, unreadable = data.decode(errors="replace"), error
    if is_conll(text, tags, codec.comment):
        if unreadable is not None:
            raise PayloadError(
                unreadable.what, where=unreadable.where, expected=unreadable.expected, received=unreadable.received,
                hint="save it as UTF-8",
            ) from unreadable  # fmt: skip
        for rows in read_columns(text, codec.comment):
            yield f"{name}:{rows[0][0]}", [cells[0] for _, cells in rows]
        return
    if plain.endswith((".csv", ".tsv")):
        yield from read_rows(data, name=Path(name).name)
        return
    # A line that can't be read is told by itself, so that its neighbours are answered.
    lines = data if unreadable is not None else text.encode()
    for number, line in enumerate(lines.split(b"\n"), 1):
        if line.strip():
            yield f"{name}:{number}", line
