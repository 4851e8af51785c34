"""What is minimised: one training objective a file."""

from bedplate.objectives import (
    binary_cross_entropy,
    crf,
    cross_entropy,
    next_token,
    perceptron,
    quantile,
    squared_error,
    supervised_contrastive,
)
from bedplate.objectives.registry import Losses, Objective, Step, objectives

__all__ = [
    "Losses",
    "Objective",
    "Step",
    "binary_cross_entropy",
    "crf",
    "cross_entropy",
    "next_token",
    "objectives",
    "perceptron",
    "quantile",
    "squared_error",
    "supervised_contrastive",
]
