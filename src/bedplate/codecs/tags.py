"""Tags of words: what entities they mean, which may follow which, and the best sequence by Viterbi's algorithm.

Entities are counted as the CoNLL script `conlleval` does (Tjong Kim Sang and Buchholz 2000): one begins at a B tag, or
at an I tag whose word before has no tag of that type, so that IOB1, IOB2 (BIO) and faulty sequences are all understood.
Where tags are others than O, B-type and I-type, every word is an entity of its own, of the type that its tag names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bedplate.codecs.words import END, split_words

OUTSIDE = "O"
NEVER = -1e4
"""The score of what may not follow, within the range of float16."""


@dataclass(frozen=True)
class TagSet:
    """The tags that words may have, in the order of their numbers; a word that isn't there has the number -1.

    Example:
        >>> tags = TagSet(("O", "B-PER", "I-PER"))
        >>> tags.entities(np.array([[1, 2, 0, 1]])).tolist()  # row, first word, behind the last one, type
        [[0, 0, 2, 0], [0, 3, 4, 0]]
    """

    tags: tuple[str, ...]

    @cached_property
    def marks(self) -> bool:
        """Whether tags mark beginnings (B) and insides (I) of entities; else each names its word's type."""
        return all(tag == OUTSIDE or tag[:2] in ("B-", "I-") for tag in self.tags)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The entities' types, in order."""
        return tuple(sorted({tag[2:] for tag in self.tags if tag != OUTSIDE}) if self.marks else self.tags)

    @cached_property
    def _types(self) -> np.ndarray:
        """Each tag's type by number, and -1 for none; the last entry stands for the tag -1."""
        kinds = [-1 if self.marks and tag == OUTSIDE else self.types.index(self._type(tag)) for tag in self.tags]
        return np.array([*kinds, -1])

    @cached_property
    def _begins(self) -> np.ndarray:
        return np.array([*(not self.marks or tag.startswith("B-") for tag in self.tags), False])

    def _type(self, tag: str) -> str:
        return tag[2:] if self.marks else tag

    def entities(self, codes: np.ndarray) -> np.ndarray:
        """Return the entities of tags' numbers [N, L], int64 [M, 4]: row, first word, behind the last one, type."""
        kinds = self._types[codes]
        before = np.pad(kinds[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        inside = kinds >= 0
        starts = inside & (self._begins[codes] | (before != kinds))
        goes_on = np.pad((inside & ~starts)[:, 1:], ((0, 0), (0, 1)))
        rows, first = np.nonzero(starts)
        _, last = np.nonzero(inside & ~goes_on)
        return np.stack([rows, first, last + 1, kinds[rows, first]], axis=1)

    @cached_property
    def allowed(self) -> np.ndarray:
        """Return which tag may follow which, bool [K + 1, K]; the last row is the sentence's beginning."""
        found = np.ones((len(self.tags) + 1, len(self.tags)), bool)
        if self.marks:
            for k, tag in enumerate(self.tags):
                if tag.startswith("I-"):
                    found[:, k] = self._types == self._types[k]
        return found

    def rules(self) -> np.ndarray:
        """Return transitions that only forbid: 0, or `NEVER` where a tag may not follow, float64 [K + 1, K]."""
        return np.where(self.allowed, 0.0, NEVER)

    def counted(self, codes: np.ndarray) -> np.ndarray:
        """Return the transitions of some sentences' tags, float64 [K + 1, K].

        The logarithm of how much oftener a tag follows another one than it stands anywhere (their pointwise mutual
        information), counts smoothed by one half; what may not follow has `NEVER`.
        """
        size = len(self.tags)
        before = np.pad(codes[:, :-1], ((0, 0), (1, 0)), constant_values=size)
        there = codes >= 0
        pairs = np.bincount(before[there] * size + codes[there], minlength=(size + 1) * size).reshape(size + 1, size)
        smooth = np.where(self.allowed, pairs + 0.5, 0.0)
        each = np.bincount(codes[there], minlength=size) + 0.5
        with np.errstate(divide="ignore"):
            found = np.log(smooth / smooth.sum(axis=1, keepdims=True)) - np.log(each / each.sum())
        return np.where(self.allowed, found, NEVER)


def best_path(scores: np.ndarray, lengths: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Return the tags whose scores and transitions have the greatest sum (Viterbi 1967), int64 [N, L].

    Args:
        scores: of each word's tags [N, L, K], as logarithms.
        lengths: words of each row [N]; -1 is returned beyond.
        transitions: [K + 1, K], the last row from the sentence's beginning.
    """
    rows, longest, size = scores.shape
    found = np.full((rows, longest), -1)
    order = np.argsort(-lengths, kind="stable")
    alive = (lengths[order][:, None] > np.arange(longest)).sum(axis=0)  # rows that have such a word, the longest first
    if not longest or not alive[0]:
        return found
    best = scores[order, 0] + transitions[size]
    came = np.zeros((longest, rows, size), np.int16)
    for step in range(1, int(lengths.max())):
        own = alive[step]
        ways = best[:own, :, None] + transitions[:size]
        came[step, :own] = ways.argmax(axis=1)
        best[:own] = ways.max(axis=1) + scores[order[:own], step]
    tag = best.argmax(axis=1)
    for step in range(int(lengths.max()) - 1, -1, -1):
        own = order[: alive[step]]
        found[own, step] = tag[: alive[step]]
        tag[: alive[step]] = came[step, np.arange(alive[step]), tag[: alive[step]]]
    return found


def decoded(probabilities: np.ndarray, lengths: np.ndarray, transitions: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the best tags of probabilities [N, L, K], int64 [N, L]; -1 beyond each row's words."""
    scores = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12))
    return best_path(scores, np.asarray(lengths), np.asarray(transitions, np.float64))


def tagged(
    probabilities: np.ndarray, sentences: np.ndarray, tags: TagSet, transitions: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Return each sentence's answer: its entities, its words and their tags.

    An entity has its `type`, its `text`, the `words` it spans (first, behind the last one) and, where the sentence was
    a text, its `start` and `end` among the characters.
    """
    texts = [str(sentence) for sentence in sentences.tolist()]
    words = [split_words(text) for text in texts]
    codes = decoded(probabilities, np.array([len(row) for row in words]), transitions)
    found: list[dict[str, Any]] = [
        {"answer": [], "words": [word.text for word in row], "tags": [tags.tags[k] for k in codes[n, : len(row)]]}
        for n, row in enumerate(words)
    ]
    for row, first, behind, kind in tags.entities(codes).tolist():
        own = words[row][first:behind]
        entity: dict[str, Any] = {"type": tags.types[kind], "words": [first, behind]}
        if END in texts[row]:
            entity["text"] = " ".join(word.text for word in own)
        else:
            entity |= {
                "text": texts[row][own[0].start : own[-1].end], "start": own[0].start, "end": own[-1].end,
            }  # fmt: skip
        found[row]["answer"].append(entity)
    return found
