"""Weights of a text model mean nothing beside another tokenizer: whoever starts from them must have the same one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bedplate.bundle import Bundle
from bedplate.core.errors import InputError
from bedplate.core.hashing import fingerprint
from bedplate.models.checkpoints import is_checkpoint
from bedplate.stages.work import Work

KEY = "tokens"
"""In a safetensors file's metadata: the fingerprint of which number stands for which token."""


def token_facts(work: Work) -> dict[str, str]:
    """Return what goes into the metadata of weights: which tokens their numbers mean. Nothing where there are none."""
    tokens = _tokens_of(work.dataset.codec)
    return {} if tokens is None else {KEY: tokens}


def check_tokens(work: Work, path: Path) -> None:
    """Refuse weights whose tokens are others than the data's; where it isn't known, they are taken.

    Args:
        work: whose data have a tokenizer, or none.
        path: a bundle, a run with a bundle, or a safetensors file.

    Raises:
        InputError: the same number stands for another token there.
    """
    own = _tokens_of(work.dataset.codec)
    theirs = None if own is None or is_checkpoint(path) else _tokens_at(path)
    if theirs is not None and theirs != own:
        raise InputError(
            "these weights learnt other tokens than the data has", where=f"training.start.weights: {path}",
            expected="the tokenizer that they were trained with",
            received="one with the same numbers for other tokens, learnt on other texts",
            hint="learn it on the same training texts (the same data, data.split.seed and data.text), or name one "
            "tokenizer for both (data.text.tokenizer)",
        )  # fmt: skip


def _tokens_of(codec: Any) -> str | None:
    tokenizer = getattr(codec, "tokenizer", None)
    return fingerprint(dict(tokenizer["model"])) if isinstance(tokenizer, Mapping) else None


def _tokens_at(path: Path) -> str | None:
    for inside in (path / "bundle", path):
        if (inside / "manifest.json").is_file():
            return _tokens_of(Bundle.open(inside).codec)
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "numpy") as file:
            return (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError):  # who reads the weights says what is wrong with them
        return None
