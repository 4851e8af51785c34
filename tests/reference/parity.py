"""One comparison for every layer: the twin's values and gradients beside torch's, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from bedplate.reference import Layer, Sequential

TIGHT = 1e-10
"""Largest difference that is allowed where numbers are about 1."""


def close(found: np.ndarray, expected: Tensor | np.ndarray, tolerance: float = TIGHT) -> None:
    """Compare shape and every number."""
    other = expected.detach().numpy() if isinstance(expected, Tensor) else expected
    assert found.shape == other.shape
    np.testing.assert_allclose(found, other, rtol=tolerance, atol=tolerance)


def same_as_torch(
    layer: Layer | Sequential,
    function: Callable[..., Tensor],
    x: np.ndarray,
    rng: np.random.Generator,
    names: Mapping[str, str] | None = None,
) -> None:
    """Compare a layer with `function(x, **parameters)`: output, ∂L/∂x, and ∂L/∂θ for L = Σ c·y with random c.

    `names` gives torch's argument for each of the layer's parameters; left out: the same name.
    """
    called = {name: (names or {}).get(name, name) for name in layer.parameters}
    theirs = {called[name]: torch.tensor(value, requires_grad=True) for name, value in layer.parameters.items()}
    their_x = torch.tensor(x, requires_grad=True)
    y, their_y = layer.forward(x), function(their_x, **theirs)
    close(y, their_y)
    c = rng.normal(size=y.shape)
    their_y.backward(torch.tensor(c))
    close(layer.backward(c), their_x.grad)
    assert set(layer.gradients) == set(layer.parameters)
    for name, gradient in layer.gradients.items():
        close(gradient, theirs[called[name]].grad)
