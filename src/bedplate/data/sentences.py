"""Load tagged sentences as a `Dataset`: leak-free splits, and words and letters learnt on training rows alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import TEXT
from bedplate.codecs.sentence import MOST_ALPHABET, TOKENS, UNKNOWN, SentenceCodec
from bedplate.codecs.tags import OUTSIDE, TagSet
from bedplate.codecs.words import END, joined
from bedplate.core.errors import DataError, listing
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes
from bedplate.data.conll import Sentence
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.official import divide, told_overlaps
from bedplate.data.profile import text_profile
from bedplate.data.sentence_pool import SentencePool, read_sentence_pool
from bedplate.data.splits import check_rows, duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.recipe.schema import DataSpec, TextSpec

MOST_KNOWN = 50_000
"""How many words are known at most where the recipe doesn't say."""

LEAST = 2
"""A word that is seen fewer times is unknown, so that what to do with unknown words is learnt."""

_EXAMPLES = 12
_SAID = ("train", "validation", "test")


def load_sentences(spec: DataSpec, seed: int, *, base: Path, announce: Announce) -> Dataset:
    """Return the sentences that `spec` names; see `bedplate.data.load.load_dataset` for the arguments."""
    _check(spec)
    pool = read_sentence_pool(spec, base, announce)
    rows = pool.sentences
    check_rows(len(rows), pool.name)
    texts = np.empty(len(rows), object)
    texts[:] = [joined(one.words) for one in rows]
    keys = np.asarray(row_digests({TEXT: texts}), dtype=object)
    rest = OUTSIDE if pool.marked else None
    told = np.array(["some" if any(tag != rest for tag in one.tags) else "none" for one in rows], object)
    splits = None if pool.splits is None else np.array(pool.splits, object)
    parts, split_notes = divide(keys, told, splits, spec.split, seed, "sentences")
    parts["train"] = parts["train"][limit_rows(told[parts["train"]], spec.limit, seed)]
    tags = TagSet(_tags(pool, parts))
    every = {name: _rows(texts, rows, index, tags) for name, index in parts.items()}
    codec, facts = fit_codec([rows[k] for k in parts["train"]], spec.text)
    codec = replace(codec, encoding=spec.encoding, comment=spec.comment)
    announce(facts)
    shared = overlaps(*(keys[parts[name]].tolist() for name in _SAID))
    notes = [*pool.notes, *split_notes, facts, _unknown(codec, every)]
    notes += told_overlaps(shared, "sentence")
    entities = tags.entities(every["train"].targets)
    profile = text_profile(
        rows={name: len(part) for name, part in every.items()},
        labels=dict(zip(tags.types, np.bincount(entities[:, 3], minlength=len(tags.types)).tolist(), strict=True)),
        characters=np.array([len(text) for text in every["train"].inputs[TEXT]]),
        duplicates=duplicates(keys.tolist()),
        overlap=shared,
        skipped=list(pool.bad.items()),
        examples=_examples(every["train"], tags, entities),
    )
    schema = {
        "kind": "sentence", "tags": list(tags.tags), "vocabulary": len(codec.words), "alphabet": len(codec.alphabet),
        "official_splits": splits is not None,
    }  # fmt: skip
    answers = Answers("tag", tags=tags.tags, transitions=_numbers(tags.rules()))
    return Dataset(
        pool.name, codec, answers, every["train"], every["validation"], every["test"], schema, profile,
        _fingerprint(pool, keys), split_fingerprint(*(keys[parts[name]].tolist() for name in _SAID)), tuple(notes),
    )  # fmt: skip


def _check(spec: DataSpec) -> None:
    if spec.split.by != "random":
        raise DataError(
            f"sentences are not split by {spec.split.by}", where="data.split.by", expected="random",
            hint="or give files for train, validation and test",
        )  # fmt: skip
    for name in ("tokens", "length"):
        if getattr(spec.text, name) is not None:
            raise DataError(
                "a sentence's words are its tokens, and all of them are read", where=f"data.text.{name}",
                hint="leave it out",
            )  # fmt: skip


def _tags(pool: SentencePool, parts: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Return the training sentences' tags, O first, each type's B before its I."""
    known, others = (
        {tag for name in names for k in parts[name] for tag in pool.sentences[k].tags}
        for names in (("train",), ("validation", "test"))
    )
    if len(known) < 2:
        raise DataError(
            "only one tag: there is nothing to tell apart", where=pool.name, expected="words with at least 2 tags",
            received=listing(known),
        )  # fmt: skip
    # A split may go on with what the training split only begins.
    if pool.marked:
        known |= {f"B-{tag[2:]}" for tag in known if tag != OUTSIDE}
        known |= {tag for tag in others if tag[:2] == "I-" and f"B-{tag[2:]}" in known}
    if others - known:
        raise DataError(
            "tags that the training split lacks", where=pool.name, expected=f"only {listing(sorted(known))}",
            received=listing(sorted(others - known)), hint="give training sentences with them, or remove them",
        )  # fmt: skip
    order = sorted(known, key=lambda tag: (tag != OUTSIDE, tag[2:] if pool.marked else "", tag))
    return tuple(order)


def _rows(texts: np.ndarray, sentences: list[Sentence], index: np.ndarray, tags: TagSet) -> Rows:
    """Return rows with their tags' numbers, int16 [N, words]; -1 beyond a row's end."""
    codes = {tag: k for k, tag in enumerate(tags.tags)}
    own = [sentences[k] for k in index]
    targets = np.full((len(own), max((len(one.tags) for one in own), default=1)), -1, np.int16)
    for k, one in enumerate(own):
        targets[k, : len(one.tags)] = [codes[tag] for tag in one.tags]
    return Rows({TEXT: texts[index]}, targets, [one.place for one in own])


def fit_codec(sentences: list[Sentence], spec: TextSpec) -> tuple[SentenceCodec, str]:
    """Return the codec of training sentences, and what was learnt in a sentence."""
    codec = SentenceCodec((), "", spec.lower, column=spec.column or TEXT)
    words = Counter(codec.spelt(word) for one in sentences for word in one.words)
    letters = Counter(letter for one in sentences for word in one.words for letter in word)
    kept = [word for word, times in words.most_common(spec.size or MOST_KNOWN) if times >= LEAST]
    alphabet = "".join(letter for letter, _ in letters.most_common(MOST_ALPHABET))
    sizes = [len(one.words) for one in sentences]
    median, longest = int(np.median(sizes)), max(sizes)
    return SentenceCodec(tuple(kept), alphabet, spec.lower, column=spec.column or TEXT), (
        f"{len(kept):,} of {len(words):,} words and {len(alphabet)} of {len(letters)} letters are known; "
        f"{median} words in the median sentence, {longest} in the longest"
    )


def _unknown(codec: SentenceCodec, every: dict[str, Rows]) -> str:
    tokens = codec.number(every["test"].inputs)[TOKENS]
    return f"{(tokens == UNKNOWN).sum() / max(1, (tokens != 0).sum()):.1%} of the test sentences' words are unknown"


def _examples(rows: Rows, tags: TagSet, entities: np.ndarray) -> list[tuple[str, str]]:
    """Return the types and texts of the first entities of each type, with their sentences."""
    found = []
    for kind, name in enumerate(tags.types):
        for row, first, behind, _ in entities[entities[:, 3] == kind][:2].tolist():
            words = str(rows.inputs[TEXT][row]).split(END)
            own, start = " ".join(words[first:behind]), max(0, first - 4)
            found.append((name, " ".join([*words[start:first], f"[{own}]", *words[behind:]])))
    return found[: 2 * _EXAMPLES]


def _numbers(transitions: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, transitions.tolist()))


def with_counted_transitions(dataset: Dataset) -> Dataset:
    """Return a tagger's dataset whose answers count which tags follow which in the training sentences."""
    answers = dataset.answers
    counted = answers.tag_set.counted(np.asarray(dataset.train.targets, np.int64))
    return replace(dataset, answers=replace(answers, transitions=_numbers(counted)))


def _fingerprint(pool: SentencePool, keys: np.ndarray) -> str:
    return fingerprint(
        {
            "kind": "sentences",
            "keys": sha256_bytes("\n".join(keys.tolist()).encode()),
            "tags": sha256_bytes("\n".join(" ".join(one.tags) for one in pool.sentences).encode()),
        }
    )
