"""Load labelled texts as a `Dataset`: leak-free splits, and a tokenizer learnt on the training rows alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TEXT, TOKENS
from bedplate.codecs.files import natural
from bedplate.codecs.text import TextCodec
from bedplate.codecs.text_learning import UNKNOWN_NUMBER, Kind, learn_tokenizer
from bedplate.core.errors import DataError
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.official import balance, check_labels, divide, positive, torn_labels
from bedplate.data.profile import text_profile
from bedplate.data.splits import check_rows, duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.data.text_pool import TextPool, read_text_pool
from bedplate.recipe.schema import DataSpec, TextSpec

LONGEST = 512
"""Where the recipe doesn't say, texts are read up to the length that 95 % of them keep to, and at most this."""

SIZES = {"word": 20_000, "character": 1_000, "bpe": 8_000, "wordpiece": 8_000}
"""How many tokens are learnt where the recipe doesn't say."""


def load_texts(spec: DataSpec, seed: int, *, base: Path, announce: Announce) -> Dataset:
    """Return the texts that `spec` names; see `bedplate.data.load.load_dataset` for the arguments."""
    if spec.split.by != "random":
        raise DataError(
            f"texts are not split by {spec.split.by}", where="data.split.by", expected="random",
            hint="or give files for train, validation and test",
        )  # fmt: skip
    pool = read_text_pool(spec, base, announce)
    check_rows(len(pool.texts), pool.name)
    check_labels(pool.labels, pool.splits, pool.name, "texts")
    keys = np.asarray(row_digests({TEXT: pool.texts}), dtype=object)
    parts, split_notes = divide(keys, pool.labels, pool.splits, spec.split, seed, "texts")
    parts["train"] = parts["train"][limit_rows(pool.labels[parts["train"]], spec.limit, seed)]
    labels = tuple(sorted(set(pool.labels[parts["train"]].tolist()), key=natural))
    codes = {label: k for k, label in enumerate(labels)}
    targets = np.asarray([codes[label] for label in pool.labels.tolist()], np.int64)
    codec, facts = fit_codec(pool.texts[parts["train"]], spec.text, pool.column)
    announce(facts)
    every = Rows({TEXT: pool.texts}, targets, pool.ids)
    rows = {name: every.take(index) for name, index in parts.items()}
    shared = overlaps(*(keys[parts[name]].tolist() for name in ("train", "validation", "test")))
    notes = [*pool.notes, *split_notes, facts]
    for name, count in shared.items():
        if count:
            left, right = name.split("_in_")
            notes.append(f"overlap: {count} {left} texts also lie in the {right} split")
    notes += torn_labels(keys, pool.labels, pool.ids, "texts")
    profile = text_profile(
        rows={name: len(part) for name, part in rows.items()},
        labels=balance(rows["train"].targets, labels),
        characters=np.array([len(text) for text in rows["train"].inputs[TEXT]]),
        duplicates=duplicates(keys.tolist()),
        overlap=shared,
        skipped=list(pool.bad.items()),
        examples=[(labels[k], text) for k, text in _first_of_each(rows["train"], len(labels))],
    )
    schema = {
        "kind": "text", "column": pool.column, "target": pool.target, "labels": list(labels), "length": codec.length,
        "vocabulary": codec.vocabulary, "official_splits": pool.splits is not None,
    }  # fmt: skip
    return Dataset(
        pool.name, codec, Answers(pool.target, labels, positive(labels, spec.positive)), rows["train"],
        rows["validation"], rows["test"], schema, profile, _fingerprint(pool, keys),
        split_fingerprint(*(keys[parts[name]].tolist() for name in ("train", "validation", "test"))), tuple(notes),
    )  # fmt: skip


def fit_codec(texts: np.ndarray, spec: TextSpec, column: str) -> tuple[TextCodec, str]:
    """Return the codec of training texts, and what was learnt in a sentence."""
    kind = spec.tokens or _kind(texts)
    size = spec.size or SIZES[kind]
    codec = TextCodec(learn_tokenizer(texts.tolist(), kind=kind, size=size, lower=spec.lower), 1_000_000, column)
    tokens = codec.number({TEXT: texts[:: max(1, len(texts) // 5000)]})[TOKENS]
    lengths = (tokens != 0).sum(axis=1)
    length = spec.length or int(min(LONGEST, max(1, np.percentile(lengths, 95))))
    unknown = float((tokens == UNKNOWN_NUMBER).sum() / max(1, lengths.sum()))
    cut = float((lengths > length).mean())
    return TextCodec(codec.tokenizer, length, column), (
        f"{codec.vocabulary:,} tokens ({kind}), {unknown:.1%} of the training texts' are unknown; "
        f"{int(np.median(lengths))} in the median text, read up to {length} ({cut:.0%} are cut)"
    )


def _kind(texts: np.ndarray) -> Kind:
    """Words where texts have spaces between them, else byte pairs: Chinese, Japanese or Thai have none."""
    some = " ".join(texts[:1000].tolist())
    return "word" if some.count(" ") > len(some) / 20 else "bpe"


def _first_of_each(rows: Rows, classes: int) -> list[tuple[int, str]]:
    return [
        (k, str(rows.inputs[TEXT][row]))
        for k in range(min(classes, 12))
        for row in np.flatnonzero(rows.targets == k)[:2]
    ]


def _fingerprint(pool: TextPool, keys: np.ndarray) -> str:
    return fingerprint(
        {
            "kind": "texts",
            "classes": dict(sorted(Counter(pool.labels.tolist()).items())),
            "keys": sha256_bytes("\n".join(keys.tolist()).encode()),
            "labels": sha256_bytes("\n".join(pool.labels.tolist()).encode()),
        }
    )
