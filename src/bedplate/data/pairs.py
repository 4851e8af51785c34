"""Load texts with their answers as a `Dataset`: rows of a text, a separator, its answer and an end."""

from __future__ import annotations

from dataclasses import replace
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
from bedplate.data.official import divide, told_overlaps
from bedplate.data.pair_pool import PairPool, read_pair_pool
from bedplate.data.profile import pair_profile
from bedplate.data.splits import check_rows, duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.data.tables import counted
from bedplate.data.talk_pool import read_talk_pool
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
    if spec.text.template is not None and spec.text.messages is None:
        raise DataError(
            "only talks have a template", where="data.text.template", hint="name their column as data.text.messages"
        )
    pool = (read_pair_pool if spec.text.messages is None else read_talk_pool)(spec, base, announce)
    check_rows(len(pool.texts), pool.name)
    keys = np.asarray(row_digests({TEXT: pool.texts}), dtype=object)
    alike = np.full(len(keys), "", dtype=object)
    # Of a talk all rows lie in one split; talks that only begin alike may lie in several, and the overlap is told.
    together = keys if pool.talks is None else pool.talks.keys
    parts, notes = divide(together, alike, pool.splits, spec.split, seed, "pairs")
    parts["train"] = parts["train"][limit_rows(None, spec.limit, seed, rows=len(parts["train"]))]
    codec, rows, facts = fit_pairs(pool, parts, spec.text)
    announce(facts)
    texts = {name: part.texts for name, part in rows.items() if part.texts is not None}
    seen = [row_digests({TEXT: texts[name][:, 0]}) for name in ("train", "validation", "test")]
    shared = overlaps(*seen)
    notes = [*pool.notes, *notes, facts]
    notes += told_overlaps(shared, "text")
    profile = pair_profile(
        rows={name: len(part) for name, part in rows.items()},
        characters=(_lengths(texts["train"][:, 0]), _lengths(texts["train"][:, 1])),
        names=(pool.column, pool.target), duplicates=duplicates(keys.tolist()), overlap=shared,
        skipped=list(pool.bad.items()),
        examples=[(one, other) for one, other in texts["train"][:6].tolist()],
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
        split_fingerprint(*seen), tuple(notes),
    )  # fmt: skip


def _lengths(texts: np.ndarray) -> np.ndarray:
    return np.array([len(text) for text in texts.tolist()])


def fit_pairs(
    pool: PairPool, parts: dict[str, np.ndarray], spec: TextSpec
) -> tuple[LanguageCodec, dict[str, Rows], str]:
    """Return the codec of the training rows, the rows of each split, and what was learnt in a sentence.

    Talks that are too long lose their oldest messages, other rows the ends of their texts first, then of their answers;
    how many do is told.
    """
    kind = spec.tokens or "bpe"
    train, talks = parts["train"], pool.talks
    # A talk's last row holds all that was said before it, so that each message counts once.
    whole = train if talks is None else np.array(list({talks.keys[k]: k for k in train.tolist()}.values()))
    learnt = [*pool.texts[whole].tolist(), *pool.answers[whole].tolist()]
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
    codec, told = replace(codec, length=length), ""
    if talks is not None:
        longest = max(len(answers[k]) for k in train.tolist())
        codec = replace(codec, template=talks.template, reserved=min(longest, length // 2))
        pool, texts, told = _fitted(codec, pool, texts)
        sizes = np.array([len(one) + len(other) + 2 for one, other in zip(texts, answers, strict=True)])
    unknown = any(UNKNOWN in row for k in train.tolist() for row in (texts[k], answers[k]))
    codec = replace(codec, unknown=unknown)
    rows = {name: _rows(codec, texts, answers, index, pool) for name, index in parts.items()}
    cut = int((sizes > length).sum())
    facts = (
        f"{codec.vocabulary:,} tokens ({kind}) for texts and answers alike; {int(np.median(sizes[train]))} in "
        f"the median pair, {length} at most{told}" + (f"; {cut:,} pairs are longer and were cut" if cut else "")
    )
    return codec, rows, facts


def _fitted(codec: LanguageCodec, pool: PairPool, texts: list[np.ndarray]) -> tuple[PairPool, list[np.ndarray], str]:
    """Return the pool and its texts' tokens without the messages that don't fit, as serving has them, and how many."""
    assert pool.talks is not None
    shown, tokens, dropped = pool.texts.copy(), list(texts), list[int]()
    for k in range(len(texts)):
        if len(texts[k]) > codec.room:
            shown[k], count = codec.fitted(pool.talks.turns[k])
            tokens[k] = codec.tokens_of(shown[k])
            dropped += [count] if count else []
    told = (
        f"; the oldest messages before {counted(len(dropped), 'answer')} don't fit and were left out, "
        f"{sum(dropped):,} in all"
    )
    return replace(pool, texts=shown), tokens, told if dropped else ""


def _rows(
    codec: LanguageCodec, texts: list[np.ndarray], answers: list[np.ndarray], index: np.ndarray, pool: PairPool
) -> Rows:
    """Return rows of tokens, with the token that follows each where it is of the answer, else -1."""
    made, length = [], codec.length
    least = 1 if codec.template is None else codec.room  # a talk is read as it is served, whatever is answered
    for k in index.tolist():
        one, other = texts[k], answers[k]
        room = max(least, length - 1 - min(len(other), length // 2))  # the answer may have half of it in any case
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
