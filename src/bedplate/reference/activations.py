"""Activation functions: without a nonlinearity between them, two dense layers would be one.

Each is applied to every number by itself, so the chain rule is a product: ∂L/∂x = ∂L/∂y · f′(x). All three derivatives
can be written with the output y alone, which is what the layers keep.
"""

from __future__ import annotations

import numpy as np

from bedplate.reference.layer import Array, Layer, expect


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^−x), without overflow: e is only raised to numbers that aren't positive."""
    small: Array = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)


class Sigmoid(Layer):
    """y = 1 / (1 + e^−x), between 0 and 1; y′ = y (1 − y), at most ¼, so that many in a row let gradients fade."""

    def __init__(self) -> None:
        super().__init__()
        self.y = np.zeros(0)

    def forward(self, x: Array) -> Array:
        """Return the sigmoid of every number."""
        self.y = sigmoid(x)
        return self.y

    def backward(self, gradient: Array) -> Array:
        """Return ∂L/∂x = g · y (1 − y)."""
        expect(gradient, self.y.shape, "Sigmoid.backward")
        return gradient * self.y * (1 - self.y)


class Tanh(Layer):
    """y = tanh x, between −1 and 1, and zero at zero; y′ = 1 − y²."""

    def __init__(self) -> None:
        super().__init__()
        self.y = np.zeros(0)

    def forward(self, x: Array) -> Array:
        """Return the hyperbolic tangent of every number."""
        self.y = np.tanh(x)
        return self.y

    def backward(self, gradient: Array) -> Array:
        """Return ∂L/∂x = g · (1 − y²)."""
        expect(gradient, self.y.shape, "Tanh.backward")
        return gradient * (1 - self.y**2)


class ReLU(Layer):
    """y = max(0, x); y′ = 1 above zero, 0 elsewhere and, by convention, at zero. Source: Nair and Hinton 2010."""

    def __init__(self) -> None:
        super().__init__()
        self.y = np.zeros(0)

    def forward(self, x: Array) -> Array:
        """Return the positive part of every number."""
        self.y = np.maximum(x, 0)
        return self.y

    def backward(self, gradient: Array) -> Array:
        """Return ∂L/∂x = g where x was positive, else 0."""
        expect(gradient, self.y.shape, "ReLU.backward")
        return gradient * (self.y > 0)
