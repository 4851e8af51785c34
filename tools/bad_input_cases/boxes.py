"""Bundles that aren't as they were sealed, and inputs that don't fit them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.bad_input_cases.case import Case, Place
from tools.bad_input_cases.images import picture

BUNDLES = "Bundles"
INPUTS = "Inputs to a bundle"
Damage = Callable[[Path], object]


def copied(damage: Damage) -> Callable[[Place], None]:
    """Return what copies the bundle and damages the copy."""

    def build(place: Place) -> None:
        copy = place.folder / "b"
        shutil.copytree(place.digits, copy)
        damage(copy)
        place.bytes("x.png", picture(1))

    return build


def _flip(bundle: Path) -> None:
    file = bundle / "graphs" / "f32.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def _resealed(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and seal it again, as a forger would."""
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_bytes())
    change(manifest)
    sealed = json.dumps(manifest).encode()
    file.write_bytes(sealed)
    (bundle / "BUNDLE_ID").write_text(hashlib.sha256(sealed).hexdigest() + "\n")


def _escape(bundle: Path) -> None:
    _resealed(bundle, lambda manifest: manifest["files"].update({"../x.png": {"sha256": "0" * 64, "size": 1}}))


def _linked(bundle: Path) -> None:
    card = bundle / "MODEL_CARD.md"
    card.rename(bundle.parent / "card.md")
    card.symlink_to("../card.md")


def _edit(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_bytes(file.read_bytes().replace(b'"digits', b'"Digits', 1))


DAMAGES: tuple[tuple[str, Damage, tuple[str, ...]], ...] = (
    ("a flipped bit", _flip, ("isn't the file that was sealed", "take a fresh copy")),
    ("a missing file", lambda b: (b / "reference.json").unlink(), ("missing", "reference.json")),
    ("an extra file", lambda b: (b / "notes.txt").write_text("x"), ("never sealed", "notes.txt")),
    ("a symbolic link", _linked, ("no symbolic links", "MODEL_CARD.md")),
    ("a path with `..`", _escape, ("unsafe path", "../x.png")),
    ("a newer format", lambda b: _resealed(b, lambda m: m.update(format=99)), ("newer", "99", "upgrade")),
    ("an edited manifest", _edit, ("the manifest isn't the one that was sealed", "take a fresh copy")),
    ("an empty manifest", lambda b: (b / "manifest.json").write_bytes(b""), ("manifest",)),
)

_VERBS = {
    "predict": "predict b x.png",
    "serve": "serve b --port 0",
    "monitor": "monitor b --input x.png",
}

_BROKEN = tuple(
    Case(BUNDLES, f"{sent}, to {verb}", words, says, build=copied(damage))
    for sent, damage, says in DAMAGES
    for verb, words in _VERBS.items()
)


def _archive(place: Place, cut: int = 0, text: bytes | None = None) -> None:
    from bedplate.bundle.archive import pack_archive

    packed = pack_archive(place.digits, place.folder / "b.bundle")
    if text is not None:
        packed.write_bytes(text)
    elif cut:
        packed.write_bytes(packed.read_bytes()[:-cut])


def _rows(name: str, text: str) -> Callable[[Place], object]:
    return lambda place: place.text(name, text)


def _picture(data: bytes) -> Callable[[Place], object]:
    return lambda place: place.bytes("x.png", data)


CASES = (
    *_BROKEN,
    Case(BUNDLES, "no such bundle", "predict nowhere x.png", ("nowhere", "no such")),
    Case(BUNDLES, "a folder that is no bundle", "predict f x.png", ("manifest.json", "f"), build=_rows("f/x.txt", "x")),
    Case(BUNDLES, "a run's folder for its bundle", "predict {run} x.png", ("bundle",)),
    Case(BUNDLES, "a file that is no bundle", "predict x.png x.png", ("not a bundle's archive",), build=_picture(picture(1))),
    Case(BUNDLES, "an archive cut short", "predict b.bundle x.png", ("b.bundle", "cut short"), build=lambda place: _archive(place, cut=5000)),
    Case(BUNDLES, "an empty archive", "predict b.bundle x.png", ("b.bundle", "not a bundle's archive"), build=lambda place: _archive(place, text=b"")),
    Case(BUNDLES, "an unknown variant", "predict {digits} x.png --variant int4", ("no variant 'int4'", "f32"), build=_picture(picture(1))),
    Case(BUNDLES, "nothing to serve", "serve", ("nothing to serve",)),
    Case(BUNDLES, "two bundles of one name", "serve {digits} {digits} --port 0", ("two bundles would be served as", "--name NAME=BUNDLE")),
    Case(BUNDLES, "--name without a bundle", "serve --name digits", ("not a NAME=BUNDLE",)),
    Case(BUNDLES, "a port that is no number", "serve {digits} --port http", ("invalid int value: 'http'",)),
    Case(BUNDLES, "a port out of range", "serve {digits} --port 99999", ("99999", "--port")),
    Case(BUNDLES, "an address that isn't here", "serve {digits} --host 203.0.113.1 --port 0", ("can't listen here",)),
    Case(BUNDLES, "a state folder that is a file", "serve {digits} --port 0 --state x.png", ("x.png",), build=_picture(picture(1))),
    Case(INPUTS, "no such file", "predict {digits} nowhere.png", ("no such file", "nowhere.png")),
    Case(INPUTS, "a text for a picture", "predict {digits} x.png", ("x.png", "not an image"), build=_picture(b"hello")),
    Case(INPUTS, "a picture cut short", "predict {digits} x.png", ("x.png", "truncated or damaged"), build=_picture(picture(1, size=(60, 50))[:2000])),
    Case(INPUTS, "nothing on standard input", "predict {digits} -", ("standard input",)),
    Case(INPUTS, "an empty folder", "predict {digits} f", ("nothing to predict",), build=lambda place: (place.folder / "f").mkdir()),
    Case(INPUTS, "an empty folder for a table", "predict {table} f", ("the folder holds no files",), build=lambda place: (place.folder / "f").mkdir()),
    Case(INPUTS, "a table of other columns", "predict {table} x.csv", ("lacks column", "'amount'", "did you mean"), build=_rows("x.csv", "amont,city\n3,Rome\n")),
    Case(INPUTS, "a table without a header, of another width", "predict {table} x.csv", ("3 columns", "give the file a header"), build=_rows("x.csv", "3,Rome,4,5,6\n4,Oslo,4,5,6\n")),
    Case(INPUTS, "a table with a header and no rows", "predict {table} x.csv", ("nothing to predict",), build=_rows("x.csv", "amount,city\n")),
    Case(INPUTS, "text in a column of numbers", "predict {table} x.csv", ("column 'amount'", "a number", "'lots'"), build=_rows("x.csv", "amount,city\n3,Rome\nlots,Rome\n")),
    Case(INPUTS, "infinity in a cell", "predict {table} x.csv", ("column 'amount'", "a finite number", "'inf'"), build=_rows("x.csv", "amount,city\ninf,Rome\n")),
    Case(INPUTS, "NaN in a cell", "predict {table} x.csv", ("x.csv:2",), 0, build=_rows("x.csv", "amount,city\nNaN,Rome\n")),
    Case(INPUTS, "a category that training never saw", "predict {table} x.csv", ("x.csv:2",), 0, build=_rows("x.csv", "amount,city\n70,Atlantis\n")),
    Case(INPUTS, "a ragged row", "predict {table} x.csv", ("x.csv:3", "another number of values"), build=_rows("x.csv", "amount,city\n3,Rome\n4\n5,Oslo\n")),
    Case(INPUTS, "broken JSON", "predict {table} x.jsonl", ("x.jsonl, line 2", "not readable as JSON"), build=_rows("x.jsonl", '{"amount": 3, "city": "Rome"}\n{"amount": \n')),
    Case(INPUTS, "JSON that is no object", "predict {table} -", ("an object with the columns", "received a number"), stdin=b"[1, 2]"),
    Case(INPUTS, "monitor with nothing to look at", "monitor {digits}", ("either --state DIR or --input FILE",)),
    Case(INPUTS, "monitor with two things to look at", "monitor {digits} --state s --input x.png", ("either --state DIR or --input FILE",), build=_picture(picture(1))),
    Case(INPUTS, "monitor with too few rows", "monitor {digits} --input x.png", ("too few",), build=_picture(picture(1))),
    Case(INPUTS, "monitor with a state folder that isn't there", "monitor {digits} --state nowhere", ("nowhere",)),
    Case(INPUTS, "monitor with a picture that isn't one", "monitor {digits} --input x.png", ("not an image",), build=_picture(b"hello")),
)  # fmt: skip
