"""How good vectors are, by labels: do a row's nearest neighbours among the other rows have its label?

Every row asks once, the other judged rows answer, and nearness is the cosine. So a figure depends on which rows are
judged together, and compares only with others on the same rows.

- `recall_at_1`: the share of rows whose nearest neighbour has their label (that is, the accuracy of 1-NN, each row left
  out in turn); `recall_at_10`: with such a one among the ten nearest (Jégou et al. 2011, "Product Quantization for
  Nearest Neighbor Search", section V-A);
- `precision_at_10`: the share of the ten nearest that have the row's label;
- `knn_accuracy`: the share of rows whose label is the commonest of the ten nearest, the nearer one where two tie.
"""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 10
EMBEDDINGS = ("recall_at_1", "recall_at_10", "precision_at_10", "knn_accuracy")
_CELLS = 20_000_000
"""Similarities that are held at once."""


def nearest(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest other rows by cosine, the nearest first, and their cosines: [N, count] twice.

    Args:
        vectors: [N, D], finite; a vector of zeros is equally far from all.
        count: of neighbours, below N.
    """
    wide = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(lengths > 0, lengths, 1)
    rows = len(unit)
    index, cosines = np.empty((rows, count), np.int64), np.empty((rows, count), np.float32)
    step = max(1, _CELLS // rows)
    for start in range(0, rows, step):
        near = unit[start : start + step] @ unit.T
        own = np.arange(len(near))
        near[own, own + start] = -np.inf
        some = np.sort(np.argpartition(-near, count - 1, axis=1)[:, :count], axis=1)
        found = np.take_along_axis(near, some, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        index[start : start + step] = np.take_along_axis(some, order, axis=1)
        cosines[start : start + step] = np.take_along_axis(found, order, axis=1)
    return index, cosines


class EmbeddingFacts:
    """Per-row facts of an encoder's vectors.

    Args:
        vectors: [N, D], two rows at least.
        targets: class indices [N].
    """

    def __init__(self, vectors: np.ndarray, targets: np.ndarray) -> None:
        self.targets = np.asarray(targets, np.int64)
        self.rows = len(self.targets)
        self.near, self.cosines = nearest(vectors, min(NEIGHBOURS, self.rows - 1))
        labels = self.targets[self.near]
        same = labels == self.targets[:, None]
        self.hits = same[:, 0].astype(np.float64)
        self._figures = dict(
            zip(
                EMBEDDINGS,
                (
                    self.hits, same.any(axis=1).astype(np.float64), same.mean(axis=1),
                    (commonest(labels) == self.targets).astype(np.float64),
                ),
                strict=True,
            )
        )  # fmt: skip

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric, [R] each, under weights [R,N]: of the rows that ask, not of those that answer."""
        total = weights.sum(axis=1)
        return {name: weights @ rows / total for name, rows in self._figures.items()}


def commonest(labels: np.ndarray) -> np.ndarray:
    """Return each row's commonest label [N] of [N, k], the one that stands first where several are as common."""
    times = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    picked: np.ndarray = np.take_along_axis(labels, times.argmax(axis=1)[:, None], axis=1)[:, 0]
    return picked
