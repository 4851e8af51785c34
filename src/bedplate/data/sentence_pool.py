"""Find tagged sentences wherever they are (files, folders and archives) and read them into one pool of rows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bedplate.codecs.delimited import decode_text
from bedplate.codecs.files import inside_archive, is_archive, walk
from bedplate.codecs.sentence import SentenceCodec
from bedplate.codecs.sentence_files import JSON_SUFFIXES
from bedplate.core.errors import DataError, InputError, PayloadError, did_you_mean, listing
from bedplate.data.conll import Sentence, as_bio, marks_entities, read_conll, read_json_sentences
from bedplate.data.download import Announce
from bedplate.data.official import refuse
from bedplate.data.tables import counted
from bedplate.recipe.schema import DataSpec

SPLITS = {
    "train": "train", "training": "train",
    "dev": "validation", "testa": "validation", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testb": "test", "testing": "test",
}  # fmt: skip
"""What parts of files' names say of their split."""

_LONG = 100
"""A file of one sentence with more words lacks its empty lines."""

_CHECKER = SentenceCodec((), "")
"""Says whether a list is a sentence; its words are never asked."""


@dataclass
class SentencePool:
    """Tagged sentences before they are split.

    `splits` is "train", "validation" or "test" for each, or None where the source has no official ones; `marked` is
    whether the tags mark entities; `bad` maps what was skipped to its fault.
    """

    name: str
    sentences: list[Sentence]
    splits: list[str] | None
    marked: bool
    notes: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)


def read_sentence_pool(spec: DataSpec, base: Path, announce: Announce) -> SentencePool:
    """Return the sentences that `spec` names; relative paths start from `base`.

    Raises:
        DataError: no such source, no sentences in it, or faulty ones (the first is named) unless `on_bad_row` is
            "skip".
    """
    files = _named(spec, base) if spec.files is not None else _found(base / _path(spec.source or ""))
    parts: dict[str, list[Sentence]] = {}
    for split, (where, data) in files.items():
        announce(f"reading sentences from {where}")
        parts[split] = _read(where, data, spec)
        if len(parts[split]) == 1 and len(parts[split][0].words) > _LONG and not _is_json(where):
            raise DataError(
                "no empty line was found, so all of the file is one sentence", where=where,
                expected="an empty line behind each sentence",
                received=f"{len(parts[split][0].words):,} words in a row",
            )  # fmt: skip
    marked = marks_entities(parts["train"])
    notes: list[str] = []
    if marked:
        notes += as_bio([one for part in parts.values() for one in part if one.fault is None])
    for part in parts.values():
        for one in part:
            try:
                one.fault = one.fault or (_CHECKER.sentence_of(one.words) and None)
            except PayloadError as error:
                one.fault = error.message
    bad = {one.place: one.fault for part in parts.values() for one in part if one.fault is not None}
    refuse(bad, spec, files["train"][0], notes, "sentence")
    kept = [(split, one) for split, part in parts.items() for one in part if one.fault is None]
    if not kept:
        first = next((f"{place}: {fault}" for place, fault in bad.items()), None)
        form = "an object with words and tags a line" if _is_json(files["train"][0]) else "a word and its tag a line"
        raise DataError(
            "no sentences", where=files["train"][0], expected=form,
            received=f"{counted(len(bad), 'sentence')} at fault; the first is {first}" if first else None,
        )  # fmt: skip
    return SentencePool(
        Path(files["train"][0]).name.partition(".")[0], [one for _, one in kept],
        [split for split, _ in kept] if len(parts) > 1 else None, marked, notes, bad,
    )  # fmt: skip


def _path(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def _named(spec: DataSpec, base: Path) -> dict[str, tuple[str, bytes]]:
    """Return each split's file, by name and content; it may lie in an archive."""
    assert spec.files is not None
    found = {}
    for split, text in spec.files.model_dump().items():
        if text is None:
            continue
        path = base / _path(text)
        packed = inside_archive(path)
        if packed is None and not path.is_file():
            raise DataError(
                "no such file", where=f"data.files.{split}", expected="a file, or ARCHIVE.zip/its/member", received=text
            )
        found[split] = (text, path.read_bytes()) if packed is None else (text, _member(*packed, text))
    return found


def _member(archive: Path, name: str, text: str) -> bytes:
    try:
        members = {member.name: member for member in walk(archive)}
    except InputError as error:
        raise DataError(error.what, where=error.where, received=error.received) from error
    if name not in members:
        raise DataError(
            "the archive has no such file", where=text, expected=listing(members), hint=did_you_mean(name, members)
        )
    if members[name].fault:
        raise DataError(str(members[name].fault), where=text)
    return members[name].data


def _found(source: Path) -> dict[str, tuple[str, bytes]]:
    """Return the files of a source by split: one file, or a folder or archive whose files' names say their split."""
    if not source.exists():
        raise DataError("no such file, folder or archive", where="data.source", received=str(source))
    if source.is_file() and not is_archive(source):
        return {"train": (source.name, source.read_bytes())}
    named: dict[str, list[tuple[str, bytes]]] = {}
    for member in walk(source):
        split = split_of(member.name)
        if split is not None:
            named.setdefault(split, []).append((member.name, member.data))
    several = {split: files for split, files in named.items() if len(files) > 1}
    if several or "train" not in named:
        split, files = next(iter(several.items()), ("train", []))
        raise DataError(
            f"{'several files' if files else 'no file'} for the {split} split", where=str(source),
            expected="one file whose name says train, and at most one each that say dev (or testa) and test",
            received=listing(name for name, _ in files) if files else None,
            hint="name them in data.files: {train: ARCHIVE.zip/its/member, …}",
        )  # fmt: skip
    return {split: files[0] for split, files in named.items()}


def split_of(name: str) -> str | None:
    """Return the split that a file's name says, or None."""
    words = re.split(r"[^a-z0-9]+", PurePosixPath(name).name.lower())
    said = {SPLITS[word] for word in words if word in SPLITS}
    return said.pop() if len(said) == 1 else None


def _is_json(where: str) -> bool:
    return where.lower().endswith(JSON_SUFFIXES)


def _read(where: str, data: bytes, spec: DataSpec) -> list[Sentence]:
    text = decode_text(data, spec.encoding, where)
    if _is_json(where):
        return read_json_sentences(text, where, spec.text.column, spec.target)
    return read_conll(text, where, spec.comment)
