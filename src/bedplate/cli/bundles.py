"""The verbs that need no workshop: predict and monitor."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bedplate.bundle import Bundle
from bedplate.cli.generate import check_no_generation, generate
from bedplate.cli.inputs import files_of, is_table, the_text
from bedplate.cli.main import console_for
from bedplate.codecs.codec import STRINGS, Payload
from bedplate.codecs.files import image_payloads
from bedplate.codecs.rows import read_rows
from bedplate.codecs.sentence import SentenceCodec
from bedplate.codecs.sentence_files import read_sentences
from bedplate.codecs.strings import column_of
from bedplate.codecs.table import TableCodec
from bedplate.codecs.tensor_files import read_tensors
from bedplate.core.errors import InputError, PayloadError

BATCH = 256
SAID = 3
"""So many inputs are named for one fault; the others with the same are counted."""


def read_payloads(bundle: Bundle, inputs: list[str]) -> Iterator[tuple[str, Payload]]:
    """Yield (where from, payload) for files, folders and archives, or standard input."""
    if not inputs or inputs == ["-"]:
        if sys.stdin.isatty():
            raise InputError("nothing to predict", hint="name files, or pipe a payload into standard input")
        data = sys.stdin.buffer.read()
        if bundle.codec.kind == "sentence":
            yield from _sentences(bundle, data, "standard input")
        elif bundle.codec.kind in ("image", "series") or (
            bundle.codec.kind in STRINGS and data.lstrip()[:1] not in (b"[", b"{")
        ):
            yield "standard input", data
        elif bundle.codec.kind in STRINGS:
            yield from read_rows(data, name="standard input", column=column_of(bundle.codec))
        elif bundle.codec.kind == "tensor":
            yield from read_tensors(data, "standard input")
        else:
            yield from read_rows(data, name="standard input", codec=_table(bundle))
        return
    if bundle.codec.kind == "image":
        yield from image_payloads(inputs)
        return
    for text in inputs:
        if bundle.codec.kind in STRINGS:
            for path in files_of(Path(text)):
                yield from _texts(path, bundle) if bundle.codec.kind == "text" else _sentences(bundle, path, str(path))
            continue
        if bundle.codec.kind == "tensor":
            yield from read_tensors(Path(text))
            continue
        for path in files_of(Path(text)):
            if bundle.codec.kind == "series":
                yield _series(path)
            else:
                yield from read_rows(path, name=path.name if path == Path(text) else str(path), codec=_table(bundle))


def _series(path: Path) -> tuple[str, Payload]:
    """Return a file as one payload: its steps, the latest last."""
    for _, rows in itertools.groupby(read_rows(path), lambda item: True):
        return str(path), [row for _, row in rows]
    raise PayloadError("the file holds no steps", where=str(path))


def _texts(path: Path, bundle: Bundle) -> Iterator[tuple[str, Payload]]:
    """Yield a table's rows, each of which holds a text, or a whole file as one text."""
    if is_table(path):
        yield from read_rows(path, column=column_of(bundle.codec))
        return
    try:
        yield str(path), path.read_bytes()
    except OSError as error:
        raise PayloadError("can't be read", where=str(path), received=error.strerror or str(error)) from error


def _sentences(bundle: Bundle, source: Path | bytes, name: str) -> Iterator[tuple[str, Payload]]:
    assert isinstance(bundle.codec, SentenceCodec)
    return read_sentences(source, name, bundle.codec, bundle.answers.tags or ())


def _table(bundle: Bundle) -> TableCodec:
    assert isinstance(bundle.codec, TableCodec)
    return bundle.codec


def answers(bundle: Bundle, payloads: Iterable[tuple[str, Payload]], variant: str | None) -> Iterator[dict[str, Any]]:
    """Yield `{input, answer, …}` for each payload, or `{input, error}` where it doesn't fit the contract."""
    predict = bundle.predictor(variant)
    stream = iter(payloads)
    while batch := list(itertools.islice(stream, BATCH)):
        good: list[tuple[int, Any]] = []
        found: list[dict[str, Any]] = [{"input": name} for name, _ in batch]
        try:
            payloads = [payload for _, payload in batch]
            arrays = bundle.codec.decode(payloads)
            good = list(enumerate(bundle.answered(predict(arrays), arrays, payloads)))
        except PayloadError:
            for index, (_, payload) in enumerate(batch):
                try:
                    arrays = bundle.codec.decode([payload])
                    good.append((index, bundle.answered(predict(arrays), arrays, [payload])[0]))
                except PayloadError as error:
                    found[index]["error"] = error.message
        for index, answer in good:
            found[index].update(answer)
        yield from found


def _line(found: dict[str, Any]) -> str:
    if "outputs" in found:
        return f"{found['input']}\t{json.dumps(found['outputs'], ensure_ascii=False)}"
    if "probabilities" in found and isinstance(found["answer"], list):
        return f"{found['input']}\t{json.dumps(found['answer'], ensure_ascii=False)}"
    if "probabilities" in found:
        return f"{found['input']}\t{found['answer']}\t{max(found['probabilities'].values()):.4f}"
    if "times" in found:
        told = {"times": found["times"], **found.get("quantiles", found["answer"])}
        return f"{found['input']}\t{json.dumps(told, ensure_ascii=False)}"
    if "quantiles" in found:
        return f"{found['input']}\t{json.dumps(found['quantiles'], ensure_ascii=False)}"
    if isinstance(found["answer"], dict | list):
        return f"{found['input']}\t{json.dumps(found['answer'], ensure_ascii=False)}"
    return f"{found['input']}\t{found['answer']:.6g}"


def predict(arguments: argparse.Namespace) -> int:
    """`bedplate predict`: one line an input; a bad one is reported, the others are answered, and the exit code is 2."""
    bundle = Bundle.open(arguments.bundle)
    if bundle.codec.kind == "language":
        return generate(bundle, arguments)
    check_no_generation(arguments, reads_texts=bundle.codec.kind in STRINGS)
    given = read_payloads(bundle, arguments.inputs) if arguments.text is None else the_text(arguments)
    faults: Counter[str] = Counter()
    count = 0
    for found in answers(bundle, given, arguments.variant):
        count += 1
        if "error" in found:
            faults[found["error"]] += 1
            if faults[found["error"]] <= SAID:
                print(f"error: {found['input']}: {found['error']}", file=sys.stderr)
        if arguments.json:
            print(json.dumps(found, ensure_ascii=False))
        elif "error" not in found:
            print(_line(found))
    if count == 0:
        raise InputError("nothing to predict", received=" ".join(arguments.inputs) or "standard input")
    for fault, times in faults.items():
        if times > SAID:
            print(f"error: {times - SAID:,} more inputs: {fault}", file=sys.stderr)
    return 2 if faults else 0


def monitor(arguments: argparse.Namespace) -> int:
    """`bedplate monitor`: exit code 1 on drift."""
    from bedplate.operations import monitor as look

    console = console_for(arguments)
    bundle = Bundle.open(arguments.bundle)
    if not bundle.reference.get("features"):
        raise InputError(
            "this bundle holds no drift reference", where=arguments.bundle, hint="there is nothing to compare"
        )
    if bool(arguments.state) == bool(arguments.inputs):
        raise InputError("say what to look at", expected="either --state DIR or --input FILE …")
    payloads = [payload for _, payload in read_payloads(bundle, arguments.inputs)] if arguments.inputs else None
    report = look(bundle, state=Path(arguments.state) if arguments.state else None, inputs=payloads)
    if arguments.json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    for line in report.lines():
        console.say(line)
    return 1 if report.drift else 0
