"""The perceptron: linear threshold units, trained by the perceptron rule.

Source: Rosenblatt 1958, "The Perceptron"; the multi-class form is in Crammer and Singer 2003. Its objective is
`perceptron`, whose gradient is the rule itself: only rows that are answered wrongly move the weights.
"""

from __future__ import annotations

from torch import nn

from bedplate.core.errors import InputError
from bedplate.models.linear import Linear
from bedplate.models.registry import Inputs, Outputs, models


@models.register("perceptron")
def perceptron(inputs: Inputs, outputs: Outputs) -> nn.Module:
    """Return one linear unit a class. Its scores rank the classes; their softmax is not a calibrated probability."""
    if not outputs.classes:
        raise InputError("a perceptron separates classes", where="model.name", hint="use 'linear' for a number")
    return Linear(inputs, outputs)
