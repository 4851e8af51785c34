"""Training with the twin: the same course as torch's, and digits learnt by four networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import bedplate.reference as ref
from bedplate.core.errors import InputError
from bedplate.data.load import load_dataset
from bedplate.recipe.schema import DataSpec
from bedplate.reference import Adam, Dense, Flatten, Momentum, ReLU, Sequential, SoftmaxCrossEntropy, accuracy, fit

Digits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Train and test rows of the demo's split, standardised by the training pixels."""
    spec = DataSpec.model_validate({"source": "digits", "split": {"validation": 0.15, "test": 0.25}})
    data = load_dataset(spec, "image-classification", 0, base=Path())
    train, test = (rows.inputs["image"].transpose(0, 3, 1, 2) for rows in (data.train, data.test))
    mean, std = train.mean(), train.std()
    return (train - mean) / std, data.train.targets, (test - mean) / std, data.test.targets


def dense(rng: np.random.Generator) -> Sequential:
    return Sequential(Flatten(), Dense(64, 64, rng), ReLU(), Dense(64, 10, rng))


def convolutional(rng: np.random.Generator) -> Sequential:
    return Sequential(
        ref.Convolution(1, 16, 3, rng, padding=1), ReLU(), ref.MaxPool(2),
        ref.Convolution(16, 32, 3, rng, padding=1), ReLU(), ref.MaxPool(2),
        Flatten(), Dense(128, 10, rng),
    )  # fmt: skip


def recurrent(rng: np.random.Generator) -> Sequential:
    return Sequential(ref.Recurrent(8, 64, rng), ref.LastStep(), Dense(64, 10, rng))


def gated(rng: np.random.Generator) -> Sequential:
    return Sequential(ref.LSTM(8, 32, rng), ref.LastStep(), Dense(32, 10, rng))


@pytest.mark.parametrize(
    ("make", "optimizer", "epochs"),
    [
        (dense, lambda: Momentum(0.05), 15),
        (convolutional, lambda: Adam(3e-3), 12),
        (recurrent, lambda: Adam(3e-3), 20),
        (gated, lambda: Adam(6e-3), 20),
    ],
)
def test_digits_are_learnt(
    digits: Digits,
    make: Callable[[np.random.Generator], Sequential],
    optimizer: Callable[[], ref.Optimizer],
    epochs: int,
) -> None:
    x, y, test_x, test_y = digits
    if make in (recurrent, gated):  # read as eight steps, the rows of the image from top to bottom
        x, test_x = x[:, 0], test_x[:, 0]
    network = make(np.random.default_rng(0))
    assert accuracy(network, test_x, test_y) < 0.35
    history = fit(network, SoftmaxCrossEntropy(), optimizer(), x, y, epochs=epochs)
    assert history[-1] < 0.1 < history[0]
    assert accuracy(network, test_x, test_y) >= 0.95


def test_an_epoch_takes_torchs_course() -> None:
    """The same start, the same order, three epochs of Adam: the same parameters to ten digits."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(70, 6)), rng.integers(0, 3, 70)
    network = Sequential(Dense(6, 8, rng), ReLU(), Dense(8, 3, rng))
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    module.load_state_dict({name: torch.tensor(value) for name, value in network.parameters.items()})
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    met: list[np.ndarray] = []

    class Noting(Dense):
        def forward(self, x: np.ndarray) -> np.ndarray:
            met.append(x)
            return super().forward(x)

    first = Noting(6, 8, rng)
    first.parameters = network.layers[0].parameters
    network.layers[0] = first
    history = fit(network, SoftmaxCrossEntropy(), Adam(0.01), x, y, epochs=3, batch_size=16, seed=4)
    assert [len(batch) for batch in met] == [16, 16, 16, 16, 6] * 3

    row_of = {row.tobytes(): k for k, row in enumerate(x)}
    orders = []
    for batch in met:
        rows = [row_of[row.tobytes()] for row in batch]
        orders.append(rows)
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(torch.tensor(x[rows])), torch.tensor(y[rows]))
        loss.backward()
        optimizer.step()
    epochs = [[row for rows in orders[start : start + 5] for row in rows] for start in (0, 5, 10)]
    assert all(sorted(order) == list(range(70)) for order in epochs), "every row once an epoch"
    assert epochs[0] != epochs[1], "shuffled anew"
    for name, value in network.parameters.items():
        np.testing.assert_allclose(value, module.state_dict()[name].numpy(), rtol=1e-8, atol=1e-10)
    assert history[2] < history[0]


def test_the_seed_decides_everything(digits: Digits) -> None:
    x, y, _, _ = digits

    def trained(seed: int) -> np.ndarray:
        network = dense(np.random.default_rng(0))
        fit(network, SoftmaxCrossEntropy(), Momentum(), x[:200], y[:200], epochs=2, seed=seed)
        return network.parameters["3.weight"]

    np.testing.assert_array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))


def test_a_number_is_learnt_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 1))
    network = Sequential(Dense(1, 32, rng), ref.Tanh(), Dense(32, 1, rng))
    fit(network, ref.MeanSquaredError(), Adam(0.01), x, np.sin(2 * x), epochs=150)
    assert float(((network.forward(x) - np.sin(2 * x)) ** 2).mean()) < 0.01  # the variance of sin is about a half


def test_dropout_is_off_after_training() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4))
    network = Sequential(Dense(4, 8, rng), ref.Dropout(0.5, rng), Dense(8, 2, rng))
    fit(network, SoftmaxCrossEntropy(), Momentum(), x, np.arange(20) % 2, epochs=1)
    np.testing.assert_array_equal(network.forward(x), network.forward(x))


def test_what_cant_be_trained_on_is_refused() -> None:
    rng = np.random.default_rng(0)
    network, loss = Sequential(Dense(2, 2, rng)), SoftmaxCrossEntropy()
    for rows, targets, size in ((0, 0, 8), (4, 3, 8), (4, 4, 0)):
        with pytest.raises(InputError, match=f"received {rows} rows, {targets} targets, batch_size {size}"):
            fit(network, loss, Momentum(), np.zeros((rows, 2)), np.zeros(targets, int), epochs=1, batch_size=size)


def test_a_loss_that_leaves_all_bounds_stops_the_training() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)) * 10
    network = Sequential(Dense(3, 3, rng))
    with np.errstate(all="ignore"), pytest.raises(InputError, match="lower the learning rate"):
        fit(network, ref.MeanSquaredError(), ref.SGD(1e3), x, x, epochs=200, batch_size=8)
    assert not network.layers[0].training
