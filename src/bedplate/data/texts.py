"""Load labelled texts as a `Dataset`: leak-free splits, and a tokenizer learnt on the training rows alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TEXT, TOKENS
from bedplate.codecs.files import natural
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_learning import UNKNOWN_NUMBER, Kind, learn_tokenizer
from bedplate.codecs.text_loading import read_tokenizer
from bedplate.core.errors import DataError, InputError
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.label_sets import apart, as_matrix, check_known, label_balance, label_names, stratum
from bedplate.data.official import balance, check_labels, divide, positive, told_overlaps, told_positive, torn_labels
from bedplate.data.profile import text_profile
from bedplate.data.splits import check_rows, duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.data.text_pool import TextPool, read_text_pool
from bedplate.recipe.schema import DataSpec, TextSpec

LONGEST = 512
"""Where the recipe doesn't say, texts are read up to the length that 95 % of them keep to, and at most this."""

SIZES = {"word": 20_000, "character": 1_000, "bpe": 8_000, "wordpiece": 8_000}
"""How many tokens are learnt where the recipe doesn't say."""

MANY_UNKNOWN = 0.1
"""The share of tokens that the tokenizer doesn't know from which on people are told what to do."""


def load_texts(
    spec: DataSpec, seed: int, *, base: Path, announce: Announce, vectors: bool = False, several: bool = False
) -> Dataset:
    """Return the texts that `spec` names; see `bedplate.data.load.load_dataset` for the arguments.

    With `vectors` the answer is a vector, whose size isn't known yet (1); the labels are there to judge it by, and to
    slice by. With `several` a row may have any number of labels.
    """
    if spec.split.by != "random":
        raise DataError(
            f"texts are not split by {spec.split.by}", where="data.split.by", expected="random",
            hint="or give files for train, validation and test",
        )  # fmt: skip
    pool = read_text_pool(spec, base, announce, several=several)
    check_rows(len(pool.texts), pool.name)
    sets = [apart(text) for text in pool.labels.tolist()] if several else []
    strata = stratum(sets) if several else pool.labels
    if not several:
        check_labels(pool.labels, pool.splits, pool.name, "texts")
    keys = np.asarray(row_digests({TEXT: pool.texts}), dtype=object)
    parts, split_notes = divide(keys, strata, pool.splits, spec.split, seed, "texts")
    parts["train"] = parts["train"][limit_rows(strata[parts["train"]], spec.limit, seed)]
    if several:
        labels = label_names([sets[row] for row in parts["train"].tolist()], pool.name)
        check_known(sets, labels, pool.name)
        targets = as_matrix(sets, labels)
    else:
        labels = tuple(sorted(set(pool.labels[parts["train"]].tolist()), key=natural))
        codes = {label: k for k, label in enumerate(labels)}
        targets = np.asarray([codes[label] for label in pool.labels.tolist()], np.int64)
    codec, facts = fit_codec(pool.texts[parts["train"]], spec.text, pool.column, base)
    for fact in facts:
        announce(fact)
    every = Rows({TEXT: pool.texts}, targets, pool.ids, {pool.target: pool.labels} if vectors else {})
    rows = {name: every.take(index) for name, index in parts.items()}
    shared = overlaps(*(keys[parts[name]].tolist() for name in ("train", "validation", "test")))
    notes = [*pool.notes, *split_notes, *facts]
    notes += told_overlaps(shared, "text")
    notes += torn_labels(keys, pool.labels, pool.ids, "texts")
    profile = text_profile(
        rows={name: len(part) for name, part in rows.items()},
        labels=(label_balance if several else balance)(rows["train"].targets, labels),
        characters=np.array([len(text) for text in rows["train"].inputs[TEXT]]),
        duplicates=duplicates(keys.tolist()),
        overlap=shared,
        skipped=list(pool.bad.items()),
        examples=_first_of_each(rows["train"], labels),
    )
    schema = {
        "kind": "text", "column": pool.column, "target": pool.target, "labels": list(labels), "length": codec.length,
        "vocabulary": codec.vocabulary, "official_splits": pool.splits is not None,
    }  # fmt: skip
    if vectors:
        answers = Answers(pool.target, dimensions=1)
    elif several:
        answers = Answers(pool.target, many=labels)
    else:
        answers = Answers(pool.target, labels, positive(labels, rows["train"].targets, spec.positive))
        notes += told_positive(labels, rows["train"].targets, answers.positive)
    given = codec.contract()["tokenizer"] if spec.text.tokenizer is not None else None
    return Dataset(
        pool.name, codec, answers, rows["train"],
        rows["validation"], rows["test"], schema, profile, _fingerprint(pool, keys, given),
        split_fingerprint(*(keys[parts[name]].tolist() for name in ("train", "validation", "test"))), tuple(notes),
    )  # fmt: skip


def fit_codec(texts: np.ndarray, spec: TextSpec, column: str, base: Path) -> tuple[TextCodec, list[str]]:
    """Return the codec of training texts, and what was learnt in a sentence; another one where most of them are cut.

    Raises:
        InputError: the recipe's tokenizer can't be read, or adds as many tokens as are read.
    """
    if spec.tokenizer is not None:
        loaded = read_tokenizer(base / Path(os.path.expandvars(spec.tokenizer)).expanduser())
        if spec.length is not None and spec.length <= loaded.added:
            raise InputError(
                "nothing is left of a text", where="data.text.length",
                expected=f"more than the {loaded.added} tokens that the tokenizer adds", received=str(spec.length),
            )  # fmt: skip
        kind, unknown_number = "as given", loaded.unknown
        codec = TextCodec(loaded.rules, 1_000_000, column, loaded.shift)
        least = loaded.added + 1
    else:
        kind, unknown_number, least = spec.tokens or _kind(texts), UNKNOWN_NUMBER, 1
        size = spec.size or SIZES[kind]
        codec = TextCodec(learn_tokenizer(texts.tolist(), kind=kind, size=size, lower=spec.lower), 1_000_000, column)
    tokens = codec.number({TEXT: texts[:: max(1, len(texts) // 5000)]})[TOKENS]
    lengths = (tokens != 0).sum(axis=1)
    length = spec.length or int(min(LONGEST, max(least, np.percentile(lengths, 95))))
    unknown = float((tokens == unknown_number).sum() / max(1, lengths.sum())) if unknown_number is not None else 0.0
    cut = float((lengths > length).mean())
    hint = " (data.text.tokens: bpe knows every text)" if unknown > MANY_UNKNOWN and spec.tokenizer is None else ""
    facts = [
        f"{codec.vocabulary:,} tokens ({kind}), {unknown:.1%} of the training texts' are unknown{hint}; "
        f"{int(np.median(lengths))} in the median text, read up to {length} ({cut:.0%} are cut)"
    ]
    if cut > 0.5:
        whole = int(np.percentile(lengths, 95))
        facts.append(
            f"{cut:.0%} of the training texts are cut, and what stands behind their first {length} tokens isn't "
            f"read; data.text.length: {whole} would read 95 % of them whole, where the model allows, and takes longer"
        )
    return replace(codec, length=length), facts


def _kind(texts: np.ndarray) -> Kind:
    """Words where texts have spaces between them, else byte pairs: Chinese, Japanese or Thai have none."""
    some = texts[:1000].tolist()
    return "word" if sum(text.count(" ") for text in some) > sum(map(len, some)) / 20 else "bpe"


def _first_of_each(rows: Rows, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return two texts of each of the first labels."""
    return [
        (label, str(rows.inputs[TEXT][row]))
        for k, label in enumerate(labels[:12])
        for row in np.flatnonzero(rows.targets[:, k] if rows.targets.ndim > 1 else rows.targets == k)[:2]
    ]


def _fingerprint(pool: TextPool, keys: np.ndarray, tokenizer: Mapping[str, Any] | None) -> str:
    return fingerprint(
        ({"tokenizer": tokenizer} if tokenizer else {})
        | {
            "kind": "texts",
            "classes": dict(sorted(Counter(pool.labels.tolist()).items())),
            "keys": sha256_bytes("\n".join(keys.tolist()).encode()),
            "labels": sha256_bytes("\n".join(pool.labels.tolist()).encode()),
        }
    )
