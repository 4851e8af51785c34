"""What every layer promises: its gradients are its own function's derivatives, and it changes nothing it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

import bedplate.reference as ref
from bedplate.core.errors import InputError
from bedplate.reference.layer import expect

Make = Callable[[np.random.Generator], ref.Layer]
IMAGE, SEQUENCE, FLAT = (2, 3, 5, 6), (2, 4, 3), (4, 3)

LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "Dense": (lambda rng: ref.Dense(3, 2, rng), FLAT),
    "Flatten": (lambda rng: ref.Flatten(), IMAGE),
    "Dropout": (lambda rng: ref.Dropout(0.5, rng), FLAT),
    "Sigmoid": (lambda rng: ref.Sigmoid(), FLAT),
    "Tanh": (lambda rng: ref.Tanh(), FLAT),
    "ReLU": (lambda rng: ref.ReLU(), FLAT),
    "Convolution": (lambda rng: ref.Convolution(3, 2, 3, rng, stride=2, padding=1), IMAGE),
    "MaxPool": (lambda rng: ref.MaxPool(2), IMAGE),
    "AveragePool": (lambda rng: ref.AveragePool(3, 2), IMAGE),
    "Recurrent": (lambda rng: ref.Recurrent(3, 4, rng), SEQUENCE),
    "LastStep": (lambda rng: ref.LastStep(), SEQUENCE),
    "LSTM": (lambda rng: ref.LSTM(3, 4, rng), SEQUENCE),
}


def test_every_layer_is_examined() -> None:
    public = {
        name for name in ref.__all__ if inspect.isclass(kind := getattr(ref, name)) and issubclass(kind, ref.Layer)
    }
    assert public - {"Layer"} == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_derivatives_by_central_differences(name: str) -> None:
    make, shape = LAYERS[name]
    rng = np.random.default_rng(1)
    layer = make(rng)
    errors = ref.gradient_errors(layer, rng.normal(size=shape), rng)
    assert set(errors) == {"x", *layer.parameters}
    assert max(errors.values()) < 1e-8, errors


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_changes_neither_its_input_nor_its_gradient(name: str) -> None:
    make, shape = LAYERS[name]
    rng = np.random.default_rng(2)
    layer, x = make(rng), rng.normal(size=shape)
    before = {key: value.copy() for key, value in layer.parameters.items()}
    kept = x.copy()
    gradient = rng.normal(size=layer.forward(x).shape)
    passed = gradient.copy()
    assert layer.backward(gradient).shape == x.shape
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(gradient, passed)
    for key, value in before.items():
        np.testing.assert_array_equal(layer.parameters[key], value)
        assert layer.gradients[key].shape == value.shape


@pytest.mark.parametrize("name", LAYERS)
def test_rows_dont_see_each_other(name: str) -> None:
    make, shape = LAYERS[name]
    rng = np.random.default_rng(3)
    layer, x = make(rng), rng.normal(size=shape)
    whole = layer.forward(x)
    np.testing.assert_allclose(layer.forward(x[1:2]), whole[1:2], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_refuses_another_shape_than_the_outputs(name: str) -> None:
    make, shape = LAYERS[name]
    rng = np.random.default_rng(4)
    layer = make(rng)
    y = layer.forward(rng.normal(size=shape))
    with pytest.raises(InputError, match=rf"{name}\.backward"):
        layer.backward(np.zeros((y.shape[0] + 1, *y.shape[1:])))


def test_expect_names_what_differs() -> None:
    expect(np.zeros((2, 3)), ("rows", 3), "here")
    for wrong in ((2, 4), (3,), (2, 3, 1)):
        with pytest.raises(InputError, match=r"here: .*expected \[rows, 3\]"):
            expect(np.zeros(wrong), ("rows", 3), "here")
