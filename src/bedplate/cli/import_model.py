"""The verb that makes a bundle of a bare ONNX file."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from bedplate.bundle.foreign import ImportSpec, default_name, import_onnx
from bedplate.bundle.foreign_frame import Preprocessing
from bedplate.cli.main import console_for
from bedplate.core.errors import InputError


def import_(arguments: argparse.Namespace) -> int:
    """`bedplate import`."""
    console = console_for(arguments)
    path = Path(arguments.model)
    spec = read_spec(arguments)
    name = spec.name or default_name(path)
    bundle = import_onnx(path, Path(arguments.out) if arguments.out else Path("bundles") / name, spec)
    console.stage("import", path.name)
    for one in bundle.inputs:
        console.detail(f"takes   {one.name}: {one.dtype} {['rows', *one.shape]}".replace("'", ""))
    answers = bundle.answers
    if answers.labels:
        console.detail(f"answers one of {len(answers.labels)} labels, with probabilities")
    for one in bundle.outputs if answers.tensors else []:
        console.detail(f"answers {one.name}: {one.dtype} {['rows', *one.shape]}".replace("'", ""))
    golden = "given" if bundle.golden.origin == "rows" else "made up"
    console.detail(f"golden  {bundle.golden.rows} rows, {golden}, answered by ONNX Runtime")
    console.detail(f"bundle  {bundle.path}")
    console.detail(f"id      {bundle.id}")
    console.say(f"next: bedplate serve {bundle.path}")
    if arguments.json:
        print(
            json.dumps({"bundle": str(bundle.path.resolve()), "id": bundle.id, "name": bundle.name}, ensure_ascii=False)
        )
    elif arguments.quiet:
        print(bundle.path)
    return 0


def read_spec(arguments: argparse.Namespace) -> ImportSpec:
    """Return what the flags say. Raises InputError naming the flag."""
    labels, columns = _lines(arguments.labels, "--labels"), _lines(arguments.columns, "--columns")
    flags = ("mean", "std", "scale", "layout", "size", "order", "resize")
    given = [f"--{flag}" for flag in flags if getattr(arguments, flag) is not None]
    if given and arguments.codec != "image":
        raise InputError("only for images", where=given[0], hint="say --codec image")
    if columns is not None and arguments.codec != "table":
        raise InputError("only for tables", where="--columns", hint="say --codec table")
    image: dict[str, Any] = {flag: getattr(arguments, flag) for flag in ("layout", "order", "resize")}
    image = {flag: value for flag, value in image.items() if value is not None}
    return ImportSpec(
        codec=arguments.codec,
        name=arguments.name,
        golden=Path(arguments.golden) if arguments.golden else None,
        rows=arguments.rows,
        labels=labels,
        activation=arguments.activation,
        output=arguments.output,
        columns=columns,
        target=arguments.target,
        image=Preprocessing(
            mean=_numbers(arguments.mean, "--mean"),
            std=_numbers(arguments.std, "--std"),
            scale=_numbers(arguments.scale, "--scale")[0] if arguments.scale else None,
            size=_size(arguments.size),
            **image,
        ),
    )


def _lines(name: str | None, flag: str) -> tuple[str, ...] | None:
    if name is None:
        return None
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "can't be read as lines of UTF-8", where=f"{flag} {name}", received=getattr(error, "strerror", str(error))
        ) from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    twice = sorted({line for line in lines if lines.count(line) > 1})
    if twice or not lines:
        raise InputError(
            "expected names, one a line, none twice", where=f"{flag} {name}",
            received=f"'{twice[0]}' more than once" if twice else "nothing",
        )  # fmt: skip
    return lines


def _numbers(text: str | None, flag: str) -> tuple[float, ...]:
    """Return figures such as `0.485,0.456,0.406` or `1/255`."""
    if text is None:
        return ()
    found = []
    for part in text.split(","):
        over, slash, under = part.partition("/")
        try:
            found.append(float(over) / float(under) if slash else float(over))
        except (ValueError, ZeroDivisionError):
            raise InputError("not a figure", where=flag, expected="0.5, 1/255 or a,b,c", received=part[:40]) from None
    return tuple(found)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if found is None or int(found[1]) < 1:
        raise InputError("not a size", where="--size", expected="HEIGHTxWIDTH, such as 224x224", received=text[:40])
    return int(found[1]), int(found[2] or found[1])
