"""The perceptron rule: where it all began, before gradients.

A perceptron answers sign(w·x + b). It learns from its mistakes alone: for a row x with label t (−1 or +1) that it gets
wrong, t (w·x + b) ≤ 0,

    w ← w + t x        b ← b + t

which turns w towards the rows it missed. If some unit vector separates all rows with a margin γ, and no row is longer
than R, the rule makes at most (R/γ)² mistakes, in whatever order the rows come, and then none ever again; if the rows
can't be separated by a plane, it never settles. Sources: Rosenblatt 1958, "The perceptron"; Novikoff 1962.
"""

from __future__ import annotations

import numpy as np

from bedplate.core.errors import InputError
from bedplate.reference.layer import Array, expect


class Perceptron:
    """A linear threshold unit.

    Args:
        inputs: size of a row; `weight` [inputs] and `bias` begin at zero, a draw counts as a mistake.
    """

    def __init__(self, inputs: int) -> None:
        self.weight = np.zeros(inputs)
        self.bias = 0.0

    def scores(self, x: Array) -> Array:
        """Map [rows, inputs] to w·x + b [rows]."""
        expect(x, ("rows", len(self.weight)), "Perceptron.scores")
        return x @ self.weight + self.bias

    def predict(self, x: Array) -> Array:
        """Map [rows, inputs] to labels −1 or +1 [rows]."""
        return np.where(self.scores(x) > 0, 1, -1)

    def learn(self, x: Array, labels: np.ndarray) -> int:
        """Go once through the rows in order, applying the rule; return how many were answered wrongly."""
        expect(x, (len(labels), len(self.weight)), "Perceptron.learn")
        if not np.isin(labels, (-1, 1)).all():
            raise InputError("labels that the perceptron doesn't know", where="Perceptron.learn", expected="-1 or +1")
        mistakes = 0
        for row, label in zip(x, labels, strict=True):
            if label * (self.weight @ row + self.bias) <= 0:
                self.weight = self.weight + label * row
                self.bias += float(label)
                mistakes += 1
        return mistakes

    def fit(self, x: Array, labels: np.ndarray, epochs: int = 1000) -> list[int]:
        """Repeat `learn` until a pass without mistakes, or `epochs` passes; return each pass's mistakes."""
        history: list[int] = []
        while len(history) < epochs and (not history or history[-1]):
            history.append(self.learn(x, labels))
        return history
