"""Pooling: a map made smaller, each window of it becoming its largest number or its mean."""

from __future__ import annotations

import numpy as np

from bedplate.reference.convolution import unwindow, windows
from bedplate.reference.layer import Array, Layer, expect


class MaxPool(Layer):
    """y = the largest number of each window; its gradient goes to where that number came from, all of it.

    Where several are largest, the first (by row, then column) is meant. Rows and columns that fill no window are left
    out. Source: Ranzato et al. 2007; Yamaguchi et al. 1990.

    Args:
        size: height and width of a window.
        stride: from one window to the next; left out: `size`, so that windows touch.
    """

    def __init__(self, size: int, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = size, stride or size
        self.shape: tuple[int, ...] = (0, 0, 0, 0)
        self.winners = np.zeros((0, 0, 0, 0), np.int64)

    def forward(self, x: Array) -> Array:
        """Map [rows, channels, height, width] to [rows, channels, (height − size) // stride + 1, …]."""
        expect(x, ("rows", "channels", "height", "width"), "MaxPool.forward")
        patches = windows(x, (self.size, self.size), self.stride)
        flat = patches.reshape(*patches.shape[:4], -1)
        self.shape, self.winners = x.shape, flat.argmax(axis=-1)
        y: Array = flat.max(axis=-1)
        return y

    def backward(self, gradient: Array) -> Array:
        """Give each window's gradient to its winner."""
        expect(gradient, self.winners.shape, "MaxPool.backward")
        won = self.winners[..., None] == np.arange(self.size**2)
        patches = (gradient[..., None] * won).reshape(*gradient.shape, self.size, self.size)
        return unwindow(patches, self.shape, self.stride)


class AveragePool(Layer):
    """y = the mean of each window; every number of a window of n gets 1/n of its gradient. Source: LeCun et al. 1989.

    Args:
        size: height and width of a window.
        stride: from one window to the next; left out: `size`, so that windows touch.
    """

    def __init__(self, size: int, stride: int | None = None) -> None:
        super().__init__()
        self.size, self.stride = size, stride or size
        self.shape: tuple[int, ...] = (0, 0, 0, 0)
        self.places: tuple[int, ...] = (0, 0, 0, 0)

    def forward(self, x: Array) -> Array:
        """Map [rows, channels, height, width] to [rows, channels, (height − size) // stride + 1, …]."""
        expect(x, ("rows", "channels", "height", "width"), "AveragePool.forward")
        y: Array = windows(x, (self.size, self.size), self.stride).mean(axis=(-2, -1))
        self.shape, self.places = x.shape, y.shape
        return y

    def backward(self, gradient: Array) -> Array:
        """Share each window's gradient out evenly."""
        expect(gradient, self.places, "AveragePool.backward")
        patches = np.broadcast_to(gradient[..., None, None], (*gradient.shape, self.size, self.size)) / self.size**2
        return unwindow(patches, self.shape, self.stride)
