"""`bedplate predict` of a model that writes text: the continuation appears as it is written."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle
from bedplate.cli.generate_flags import FLAGS
from bedplate.codecs.codec import Payload
from bedplate.codecs.rows import read_rows
from bedplate.core.errors import InputError, PayloadError
from bedplate.generation import Generator, Sampling


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


def the_text(arguments: argparse.Namespace) -> Iterator[tuple[str, Payload]]:
    """Yield ("--text", text) alone. Raises InputError where files are named, too."""
    if arguments.inputs:
        raise InputError("either --text or files", received=" ".join(arguments.inputs))
    yield "--text", arguments.text


def prompts(arguments: argparse.Namespace) -> Iterator[tuple[str, Payload]]:
    """Yield (where from, text): the text given, files as one text each, or standard input.

    A file's last line end is left out: it is rarely meant.
    """
    if arguments.text is not None:
        yield from the_text(arguments)
        return
    if not arguments.inputs or arguments.inputs == ["-"]:
        if sys.stdin.isatty():
            raise InputError("nothing to go on from", hint="give --text, files, or a text on standard input")
        yield "standard input", sys.stdin.buffer.read().removesuffix(b"\n")
        return
    for name in arguments.inputs:
        try:
            yield name, Path(name).read_bytes().removesuffix(b"\n")
        except OSError as error:
            raise InputError("can't be read", where=name, received=error.strerror or str(error)) from error


def talks_of(found: Iterable[tuple[str, Payload]]) -> Iterator[tuple[str, Payload]]:
    """Yield each talk of what is JSON by itself, as "file:line"; other texts stay as they are. Raises PayloadError."""
    for name, text in found:
        raw = text if isinstance(text, bytes) else str(text).encode()
        if raw.lstrip()[:1] in (b"{", b"["):
            yield from read_rows(raw, name=name)
        else:
            yield name, text


def lines_of(found: Iterable[tuple[str, Payload]]) -> Iterator[tuple[str, Payload]]:
    """Yield each line of texts by itself, as "file:line"; empty ones are passed over, one line alone stays a text.

    What is no text stays as it is.
    """
    for name, text in found:
        if not isinstance(text, str | bytes):
            yield name, text
            continue
        raw = text if isinstance(text, bytes) else str(text).encode()
        lines = [(number, line) for number, line in enumerate(raw.splitlines(), 1) if line.strip()]
        if len(lines) < 2:
            yield name, text
            continue
        yield from ((f"{name}:{number}", line) for number, line in lines)


def generate(bundle: Bundle, arguments: argparse.Namespace) -> int:
    """Write each text with its continuation, or with --json a line each; exit code 2 where one can't be continued."""
    write, bad = bundle.generator(arguments.variant), 0
    sampling = sampling_of(arguments, write.sampling)
    given = prompts(arguments) if write.codec.template is None else talks_of(prompts(arguments))
    # A text to be answered is a line, as it was in training; a text to go on from has lines of its own.
    for name, prompt in lines_of(given) if write.codec.pairs and arguments.text is None else given:
        try:
            wanted = sampling
            if arguments.max_tokens is None and sampling.beams > 1:
                wanted = write.fitting(write.codec.encode(prompt), sampling)
            if arguments.json:
                print(json.dumps({"input": name, **write.answer(prompt, wanted)}, ensure_ascii=False))
            else:
                _show(write, name, prompt, wanted)
        except PayloadError as error:
            bad += 1
            print(f"error: {name}: {error.message}", file=sys.stderr)
            if arguments.json:
                print(json.dumps({"input": name, "error": error.message}, ensure_ascii=False))
    return 2 if bad else 0


def _show(write: Generator, name: str, prompt: Payload, sampling: Sampling) -> None:
    begun, dropped = False, write.codec.read(prompt)[1]
    if dropped:
        print(f"note: {name}: {dropped:,} of the oldest messages don't fit and are left out", file=sys.stderr)
    for piece in write.stream(prompt, sampling):
        if not begun and not write.codec.pairs:
            sys.stdout.write(prompt if isinstance(prompt, str) else bytes(prompt).decode())
            begun = True
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    sys.stdout.write("\n")
