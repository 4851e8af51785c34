"""Optimisers: what turns a gradient g into a step of the parameters θ, which are changed in place.

`step(parameters, gradients)` takes arrays by name. What an optimiser remembers lies in its own arrays of those names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from bedplate.reference.layer import Array

Named = Mapping[str, Array]


class Optimizer(ABC):
    """What moves parameters."""

    @abstractmethod
    def step(self, parameters: Named, gradients: Named) -> None:
        """Move every parameter, in place."""


class SGD(Optimizer):
    """θ ← θ − η g: a small step downhill. Source: Robbins and Monro 1951.

    Args:
        lr: the learning rate η.
    """

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr

    def step(self, parameters: Named, gradients: Named) -> None:
        """Move every parameter against its gradient."""
        for name, parameter in parameters.items():
            parameter -= self.lr * gradients[name]


class Momentum(Optimizer):
    """v ← μ v + g,  θ ← θ − η v: steps that agree grow, steps that contradict each other cancel.

    With `nesterov` the step is g + μ v, the gradient as if looked up one step ahead. Sources: Polyak 1964; Sutskever et
    al. 2013, "On the importance of initialization and momentum in deep learning".

    Args:
        lr: the learning rate η.
        momentum: μ, the share of the last velocity that is kept.
        nesterov: look ahead.
    """

    def __init__(self, lr: float = 0.05, momentum: float = 0.9, nesterov: bool = False) -> None:
        self.lr, self.momentum, self.nesterov = lr, momentum, nesterov
        self.velocity: dict[str, Array] = {}

    def step(self, parameters: Named, gradients: Named) -> None:
        """Update the velocities, and move every parameter by its own."""
        for name, parameter in parameters.items():
            g = gradients[name]
            v = self.momentum * self.velocity.get(name, np.zeros_like(g)) + g
            self.velocity[name] = v
            parameter -= self.lr * (g + self.momentum * v if self.nesterov else v)


class Adam(Optimizer):
    """A step of about η for every number, whatever the size of its gradients.

        m ← β₁ m + (1 − β₁) g          running mean of the gradient
        v ← β₂ v + (1 − β₂) g²         running mean of its square
        θ ← θ − η m̂ / (√v̂ + ε)         with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)

    The hats undo the start at zero. Source: Kingma and Ba 2015, algorithm 1.

    Args:
        lr: η.
        beta1: β₁.
        beta2: β₂.
        epsilon: ε, against division by zero.
    """

    def __init__(self, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self.lr, self.beta1, self.beta2, self.epsilon = lr, beta1, beta2, epsilon
        self.steps = 0
        self.mean: dict[str, Array] = {}
        self.square: dict[str, Array] = {}

    def step(self, parameters: Named, gradients: Named) -> None:
        """Update both running means, and move every parameter."""
        self.steps += 1
        for name, parameter in parameters.items():
            g = gradients[name]
            m = self.beta1 * self.mean.get(name, np.zeros_like(g)) + (1 - self.beta1) * g
            v = self.beta2 * self.square.get(name, np.zeros_like(g)) + (1 - self.beta2) * g**2
            self.mean[name], self.square[name] = m, v
            m_hat = m / (1 - self.beta1**self.steps)
            v_hat = v / (1 - self.beta2**self.steps)
            parameter -= self.lr * m_hat / (np.sqrt(v_hat) + self.epsilon)
