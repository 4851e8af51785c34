"""Gradients without calculus, to check the others by: move each number a little and see what the output does.

    ∂f/∂a_i ≈ (f(a + h e_i) − f(a − h e_i)) / 2h

The error of this central difference is of order h², plus rounding of order 1e-16/h; h = 1e-5 leaves about 1e-10 where
numbers are about 1. It takes two evaluations a number, so it is for checking and not for training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bedplate.reference.layer import Array, Layer


def numerical_gradient(f: Callable[[], float], array: Array, h: float = 1e-5) -> Array:
    """Return ∂f/∂array, of the array's shape. `f` reads `array`, which is changed in place and set back."""
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + h
        above = f()
        array[place] = before - h
        below = f()
        array[place] = before
        gradient[place] = (above - below) / (2 * h)
    return gradient


def gradient_errors(layer: Layer, x: Array, rng: np.random.Generator) -> dict[str, float]:
    """Return the largest difference between `backward` and central differences, for "x" and for every parameter.

    The loss is L = Σ c · y with random weights c, so that every output counts, each differently.
    """
    weights = rng.normal(size=layer.forward(x).shape)

    def loss() -> float:
        return float((layer.forward(x) * weights).sum())

    layer.forward(x)
    found = {"x": layer.backward(weights), **layer.gradients}
    arrays = {"x": x, **layer.parameters}
    return {name: float(np.abs(found[name] - numerical_gradient(loss, arrays[name])).max()) for name in arrays}
