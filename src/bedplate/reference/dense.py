"""The dense layer, and two that have no parameters: flatten and dropout."""

from __future__ import annotations

import math

import numpy as np

from bedplate.reference.initialisation import he_normal
from bedplate.reference.layer import Array, Layer, expect


class Dense(Layer):
    """y = x Wᵀ + b: every output is a weighted sum of all inputs.

    From ∂y_j/∂W_ji = x_i, ∂y_j/∂b_j = 1 and ∂y_j/∂x_i = W_ji, summed over the rows of the batch:

        ∂L/∂W = gᵀ x        ∂L/∂b = Σ_rows g        ∂L/∂x = g W        with g = ∂L/∂y

    Args:
        inputs: size of a row.
        outputs: units.
        rng: draws the weight [outputs, inputs] by He's rule; the bias [outputs] is zero.
    """

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.parameters = {"weight": he_normal((outputs, inputs), rng), "bias": np.zeros(outputs)}
        self.x = np.zeros((0, inputs))

    def forward(self, x: Array) -> Array:
        """Map [rows, inputs] to [rows, outputs]."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        expect(x, ("rows", weight.shape[1]), "Dense.forward")
        self.x = x
        return x @ weight.T + bias

    def backward(self, gradient: Array) -> Array:
        """Map ∂L/∂y [rows, outputs] to ∂L/∂x [rows, inputs]."""
        weight = self.parameters["weight"]
        expect(gradient, (len(self.x), weight.shape[0]), "Dense.backward")
        self.gradients = {"weight": gradient.T @ self.x, "bias": gradient.sum(axis=0)}
        return gradient @ weight


class Flatten(Layer):
    """Lay all axes but the rows end to end: a map becomes a vector, and its gradient folds back."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = (0,)

    def forward(self, x: Array) -> Array:
        """Map [rows, …] to [rows, size]."""
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient: Array) -> Array:
        """Map [rows, size] back to [rows, …]."""
        expect(gradient, (self.shape[0], math.prod(self.shape[1:])), "Flatten.backward")
        return gradient.reshape(self.shape)


class Dropout(Layer):
    """y = x · m / (1 − p), with m drawn anew for every number: 0 with probability p, else 1; y = x outside training.

    Dividing keeps the expected value, so nothing need change when training ends. ∂L/∂x = g · m / (1 − p).
    Source: Srivastava et al. 2014, "Dropout", in its inverted form.

    Args:
        share: p, at least 0 and below 1.
        rng: draws the masks.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.share, self.rng = share, rng
        self.mask = np.zeros(0)

    def forward(self, x: Array) -> Array:
        """Return x with a share of its numbers at zero, or in use x itself."""
        self.mask = np.ones(x.shape)
        if self.training:
            self.mask = (self.rng.random(x.shape) >= self.share) / (1 - self.share)
        return x * self.mask

    def backward(self, gradient: Array) -> Array:
        """Pass the gradient where the input was kept."""
        expect(gradient, self.mask.shape, "Dropout.backward")
        return gradient * self.mask
