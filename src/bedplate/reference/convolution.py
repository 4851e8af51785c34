"""Convolution: one small filter, moved over an image; and the same filter's gradients.

Images are [rows, channels, height, width]. Output channel o at (i, j), with stride s and the image padded by zeros:

    y[o, i, j] = b[o] + Σ_c Σ_u Σ_v  W[o, c, u, v] · x[c, s·i + u, s·j + v]

(This is cross-correlation; the field calls it convolution.) `convolve_by_loops` says just that. `Convolution` gathers
all windows as the columns of one matrix ("im2col"), so that the sum becomes a matrix product. Sources: Fukushima 1980;
LeCun et al. 1989; im2col: Chellapilla et al. 2006.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bedplate.core.errors import InputError
from bedplate.reference.initialisation import he_normal
from bedplate.reference.layer import Array, Layer, expect


def windows(x: Array, size: tuple[int, int], stride: int) -> Array:
    """Return all windows of [rows, channels, height, width] as [rows, channels, out height, out width, *size].

    A view: nothing is copied, one pixel appears in many windows.

    Raises:
        InputError: the image is smaller than a window.
    """
    if x.shape[2] < size[0] or x.shape[3] < size[1]:
        raise InputError(
            "the image is smaller than the window",
            where="windows",
            expected=f"at least {size[0]}×{size[1]} pixels",
            received=f"{x.shape[2]}×{x.shape[3]}",
        )
    return sliding_window_view(x, size, axis=(2, 3))[:, :, ::stride, ::stride]


def unwindow(gradient: Array, shape: tuple[int, ...], stride: int) -> Array:
    """Add every window's gradient back onto the pixels it was made of: the reverse of `windows`.

    A pixel that lies in several windows gets the sum, as the chain rule says.
    """
    image = np.zeros(shape)
    _, _, height, width, window_height, window_width = gradient.shape
    for u in range(window_height):
        for v in range(window_width):
            image[:, :, u : u + stride * height : stride, v : v + stride * width : stride] += gradient[..., u, v]
    return image


class Convolution(Layer):
    """A 2-D convolution.

    With X the windows as a matrix [places, C·kh·kw] and W as [O, C·kh·kw], y = X Wᵀ + b is a dense layer on every
    window, and so are its gradients; ∂L/∂X is then added back onto the pixels.

    Args:
        inputs: channels of the image.
        outputs: channels of the result, one a filter.
        size: height and width of a filter, in pixels.
        rng: draws the weight [outputs, inputs, size, size] by He's rule; the bias [outputs] is zero.
        stride: pixels from one window to the next.
        padding: zeros added at every border; (size − 1) / 2 keeps the image's size at stride 1.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, rng: np.random.Generator, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.parameters = {"weight": he_normal((outputs, inputs, size, size), rng), "bias": np.zeros(outputs)}
        self.size, self.stride, self.padding = size, stride, padding
        self.columns = np.zeros((0, inputs * size * size))
        self.padded: tuple[int, ...] = (0, inputs, 0, 0)
        self.places: tuple[int, int] = (0, 0)

    def forward(self, x: Array) -> Array:
        """Map [rows, inputs, height, width] to [rows, outputs, (height + 2·padding − size) // stride + 1, …]."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        expect(x, ("rows", weight.shape[1], "height", "width"), "Convolution.forward")
        edge = (self.padding, self.padding)
        image = np.pad(x, ((0, 0), (0, 0), edge, edge))
        patches = windows(image, (self.size, self.size), self.stride)
        rows, _, height, width = patches.shape[:4]
        self.padded, self.places = image.shape, (height, width)
        self.columns = patches.transpose(0, 2, 3, 1, 4, 5).reshape(rows * height * width, -1)
        y = self.columns @ weight.reshape(len(weight), -1).T + bias
        return y.reshape(rows, height, width, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient: Array) -> Array:
        """Map ∂L/∂y to ∂L/∂x, of the input's shape."""
        weight = self.parameters["weight"]
        rows, channels = self.padded[:2]
        expect(gradient, (rows, len(weight), *self.places), "Convolution.backward")
        g = gradient.transpose(0, 2, 3, 1).reshape(-1, len(weight))
        self.gradients = {"weight": (g.T @ self.columns).reshape(weight.shape), "bias": g.sum(axis=0)}
        patches = (g @ weight.reshape(len(weight), -1)).reshape(rows, *self.places, channels, self.size, self.size)
        image = unwindow(patches.transpose(0, 3, 1, 2, 4, 5), self.padded, self.stride)
        height, width = self.padded[2] - self.padding, self.padded[3] - self.padding
        return image[:, :, self.padding : height, self.padding : width]


def convolve_by_loops(x: Array, weight: Array, bias: Array, stride: int = 1) -> Array:
    """Return the convolution of `x` (already padded), written out number by number: slow, and plainly right."""
    rows, channels, in_height, in_width = x.shape
    outputs, _, size_v, size_h = weight.shape
    height, width = (in_height - size_v) // stride + 1, (in_width - size_h) // stride + 1
    y = np.zeros((rows, outputs, height, width))
    for r, o, i, j in np.ndindex(y.shape):
        y[r, o, i, j] = bias[o]
        for c, u, v in np.ndindex(channels, size_v, size_h):
            y[r, o, i, j] += weight[o, c, u, v] * x[r, c, stride * i + u, stride * j + v]
    return y
