"""Judge sets of labels: which of them a row was given, beside those that it has.

`precision`, `recall` and `f1` are of all rows' labels together (micro); `macro_f1` is the mean F1 of the single labels
that some row has or was given; `subset_accuracy` the share of rows whose set is right to the last label;
`hamming_loss` the share of single decisions that are wrong; `auprc` the mean over the labels of their average
precision; `log_loss` the mean binary cross-entropy of a decision. Labels without a row are left out of `auprc`. Names
and definitions are scikit-learn's, and the tests compare them. Tsoumakas and Katakis 2007, "Multi-Label Classification:
An Overview".
"""

from __future__ import annotations

import numpy as np

from bedplate.codecs.answers import chosen_labels
from bedplate.evaluation.metrics import Ranking, share
from bedplate.evaluation.tagging import entity_scores


class LabelSetFacts:
    """Per-row facts of answers that are sets of labels.

    Args:
        probabilities: of each label [N,K], 0 to 1 each.
        targets: 1 where a row has a label [N,K].
    """

    def __init__(self, probabilities: np.ndarray, targets: np.ndarray) -> None:
        scores = np.asarray(probabilities, np.float64)
        self.rows, self.labels = scores.shape
        self.truth = np.asarray(targets).astype(np.float64)
        self.found = chosen_labels(scores).astype(np.float64)
        self.both = self.found * self.truth
        self.wrong = np.abs(self.found - self.truth).sum(axis=1)
        clipped = np.clip(scores, 1e-7, 1 - 1e-7)  # float32 holds nothing nearer to 1
        self.losses = -(self.truth * np.log(clipped) + (1 - self.truth) * np.log(1 - clipped)).mean(axis=1)
        ranked = [k for k in range(self.labels) if self.truth[:, k].sum() > 0]
        self._rankings = [Ranking.of(scores[:, k], self.truth[:, k] > 0) for k in ranked]

    @property
    def counts(self) -> np.ndarray:
        """Each row's labels that are right, found and true, float64 [N, 3]."""
        return np.stack([part.sum(axis=1) for part in (self.both, self.found, self.truth)], axis=1)

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric but `auprc`, [R] each, under weights [R, N].

        `by_label` has precision, recall and F1 [R, 3, K].
        """
        both, found, truth = (weights @ part for part in (self.both, self.found, self.truth))
        total = weights.sum(axis=1)
        scores = np.stack(list(entity_scores(both, found, truth).values()), axis=1)
        appears = (found + truth) > 0
        return {
            **entity_scores(both.sum(axis=1), found.sum(axis=1), truth.sum(axis=1)),
            "macro_f1": share(scores[:, 2].sum(axis=1), appears.sum(axis=1)),
            "subset_accuracy": share(weights @ (self.wrong == 0), total),
            "hamming_loss": share(weights @ self.wrong, total * self.labels),
            "log_loss": share(weights @ self.losses, total),
            "by_label": scores,
        }

    def ranking(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return `auprc` [R]; NaN where no label has a row. It costs a pass a label."""
        areas = np.stack([one.areas(weights)[1] for one in self._rankings]) if self._rankings else np.empty((0, 1))
        there = ~np.isnan(areas)
        with np.errstate(invalid="ignore"):
            return {"auprc": np.where(there, areas, 0).sum(axis=0) / there.sum(axis=0)}
