"""Pseudo-labels: the classes that a network is sure of, taken as the truth for the next training.

Lee, "Pseudo-Label" (ICML workshop 2013): hard labels of the rows whose largest probability reaches a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bedplate.core.arrays import Arrays, predict_in_batches
from bedplate.core.hashing import array_digest
from bedplate.models import Network, predictor


@dataclass(frozen=True)
class PseudoLabels:
    """Taken rows.

    Attributes:
        rows: indices of the rows without labels, ascending (int64).
        classes: their classes (int64).
        probabilities: of those classes (float32).
    """

    rows: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """The SHA-256 of which rows have which classes."""
        return array_digest(np.stack([self.rows, self.classes]))


def pseudo_labels(probabilities: np.ndarray, threshold: float, shares: np.ndarray | None = None) -> PseudoLabels:
    """Return the rows whose largest probability reaches the threshold, with their classes.

    Args:
        probabilities: [rows, classes].
        threshold: the least probability.
        shares: the labelled rows' share of each class [classes]: no class then gets more than its share of all rows
            that reach the threshold, the surest first. None: no such cap.
    """
    classes = probabilities.argmax(1).astype(np.int64)
    sure = probabilities[np.arange(len(classes)), classes]
    rows = np.flatnonzero(sure >= threshold).astype(np.int64)
    if shares is not None:
        most = np.ceil(shares * len(rows)).astype(np.int64)
        kept = [
            own[np.argsort(-sure[own], kind="stable")[: most[label]]]
            for label in range(len(most))
            for own in [rows[classes[rows] == label]]
        ]
        rows = np.sort(np.concatenate(kept)).astype(np.int64)
    return PseudoLabels(rows, classes[rows], sure[rows].astype(np.float32))


def label(network: Network, features: Arrays, threshold: float, shares: np.ndarray | None = None) -> PseudoLabels:
    """Return the rows of `features` that a network is sure of; see `pseudo_labels`."""
    answers = predict_in_batches(predictor(network), features)
    return pseudo_labels(answers["probabilities"], threshold, shares)
