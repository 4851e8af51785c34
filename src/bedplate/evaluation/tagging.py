"""Judge tags of words: entities found and missed, counted as the CoNLL script `conlleval` counts them.

An entity is right where its first word, its last word and its type are. `precision`, `recall` and `f1` are of the
entities of all types together; `token_accuracy` is the share of words with the right tag; `sentence_accuracy` that of
sentences without a mistake. Where nothing was found, or nothing was there, shares are 0.

Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task", section 2.4.
"""

from __future__ import annotations

import numpy as np

from bedplate.codecs.tags import TagSet
from bedplate.evaluation.metrics import share


class TaggingFacts:
    """Per-sentence facts of a tagger's answers.

    Args:
        answers: tags' numbers [N, L]; what stands beyond a row's end isn't looked at.
        targets: the true ones [N, L]; -1 beyond a row's end.
        tags: what the numbers mean.
    """

    def __init__(self, answers: np.ndarray, targets: np.ndarray, tags: TagSet) -> None:
        there = targets >= 0
        answers = np.where(there, answers, -1)
        self.rows, self.types = len(targets), tags.types
        self.answers, self.targets = answers, targets
        self.words = there.sum(axis=1).astype(np.float64)
        self.right = ((answers == targets) & there).sum(axis=1).astype(np.float64)
        found, truth = tags.entities(answers), tags.entities(targets)
        both = self._common(found, truth)
        self.found, self.truth, self.both = (self._counts(entities) for entities in (found, truth, both))

    def _common(self, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
        longest = self.targets.shape[1] + 1
        codes = [
            ((entities[:, 0] * longest + entities[:, 1]) * longest + entities[:, 2]) * len(self.types) + entities[:, 3]
            for entities in (found, truth)
        ]
        return found[np.isin(codes[0], codes[1], assume_unique=True)]

    def _counts(self, entities: np.ndarray) -> np.ndarray:
        """Return how many entities of each type each sentence has, float64 [N, types]."""
        kinds = len(self.types)
        counts = np.bincount(entities[:, 0] * kinds + entities[:, 3], minlength=self.rows * kinds)
        return counts.reshape(self.rows, kinds).astype(np.float64)

    @property
    def counts(self) -> np.ndarray:
        """Each sentence's entities that are right, found and true, float64 [N, 3]."""
        return np.stack([part.sum(axis=1) for part in (self.both, self.found, self.truth)], axis=1)

    @property
    def mistakes(self) -> np.ndarray:
        """Each sentence's entities that were missed or wrongly found, [N]."""
        both, found, truth = self.counts.T
        return np.asarray(found + truth - 2 * both)

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R, N]; `by_type` has precision, recall and F1 [R, 3, types]."""
        both, found, truth = (weights @ part for part in (self.both, self.found, self.truth))
        return {
            **entity_scores(both.sum(axis=1), found.sum(axis=1), truth.sum(axis=1)),
            "token_accuracy": weights @ self.right / (weights @ self.words),
            "sentence_accuracy": weights @ (self.right == self.words) / weights.sum(axis=1),
            "by_type": np.stack(list(entity_scores(both, found, truth).values()), axis=1),
        }


def entity_scores(both: np.ndarray, found: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of counts: entities that are right, that were found, and that are true."""
    return {"precision": share(both, found), "recall": share(both, truth), "f1": share(2 * both, found + truth)}
