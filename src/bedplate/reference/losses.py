"""Losses: one number that says how wrong the answers are, and its derivative by them, with which `backward` begins.

`forward(answers, targets)` returns the mean over the rows; `backward()` returns ∂L/∂answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from bedplate.core.errors import InputError
from bedplate.reference.layer import Array, expect


class Loss(ABC):
    """What training makes small."""

    @abstractmethod
    def forward(self, answers: Array, targets: np.ndarray) -> float:
        """Return the loss."""

    @abstractmethod
    def backward(self) -> Array:
        """Return ∂L/∂answers of the last `forward`."""


def softmax(scores: Array) -> Array:
    """Return p_k = e^s_k / Σ_j e^s_j a row; subtracting the largest score first changes nothing but the overflow."""
    powers: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    p: Array = powers / powers.sum(axis=1, keepdims=True)
    return p


def one_hot(targets: np.ndarray, classes: int) -> Array:
    """Return [rows, classes] with a one at each row's class.

    Raises:
        InputError: a target is no class.
    """
    expect(targets, ("rows",), "targets")
    if targets.dtype.kind not in "iu" or (len(targets) and not 0 <= targets.min() <= targets.max() < classes):
        raise InputError(
            "targets that are no class", where="targets", expected=f"whole numbers 0 to {classes - 1}",
            received=f"{targets.dtype}, from {targets.min()} to {targets.max()}",
        )  # fmt: skip
    rows: Array = np.eye(classes)[targets]
    return rows


class SoftmaxCrossEntropy(Loss):
    """L = −mean log p_y, the surprise at the right class y, with p the softmax of the scores.

    Softmax and logarithm together have the simplest gradient there is, ∂L/∂s = (p − one-hot(y)) / rows: what was said
    minus what was true. Source: Bridle 1990; Bishop 2006, "Pattern Recognition and Machine Learning", eq. 4.109.
    """

    def __init__(self) -> None:
        self.p, self.truth = np.zeros((0, 0)), np.zeros((0, 0))

    def forward(self, answers: Array, targets: np.ndarray) -> float:
        """Take scores [rows, classes] and classes [rows]; return the mean cross-entropy in nats."""
        expect(answers, (len(targets), "classes"), "SoftmaxCrossEntropy.forward")
        self.p, self.truth = softmax(answers), one_hot(targets, answers.shape[1])
        shifted = answers - answers.max(axis=1, keepdims=True)  # log p without a logarithm of zero
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(-(self.truth * log_p).sum(axis=1).mean())

    def backward(self) -> Array:
        """Return (p − one-hot(y)) / rows."""
        return (self.p - self.truth) / len(self.p)


class MeanSquaredError(Loss):
    """L = mean (a − t)² over all numbers; ∂L/∂a = 2 (a − t) / how many."""

    def __init__(self) -> None:
        self.difference = np.zeros(0)

    def forward(self, answers: Array, targets: np.ndarray) -> float:
        """Take answers and targets of one shape; return the mean squared error."""
        expect(answers, targets.shape, "MeanSquaredError.forward")
        self.difference = answers - targets
        return float((self.difference**2).mean())

    def backward(self) -> Array:
        """Return 2 (a − t) / how many."""
        return 2 * self.difference / self.difference.size


class PerceptronCriterion(Loss):
    """L = mean max(0, max_{j≠y} s_j − s_y): how far the best wrong class is ahead of the right one.

    Only rows that are answered wrongly have a gradient, +1 at the class that won and −1 at the one that should have;
    through a dense layer that is the perceptron rule of `perceptron.py`. Source: Crammer and Singer 2003.
    """

    def __init__(self) -> None:
        self.gradient = np.zeros((0, 0))

    def forward(self, answers: Array, targets: np.ndarray) -> float:
        """Take scores [rows, classes] and classes [rows]; return the mean criterion."""
        expect(answers, (len(targets), "classes"), "PerceptronCriterion.forward")
        truth = one_hot(targets, answers.shape[1])
        rivals = np.where(truth == 1, -np.inf, answers)
        best = rivals.argmax(axis=1)
        behind = rivals.max(axis=1) - (answers * truth).sum(axis=1)
        wrong = (behind > 0)[:, None]
        self.gradient = wrong * (one_hot(best, answers.shape[1]) - truth) / len(answers)
        return float(np.maximum(behind, 0).mean())

    def backward(self) -> Array:
        """Return ∂L/∂scores."""
        return self.gradient
