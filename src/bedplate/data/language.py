"""Load plain texts as a `Dataset` of windows: what is read, and the token that follows each of its tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import NEVER, TOKENS, UNKNOWN
from bedplate.codecs.files import natural
from bedplate.codecs.language import LanguageCodec, chunks
from bedplate.codecs.text_learning import learn_tokenizer
from bedplate.codecs.text_loading import read_tokenizer
from bedplate.core.errors import DataError, InputError
from bedplate.core.hashing import array_digest, fingerprint
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.language_spec import of_language
from bedplate.data.language_tables import is_text_table, read_rows
from bedplate.data.profile import language_profile
from bedplate.data.tables import counted
from bedplate.recipe.schema import DataSpec, TextSpec

CONTEXT = 256
"""Tokens that a model sees at once where the recipe doesn't say."""

SIZES = {"word": 20_000, "character": 1_000, "bpe": 4_000}
"""How many tokens are learnt where the recipe doesn't say."""

ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>")
"""How the token that ends a text is called by those that make tokenizers."""

ENDINGS = (".txt", ".text", ".md", ".rst", ".tex")
"""How files of text are called, of which a folder's are read."""


def load_language(spec: DataSpec, *, base: Path, announce: Announce) -> Dataset:
    """Return the texts that `spec` names as windows; see `bedplate.data.load.load_dataset` for the arguments."""
    spec = of_language(spec)
    _check_spec(spec)
    texts, name, notes = read_parts(spec, base, announce)
    codec, tokens, facts = fit_language_codec(texts["train"], spec.text, base)
    notes.append(facts)
    announce(facts)
    parts = {split: tokens if split == "train" else codec.tokens_of(text) for split, text in texts.items()}
    rows = {split: windows(part, codec.length, split, name) for split, part in parts.items()}
    if spec.limit is not None:
        rows["train"] = rows["train"].take(slice(0, spec.limit))
    if len(rows["train"]) < 2:
        raise _short(name, "train", codec.length, 2 * codec.length + 1)
    if "test" not in rows:
        rows["test"] = rows["validation"]
        notes.append("there is no test part: the part that chose the best epoch is judged, as the literature has it")
    return Dataset(
        name, codec, Answers.of_language([len(piece) for piece in codec.pieces]), rows["train"], rows["validation"],
        rows["test"],
        {"kind": "language", "length": codec.length, "vocabulary": codec.vocabulary},
        language_profile({split: len(one) for split, one in rows.items()}, len(tokens), texts["train"]),
        fingerprint({"kind": "language", "texts": {s: array_digest(one.targets) for s, one in rows.items()}}),
        fingerprint({split: [len(one), one.ids[0]] for split, one in rows.items()}),
        tuple(notes),
    )  # fmt: skip


def _check_spec(spec: DataSpec) -> None:
    if spec.split.folds is not None:
        raise DataError("a text has no folds", where="data.split.folds", hint="leave data.split.folds out")
    if spec.split.by != "random":  # what nobody has set; a text is cut at its end in any case
        raise DataError(
            f"a text is not split by {spec.split.by}", where="data.split.by", expected="nothing: its end is set aside"
        )


def read_parts(spec: DataSpec, base: Path, announce: Announce) -> tuple[dict[str, str], str, list[str]]:
    """Return the text of each split (train, validation and, unless it is 0, test), the data's name, and notes.

    Of files without official splits the end of each is set aside, first for validation and then for the test. A table
    is the texts of one of its columns, the same in all files.

    Raises:
        DataError: no such file, one that is empty or no text, or a table without the column.
    """
    if spec.files is not None:
        given = {split: text for split, text in spec.files.model_dump().items() if text is not None}
        paths = {split: _found(base, text) for split, text in given.items()}
        notes, texts, chosen = list[str](), dict[str, str](), spec
        for split, path in paths.items():
            if is_text_table(path):
                texts[split], column, said = read_rows(path, chosen)
                chosen = spec.model_copy(update={"text": spec.text.model_copy(update={"column": column})})
                notes.append(f"{split}: {said}")
            else:
                texts[split] = "".join(read_text(file) for file in _plain(path, spec))
        name = _name(paths["train"])
        for split, share in (("test", spec.split.test), ("validation", spec.split.validation)):
            if split not in texts and share:
                texts["train"], texts[split] = _cut(texts["train"], share)
                notes.append(f"no official {split} text: the last {share:.0%} of the training text was set aside")
        return texts, name, notes
    assert spec.source is not None
    path = _found(base, spec.source)
    if is_text_table(path):
        whole, _, said = read_rows(path, spec)
        announce(said)
        parts, notes = [whole], [said]
    else:
        files = _plain(path, spec)
        announce(f"reading {counted(len(files), 'text')} from {path}")
        parts = [read_text(file) for file in files]
        notes = [f"{counted(len(files), 'text')}, of which the end of each is set aside"] if len(files) > 1 else []
    found: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for text in parts:
        begin = int(len(text) * (1 - spec.split.validation - spec.split.test))
        end = int(len(text) * (1 - spec.split.test))
        for split, part in zip(found, (text[:begin], text[begin:end], text[end:]), strict=True):
            found[split].append(part)
    if not spec.split.test:
        del found["test"]
    return {split: "".join(own) for split, own in found.items()}, _name(path), notes


def _cut(text: str, share: float) -> tuple[str, str]:
    border = int(len(text) * (1 - share))
    return text[:border], text[border:]


def _plain(path: Path, spec: DataSpec) -> list[Path]:
    """Return the files of plain text at a path. Raises DataError where the recipe names a column of them."""
    if spec.text.column is not None:
        raise DataError(
            "a plain text has no columns", where="data.text.column", received=spec.text.column,
            expected="a table (CSV, TSV, JSON lines or Parquet), by its name", hint="leave it out",
        )  # fmt: skip
    return files_of(path)


def _found(base: Path, text: str) -> Path:
    path = base / Path(os.path.expandvars(text)).expanduser()
    if not path.exists():
        raise DataError(
            "no such file or folder of texts", where="data", received=text,
            hint="name a plain text in UTF-8, or a folder of them",
        )  # fmt: skip
    return path


def _name(path: Path) -> str:
    return path.resolve().name.partition(".")[0] or "text"


def files_of(path: Path) -> list[Path]:
    """Return the path itself, or the texts below a folder in natural order. Raises DataError where it has none."""
    if path.is_file():
        return [path]
    found = [file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()]
    if not found:
        raise DataError(
            "no texts in the folder", where=str(path), expected=f"files ending in {', '.join(ENDINGS)}",
            hint="of tables name one as data.source, or each split's in data.files",
        )  # fmt: skip
    return sorted(found, key=lambda file: natural(str(file.relative_to(path))))


def read_text(path: Path) -> str:
    """Return a file's text. Raises DataError where it is empty, holds NULs, or is no UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError("can't be read", where=str(path), received=error.strerror or str(error)) from error
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if not raw.strip():
        raise DataError("the text is empty", where=str(path), received=f"{len(raw)} bytes")
    if b"\0" in raw:
        raise DataError(
            "this is no plain text", where=str(path), expected="UTF-8",
            received=f"a NUL at byte {raw.index(0)}", hint="UTF-16 and binary files aren't read: save it as UTF-8",
        )  # fmt: skip
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            "the text is not UTF-8", where=str(path), received=f"byte 0x{raw[error.start]:02x} at {error.start}",
            hint="save it as UTF-8",
        ) from error  # fmt: skip


def fit_language_codec(text: str, spec: TextSpec, base: Path) -> tuple[LanguageCodec, np.ndarray, str]:
    """Return the codec of a training text, the text's tokens, and what was learnt in a sentence."""
    if spec.tokenizer is not None:
        told = [key for key in ("tokens", "size") if getattr(spec, key) is not None] + ["lower"] * spec.lower
        if told:
            raise DataError(
                "a tokenizer made elsewhere is taken as it is", where=f"data.text.{told[0]}", hint="leave it out"
            )
        codec = read_language_tokenizer(base / Path(os.path.expandvars(spec.tokenizer)).expanduser(), spec.length)
        tokens = codec.tokens_of(text)
        each = len(text.encode()) / max(1, len(tokens))
        facts = f"{codec.vocabulary - codec.shift:,} tokens (as given) of {each:.2f} bytes each"
        return codec, tokens, f"{facts}; {codec.length} are seen at once"
    kind = spec.tokens or "character"
    size = spec.size or SIZES.get(kind, 300)  # `learn_tokenizer` refuses the kinds that aren't there
    length = spec.length or CONTEXT
    tokenizer = learn_tokenizer(chunks(text), kind=kind, size=size, lower=spec.lower, lossless=True)
    tokens = LanguageCodec(tokenizer, length).tokens_of(text)
    unknown = float((tokens == UNKNOWN).mean())
    codec = LanguageCodec(tokenizer, length, unknown > 0)
    each = len(text.encode()) / max(1, len(tokens))
    share = f", {unknown:.1%} of the training text's are unknown" if unknown else ""
    facts = f"{codec.vocabulary:,} tokens ({kind}) of {each:.2f} bytes each{share}; {length} are seen at once"
    return codec, tokens, facts


def read_language_tokenizer(path: Path, length: int | None) -> LanguageCodec:
    """Return the codec of a tokenizer.json made elsewhere, which must spell every text by its bytes, as GPT-2's does.

    Raises:
        InputError: it can't be read, or its tokens side by side don't give a text again.
    """
    loaded = read_tokenizer(path)
    decoder = (loaded.rules.get("decoder") or {}).get("type")
    if loaded.rules["model"].get("type") != "BPE" or decoder != "ByteLevel" or loaded.rules.get("normalizer"):
        raise InputError(
            "this tokenizer's tokens don't spell texts", where=f"data.text.tokenizer: {path}",
            expected="byte-level BPE without a normaliser, as GPT-2's",
            received=f"{loaded.rules['model'].get('type')}, decoder {decoder}",
        )  # fmt: skip
    rules = {**loaded.rules, "post_processor": None}  # a window begins anywhere: nothing is put before or behind it
    numbers = {str(one["content"]): int(one["id"]) for one in rules.get("added_tokens") or ()}
    ends = [numbers[name] for name in ENDS if name in numbers]
    shift = len(NEVER)
    return LanguageCodec(rules, length or CONTEXT, shift=shift, ending=ends[0] + shift if ends else None)


def windows(tokens: np.ndarray, length: int, split: str, name: str) -> Rows:
    """Return a text's windows of `length` tokens, one after the other; what is left over at its end isn't read.

    Raises:
        DataError: it is shorter than one window and the token behind it.
    """
    count = (len(tokens) - 1) // length
    if count < 1:
        raise _short(name, split, length, length + 1, len(tokens))
    used = count * length
    inputs = {TOKENS: tokens[:used].reshape(count, length)}
    targets = tokens[1 : used + 1].reshape(count, length).astype(np.int64)
    return Rows(inputs, targets, _ids(split, count, length))


def _ids(split: str, count: int, length: int) -> Sequence[str]:
    return [f"{split}, token {k * length:,}" for k in range(count)]


def _short(name: str, split: str, length: int, least: int, tokens: int | None = None) -> DataError:
    return DataError(
        f"the {split} text is shorter than a window", where=name, expected=f"{least:,} tokens or more",
        received=f"{tokens:,} tokens" if tokens is not None else f"one window of {length:,}",
        hint="give more text, or lower data.text.length",
    )  # fmt: skip
