"""How far answers moved: one number for what a change of the network or the graph did to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAST = 1e-12
"""Probabilities are taken to be this much at least: float32 rounds some to 0."""

Lost = Callable[[str, int], float]
"""Returns how far answers move once the part of that name has no more than so many channels, or that rank."""


def divergence(reference: np.ndarray, found: np.ndarray) -> float:
    """Return how far answers are from the reference's, 0 or more.

    For probabilities the mean over the rows of KL(reference ‖ found), in nats (Kullback and Leibler 1951); for values
    the mean squared difference as a share of the reference's variance.

    Args:
        reference: [rows, classes] or [rows]; of a tagger [rows, words, tags], whose words' divergences add up.
        found: of the same shape.
    """
    if reference.shape != found.shape:
        raise ValueError(f"answers of {found.shape} can't be compared to {reference.shape}")
    p, q = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if p.ndim == 1:
        return float(((p - q) ** 2).mean() / max(float(p.var()), LEAST))
    p, q = np.maximum(p, LEAST), np.maximum(q, LEAST)
    # The last two terms are 0 for sums of 1; rounded ones would else make it negative.
    return float((p * np.log(p / q) - p + q).reshape(len(p), -1).sum(1).mean())
