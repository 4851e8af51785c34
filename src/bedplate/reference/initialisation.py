"""How weights begin: random, and of a size that keeps signals from fading or growing layer by layer.

`shape` is a weight's: [outputs, inputs] of a dense layer, [outputs, inputs, height, width] of a convolution. One output
sums fan_in = inputs · height · width products, so weights of variance 1/fan_in keep the variance of what flows forward,
and weights of variance 1/fan_out that of the gradients flowing back.
"""

from __future__ import annotations

import math

import numpy as np

from bedplate.reference.layer import Array


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out): how many inputs an output sees, and how many outputs an input reaches."""
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw from U(−a, a) with a = √(6 / (fan_in + fan_out)): for sigmoid and tanh.

    The variance is 2 / (fan_in + fan_out), halfway between both wishes. Source: Glorot and Bengio 2010, eq. 16.
    """
    bound = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-bound, bound, shape)


def he_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw from N(0, 2 / fan_in): for ReLU, which silences half of what it sees. Source: He et al. 2015, eq. 10."""
    return rng.normal(0.0, math.sqrt(2 / fans(shape)[0]), shape)
