"""Take a tokenizer that was made elsewhere: any tokenizer.json of the `tokenizers` library.

WordPiece, BPE, Unigram and word tables alike; its normaliser, its special tokens and its template come along. How long
texts are and how they are filled up is the codec's business, so what the file says of that is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bedplate.core.errors import InputError, json_kind

FILE = "tokenizer.json"
_PADDING = frozenset({"[PAD]", "<pad>", "[pad]", "<PAD>"})


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer.json as it was read.

    Attributes:
        rules: the file's JSON, without truncation and padding.
        shift: 1 where number 0 is a token like others, so that 0 is free for padding once all are moved; else 0.
        added: how many tokens its template adds to a text.
        unknown: the number (moved by `shift`) that stands for what it doesn't know; None where it knows every text.
    """

    rules: dict[str, Any]
    shift: int
    added: int
    unknown: int | None


def read_tokenizer(path: Path, where: str = "data.text.tokenizer") -> LoadedTokenizer:
    """Read a tokenizer.json, or a folder that holds one.

    Raises:
        InputError: there is none, or the library can't read it.
    """
    file = path / FILE if path.is_dir() else path
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "no tokenizer", where=f"{where}: {file}", expected=f"a {FILE}, or a folder that holds one",
            received=error.strerror or str(error),
            hint="a vocab.txt or a .model file alone isn't read: save the tokenizer in the tokenizers library's form",
        ) from error  # fmt: skip
    except ValueError as error:
        raise InputError("the tokenizer isn't JSON", where=f"{where}: {file}", received=str(error)[:200]) from error
    if not isinstance(written, dict):
        raise InputError("not a tokenizer", where=f"{where}: {file}", received=json_kind(written))
    padded_by = (written.get("padding") or {}).get("pad_id")
    rules = {**written, "truncation": None, "padding": None}
    try:
        found = Tokenizer.from_str(json.dumps(rules))
    except Exception as error:  # the library raises plain Exception
        raise InputError(
            "the tokenizers library can't read this tokenizer", where=f"{where}: {file}", received=str(error)[:200]
        ) from error
    first = found.id_to_token(0)
    shift = 0 if first is None or first in _PADDING or padded_by == 0 else 1
    return LoadedTokenizer(rules, shift, found.num_special_tokens_to_add(False), unknown_number(rules, found, shift))


def unknown_number(rules: Mapping[str, Any], found: Tokenizer, shift: int) -> int | None:
    """Return the number, moved by `shift`, of what a tokenizer doesn't know; None where it knows every text."""
    model = rules.get("model") or {}
    number = model.get("unk_id")
    if number is None and model.get("unk_token") is not None:
        number = found.token_to_id(model["unk_token"])
    return None if number is None else int(number) + shift
