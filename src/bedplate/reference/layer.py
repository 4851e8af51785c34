"""What a layer is: a function with visible parameters, and the chain rule for it.

A layer maps x to y = f(x, θ). Training needs two derivatives of the loss L: ∂L/∂θ, to move the parameters, and ∂L/∂x,
to hand on to the layer before. Both follow from ∂L/∂y by the chain rule, without knowing anything of the layers after:

    forward(x)              returns y, and keeps what `backward` will need
    backward(∂L/∂y)         writes ∂L/∂θ into `gradients`, returns ∂L/∂x

Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors".
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from bedplate.core.errors import InputError

Array = npt.NDArray[np.float64]


class Layer(ABC):
    """One step of a network.

    `parameters` and `gradients` are arrays by name, equal in shape. `training` is True while `fit` runs; only layers
    that behave differently then (dropout) look at it. The first axis of every input and output is the row.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.training = False

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Return y = f(x)."""

    @abstractmethod
    def backward(self, gradient: Array) -> Array:
        """Take ∂L/∂y of the last `forward`; write `gradients`, return ∂L/∂x."""


def expect(array: Array, shape: tuple[int | str, ...], where: str) -> None:
    """Check an array's shape; a name in `shape` stands for any size.

    Raises:
        InputError: another number of axes, or another size of one.
    """
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(
            "an array of the wrong shape",
            where=where,
            expected="[" + ", ".join(str(want) for want in shape) + "]",
            received=str(list(array.shape)),
            hint="a gradient has the shape of the last forward's output" if "backward" in where else None,
        )
