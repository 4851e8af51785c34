"""What is minimised: one training objective a file."""

from bedplate.objectives import crf, cross_entropy, perceptron, quantile, squared_error
from bedplate.objectives.registry import Losses, Objective, Step, objectives

__all__ = [
    "Losses",
    "Objective",
    "Step",
    "crf",
    "cross_entropy",
    "objectives",
    "perceptron",
    "quantile",
    "squared_error",
]
