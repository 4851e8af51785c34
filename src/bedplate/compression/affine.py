"""Affine quantisation in NumPy: how a real number becomes an integer of 8 bits, and comes back.

    q(x) = clip(round(x / s) + z, low, high),   dq(q) = s · (q − z)

with rounding to the nearest, halves to the even, as ONNX's QuantizeLinear has it. Inside the range
|x − dq(q(x))| ≤ s / 2, and 0 is always exact, since padding and what a ReLU cuts off are zeros. Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections 2.1 and 3.

What is compiled, trained or run elsewhere is tested against this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-12
"""The least magnitude that a scale is made for, so that a channel of zeros has one, too."""


@dataclass(frozen=True)
class Affine:
    """One tensor's scale and zero point, and the integers that it may use."""

    scale: np.float32
    zero: int
    low: int
    high: int

    @property
    def dtype(self) -> type[np.generic]:
        """The integers' type."""
        return np.uint8 if self.low >= 0 else np.int8

    def as_int8(self) -> Affine:
        """Return the same real numbers in int8: every uint8 moved down by 128."""
        return self if self.low < 0 else Affine(self.scale, self.zero - 128, self.low - 128, self.high - 128)


def affine(low: float, high: float) -> Affine:
    """Return the uint8 quantisation of the range from `low` to `high`, which is widened to hold 0.

    s = (high − low) / 255, z = round(−low / s).
    """
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"no range: {low} to {high}")
    bottom, top = np.float32(min(low, 0.0)), np.float32(max(high, 0.0))
    scale = np.maximum(top - bottom, np.float32(TINY)) / np.float32(255)
    return Affine(scale, int(np.clip(np.rint(-bottom / scale), 0, 255)), 0, 255)


def quantise(x: np.ndarray, by: Affine) -> np.ndarray:
    """Return the integers of a float array, of the same shape; what lies outside the range gets its end."""
    found = np.clip(np.rint(np.asarray(x, np.float32) / by.scale) + by.zero, by.low, by.high)
    return np.asarray(found, by.dtype)


def dequantise(q: np.ndarray, by: Affine) -> np.ndarray:
    """Return the float32 numbers of integers."""
    return np.asarray((q.astype(np.float32) - np.float32(by.zero)) * by.scale)


def quantise_weight(weight: np.ndarray, levels: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 weights of the same shape in ±levels and one scale a channel of `axis`; zero points are 0.

    s_c = max |w_c| / levels. Jacob et al. 2018, section 3.1; one a channel: Krishnamoorthi 2018, "Quantizing deep
    convolutional networks for efficient inference", section 3.1.
    """
    others = tuple(k for k in range(weight.ndim) if k != axis % weight.ndim)
    scale = (np.maximum(np.abs(weight).max(axis=others), TINY) / levels).astype(np.float32)
    return quantise_by(weight, scale, levels, axis), scale


def quantise_by(weight: np.ndarray, scale: np.ndarray, levels: int, axis: int) -> np.ndarray:
    """Return int8 weights in ±levels by given scales, one a channel of `axis`."""
    return np.asarray(np.clip(np.rint(weight / along(scale, weight.ndim, axis)), -levels, levels), np.int8)


def along(scale: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """Return one number a channel in a shape that multiplies an array of that rank along `axis`."""
    shape = [1] * rank
    shape[axis] = -1
    return scale.reshape(shape)
