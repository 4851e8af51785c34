"""Load texts with their answers as a `Dataset`: rows of a text, a separator, its answer and an end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import END, PAD, SEPARATOR, TEXT, TOKENS, UNKNOWN
from bedplate.codecs.language import LanguageCodec
from bedplate.codecs.text_learning import learn_tokenizer
from bedplate.core.errors import DataError
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.language_spec import of_language
from bedplate.data.official import divide
from bedplate.data.pair_pool import PairPool, read_pair_pool
from bedplate.data.profile import pair_profile
from bedplate.data.splits import check_rows, duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.recipe.schema import DataSpec, TextSpec

SIZES = {"word": 20_000, "character": 1_000, "bpe": 6_000}
"""How many tokens are learnt where the recipe doesn't say, of texts and answers together."""

LONGEST = 512
"""Tokens of a row at most where the recipe doesn't say."""

MARKS = ("[SEP]", "[END]")


def load_pairs(spec: DataSpec, seed: int, *, base: Path, announce: Announce) -> Dataset:
    """Return the texts with answers that `spec` names; see `bedplate.data.load.load_dataset` for the arguments."""
    spec = of_language(spec)
    if spec.split.by != "random":
        raise DataError(
            f"texts are not split by {spec.split.by}", where="data.split.by", expected="random",
            hint="or give files for train, validation and test",
        )  # fmt: skip
    if spec.text.tokenizer is not None:
        raise DataError(
            "texts with answers learn their own tokens", where="data.text.tokenizer",
            hint="leave it out; data.text.tokens and data.text.size say how they are learnt",
        )  # fmt: skip
    pool = read_pair_pool(spec, base, announce)
    check_rows(len(pool.texts), pool.name)
    keys = np.asarray(row_digests({TEXT: pool.texts}), dtype=object)
    alike = np.full(len(keys), "", dtype=object)
    parts, notes = divide(keys, alike, pool.splits, spec.split, seed, "pairs")
    parts["train"] = parts["train"][limit_rows(None, spec.limit, seed, rows=len(parts["train"]))]
    codec, rows, facts = fit_pairs(pool, parts, spec.text)
    announce(facts)
    shared = overlaps(*(keys[parts[name]].tolist() for name in ("train", "validation", "test")))
    notes = [*pool.notes, *notes, facts]
    for name, count in shared.items():
        if count:
            left, right = name.split("_in_")
            notes.append(f"overlap: {count} {left} texts also lie in the {right} split")
    train = parts["train"]
    profile = pair_profile(
        rows={name: len(part) for name, part in rows.items()},
        characters=(_lengths(pool.texts[train]), _lengths(pool.answers[train])),
        names=(pool.column, pool.target), duplicates=duplicates(keys.tolist()), overlap=shared,
        skipped=list(pool.bad.items()),
        examples=list(zip(pool.texts[train[:6]].tolist(), pool.answers[train[:6]].tolist(), strict=True)),
    )  # fmt: skip
    schema = {
        "kind": "pair", "column": pool.column, "target": pool.target, "length": codec.length,
        "vocabulary": codec.vocabulary, "official_splits": pool.splits is not None,
    }  # fmt: skip
    both = "\n".join(f"{one}\0{other}" for one, other in zip(pool.texts.tolist(), pool.answers.tolist(), strict=True))
    return Dataset(
        pool.name, codec, Answers.of_language([len(piece) for piece in codec.pieces]), rows["train"],
        rows["validation"], rows["test"], schema, profile,
        fingerprint({"kind": "pairs", "rows": sha256_bytes(both.encode()), "tokens": codec.contract()["tokenizer"]}),
        split_fingerprint(*(keys[parts[name]].tolist() for name in ("train", "validation", "test"))), tuple(notes),
    )  # fmt: skip


def _lengths(texts: np.ndarray) -> np.ndarray:
    return np.array([len(text) for text in texts.tolist()])


def fit_pairs(
    pool: PairPool, parts: dict[str, np.ndarray], spec: TextSpec
) -> tuple[LanguageCodec, dict[str, Rows], str]:
    """Return the codec of the training rows, the rows of each split, and what was learnt in a sentence.

    Rows that are too long lose the ends of their texts first, then of their answers; so many are told.
    """
    kind = spec.tokens or "bpe"
    train = parts["train"]
    learnt = [*pool.texts[train].tolist(), *pool.answers[train].tolist()]
    size = spec.size or SIZES.get(kind, 300)  # `learn_tokenizer` refuses the kinds that aren't there
    tokenizer = learn_tokenizer(learnt, kind=kind, size=size, lower=spec.lower, lossless=True, marks=MARKS)
    codec = LanguageCodec(tokenizer, LONGEST, True, pool.column, pairs=True)
    texts, answers = codec.tokens_of_each(pool.texts), codec.tokens_of_each(pool.answers)
    sizes = np.array([len(one) + len(other) + 2 for one, other in zip(texts, answers, strict=True)])
    # Half as much room again: what is asked later may be longer than what was learnt.
    length = spec.length or int(min(LONGEST, 8 * np.ceil(1.5 * sizes[train].max() / 8)))
    if length < 4:
        raise DataError(
            "nothing is left of a text and its answer", where="data.text.length", expected="4 tokens or more",
            received=str(length),
        )  # fmt: skip
    unknown = float(np.mean([UNKNOWN in row for k in train for row in (texts[k], answers[k])]))
    codec = LanguageCodec(tokenizer, length, unknown > 0, pool.column, pairs=True)
    rows = {name: _rows(texts, answers, index, length, pool) for name, index in parts.items()}
    cut = int((sizes > length).sum())
    facts = (
        f"{codec.vocabulary:,} tokens ({kind}) for texts and answers alike; {int(np.median(sizes[train]))} in "
        f"the median pair, {length} at most" + (f"; {cut:,} pairs are longer and were cut" if cut else "")
    )
    return codec, rows, facts


def _rows(texts: list[np.ndarray], answers: list[np.ndarray], index: np.ndarray, length: int, pool: PairPool) -> Rows:
    """Return rows of tokens, with the token that follows each where it is of the answer, else -1."""
    made = []
    for k in index.tolist():
        one, other = texts[k], answers[k]
        room = max(1, length - 1 - min(len(other), length // 2))  # the answer may have half of it in any case
        one = one[:room]
        made.append((len(one), np.concatenate([one, [SEPARATOR], other[: length - len(one) - 1], [END]])))
    width = max(len(row) for _, row in made) - 1
    tokens = np.full((len(made), width), PAD, np.int32)
    targets = np.full((len(made), width), -1, np.int64)
    for number, (read, row) in enumerate(made):
        tokens[number, : len(row) - 1] = row[:-1]
        targets[number, read : len(row) - 1] = row[read + 1 :]
    both = np.stack([pool.texts[index], pool.answers[index]], axis=1)
    return Rows({TOKENS: tokens}, targets, [pool.ids[k] for k in index.tolist()], texts=both)
