"""Convolution beside torch's, and beside its own plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import close, same_as_torch
from torch import Tensor
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.reference import Convolution, convolve_by_loops
from bedplate.reference.convolution import unwindow, windows

FEW = st.integers(1, 3)


@settings(deadline=None)
@given(
    rows=FEW, inputs=FEW, outputs=FEW, size=FEW, stride=FEW, padding=st.integers(0, 2),
    height=st.integers(3, 7), width=st.integers(3, 7), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_convolution_is_torchs_and_the_loops(
    rows: int, inputs: int, outputs: int, size: int, stride: int, padding: int, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Convolution(inputs, outputs, size, rng, stride=stride, padding=padding)
    layer.parameters["bias"] += rng.normal(size=outputs)
    x = rng.normal(size=(rows, inputs, height, width))

    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, stride, padding)

    same_as_torch(layer, convolve, x, rng)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    close(layer.forward(x), convolve_by_loops(padded, layer.parameters["weight"], layer.parameters["bias"], stride))


def test_an_edge_filter_by_hand() -> None:
    layer = Convolution(1, 1, 2, np.random.default_rng(0))
    layer.parameters["weight"][...] = [[[[-1.0, 1.0], [-1.0, 1.0]]]]
    image = np.array([[[[0.0, 0.0, 5.0], [0.0, 0.0, 5.0], [0.0, 0.0, 5.0]]]])
    assert layer.forward(image).tolist() == [[[[0.0, 10.0], [0.0, 10.0]]]]


@settings(deadline=None)
@given(
    height=st.integers(2, 7), width=st.integers(2, 7), stride=FEW, tall=st.integers(1, 2), wide=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_unwindow_is_the_adjoint_of_windows(
    height: int, width: int, stride: int, tall: int, wide: int, seed: int
) -> None:
    # ⟨windows(x), w⟩ = ⟨x, unwindow(w)⟩ for all x and w: that is what "backward" means for a linear map.
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, height, width))
    seen = windows(x, (tall, wide), stride)
    w = rng.normal(size=seen.shape)
    assert (seen * w).sum() == pytest.approx((x * unwindow(w, x.shape, stride)).sum(), rel=1e-10, abs=1e-10)


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least 5×5 pixels; received 4×6"):
        Convolution(1, 1, 5, np.random.default_rng(0)).forward(np.zeros((1, 1, 4, 6)))
    with pytest.raises(InputError, match=r"expected \[rows, 2, height, width\]"):
        Convolution(2, 1, 3, np.random.default_rng(0)).forward(np.zeros((1, 8, 8, 2)))
