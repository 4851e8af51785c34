"""`bedplate predict` of a model that writes text: the continuation appears as it is written."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.bundle import Bundle
from bedplate.cli.generate_flags import FLAGS
from bedplate.cli.inputs import files_of, is_table, the_text
from bedplate.codecs.chat import MESSAGES
from bedplate.codecs.codec import Payload
from bedplate.codecs.rows import content_of, read_rows, unpacked
from bedplate.core.errors import InputError, PayloadError
from bedplate.generation import Generator, Sampling

if TYPE_CHECKING:
    from bedplate.codecs.language import LanguageCodec  # needs the tokenizers library, which other models don't


def sampling_of(arguments: argparse.Namespace, usual: Sampling) -> Sampling:
    """Return what the flags ask for, `usual` where they say nothing. Raises InputError that names the flag."""
    given: dict[str, Any] = {name: getattr(arguments, name) for name in FLAGS if name != "text"}
    given = {name: tuple(value) if name == "stop" else value for name, value in given.items() if value is not None}
    try:
        return usual.asked(**given)
    except InputError as error:
        flag = f"--{(error.where or '').replace('_', '-')}"
        raise InputError(error.what, where=flag, expected=error.expected, received=error.received) from error


def check_no_generation(arguments: argparse.Namespace, *, reads_texts: bool = False) -> None:
    """Refuse flags that say how a text is written, for a bundle that writes none; --text where it reads none either."""
    refused = [name for name in FLAGS if not (reads_texts and name == "text")]
    given = [name for name in refused if getattr(arguments, name, None) is not None]
    if given:
        raise InputError(
            "this bundle's model writes no text", where=f"--{given[0].replace('_', '-')}",
            hint="leave it out, or name a bundle of language-modelling or text-to-text",
        )  # fmt: skip


Given = Payload | PayloadError
"""A prompt, or why there is none; None for a blank line, whose answer is one."""


def prompts(arguments: argparse.Namespace, codec: LanguageCodec) -> Iterator[tuple[str, Given]]:
    """Yield (where from, prompt): the text given, files, or standard input; what can't be read doesn't stop the rest.

    A file is one text to go on from, without its last line end, which is rarely meant. Where texts are answered, a line
    is a text, as it was in training, and the rows of a table are.
    """
    if arguments.text is not None:
        for name, text in the_text(arguments):
            talk = codec.template is not None and str(text).lstrip()[:1] in ("{", "[")
            yield from _rows(str(text).encode(), name, codec.column) if talk else ((name, text),)
        return
    if not arguments.inputs or arguments.inputs == ["-"]:
        if sys.stdin.isatty():
            raise InputError("nothing to go on from", hint="give --text, files, or a text on standard input")
        yield from _texts("standard input", sys.stdin.buffer.read(), codec, table=False)
        return
    for given in arguments.inputs:
        try:
            paths = files_of(Path(given))
        except PayloadError as error:
            yield given, error
            continue
        for path in paths:
            name = given if path == Path(given) else str(path)
            try:
                raw = unpacked(content_of(path, name)[0], name)
            except PayloadError as error:
                yield name, error
            else:
                yield from _texts(name, raw, codec, table=is_table(path))


def _texts(name: str, raw: bytes, codec: LanguageCodec, *, table: bool) -> Iterator[tuple[str, Given]]:
    if not codec.pairs:
        yield name, raw.removesuffix(b"\n")
    elif table or (codec.template is not None and raw.lstrip()[:1] in (b"{", b"[")):
        yield from _rows(raw, name, codec.column)
    else:
        lines = raw.rstrip().splitlines()
        if len(lines) < 2:
            yield name, raw.removesuffix(b"\n")
        else:
            yield from ((f"{name}:{number}", line if line.strip() else None) for number, line in enumerate(lines, 1))


def _rows(raw: bytes, name: str, column: str) -> Iterator[tuple[str, Given]]:
    """Yield a table's rows. Of JSON lines one that is none is told, and the others are read."""
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    first = lines[0][1].strip() if lines else b""
    alone = len(lines) > 1 and first.startswith(b"{") and first.endswith(b"}")
    parts = [(line, f"{name}:{number}") for number, line in lines] if alone else [(raw, name)]
    for part, where in parts:
        try:
            if alone and not part.lstrip().startswith(b"{"):
                yield where, _line(part, where)
                continue
            for place, row in read_rows(part, name=where, column=column):
                yield (where if alone else place), _talk(row)
        except PayloadError as error:
            yield where, error


def _line(line: bytes, where: str) -> Payload:
    """Return the text that a line among JSON objects is. Raises PayloadError where it is none."""
    with contextlib.suppress(ValueError):
        text = json.loads(line)
        if isinstance(text, str):
            return text
    raise PayloadError(
        "not an object of JSON, as the first line is", where=where, expected="an object, or a text in quotes",
        received=line.decode(errors="replace").strip()[:60],
    )  # fmt: skip


def _talk(row: Payload) -> Payload:
    """Return a row as it is; the cell of a table that holds a talk is JSON."""
    if isinstance(row, Mapping) and isinstance(row.get(MESSAGES), str):
        with contextlib.suppress(ValueError):
            return {**row, MESSAGES: json.loads(row[MESSAGES])}
    return row


def unanswered(payload: Payload) -> Payload:
    """Return a talk without the assistant's last message, where it ends with one: that is what is to be answered."""
    turns = payload.get(MESSAGES) if isinstance(payload, Mapping) else None
    if not isinstance(turns, list) or len(turns) < 2:
        return payload
    last = turns[-1]
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        return payload
    return {MESSAGES: turns[:-1]}


def generate(bundle: Bundle, arguments: argparse.Namespace) -> int:
    """Write each text with its continuation, or with --json a line each; exit code 2 where one can't be continued."""
    write, bad = bundle.generator(arguments.variant), 0
    sampling = sampling_of(arguments, write.sampling)
    left_out = blank = 0
    for name, given in prompts(arguments, write.codec):
        if given is None:
            blank += 1
            print(json.dumps({"input": name, "answer": ""}) if arguments.json else "")
            continue
        try:
            if isinstance(given, PayloadError):
                raise given
            prompt = unanswered(given) if write.codec.template is not None else given
            left_out += prompt is not given
            wanted = sampling
            if arguments.max_tokens is None and sampling.beams > 1:
                wanted = write.fitting(write.codec.encode(prompt), sampling)
            if arguments.json:
                print(json.dumps({"input": name, **write.answer(prompt, wanted)}, ensure_ascii=False))
            else:
                _show(write, name, prompt, wanted)
        except PayloadError as error:
            bad += 1
            where = "" if error.message.startswith(f"{name}:") else f"{name}: "  # what reads a file names it, too
            print(f"error: {where}{error.message}", file=sys.stderr)
            if arguments.json:
                print(json.dumps({"input": name, "error": error.message}, ensure_ascii=False))
            elif write.codec.pairs:
                print()  # the answers' lines stay beside the texts'
    if blank:
        print(
            f"note: {'1 blank line has a blank answer' if blank == 1 else f'{blank:,} blank lines have blank answers'}",
            file=sys.stderr,
        )
    if left_out:
        talks = "1 talk ends" if left_out == 1 else f"{left_out:,} talks end"
        print(
            f"note: {talks} with the assistant: its last message is what is answered, and wasn't read", file=sys.stderr
        )
    return 2 if bad else 0


def _show(write: Generator, name: str, prompt: Payload, sampling: Sampling) -> None:
    begun, (tokens, dropped) = False, write.codec.read(prompt)
    if dropped:
        print(f"note: {name}: {dropped:,} of the oldest messages don't fit and are left out", file=sys.stderr)
    stream = write.begin(tokens, sampling)
    for piece in write.written(stream):
        if not begun and not write.codec.pairs:
            sys.stdout.write(prompt if isinstance(prompt, str) else bytes(prompt).decode())
            begun = True
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    sys.stdout.write("\n")
    if stream.forgotten:
        print(
            f"note: {name}: the model sees {write.codec.length:,} tokens at once; the first {stream.forgotten:,} were "
            "forgotten on the way",
            file=sys.stderr,
        )
