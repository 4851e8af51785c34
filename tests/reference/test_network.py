"""Whole networks: back-propagation beside autograd's, and Bedplate's own models beside the twin's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference.parity import close
from torch import nn
from torch.nn import functional

import bedplate.reference as ref
from bedplate.models import ImageInput, Outputs, TableInput, build, predictor
from bedplate.reference import Convolution, Dense, Flatten, Layer, MaxPool, ReLU, Sequential, SoftmaxCrossEntropy


def adopt(twin: Sequential, module: nn.Module) -> None:
    """Give the twin a module's parameters, in order."""
    theirs = list(module.parameters())
    assert len(theirs) == len(twin.parameters)
    for ours, value in zip(twin.parameters.values(), theirs, strict=True):
        assert ours.shape == tuple(value.shape)
        ours[...] = value.detach().numpy()


def compare(twin: Sequential, module: nn.Module, x: np.ndarray, classes: int, name: str | None = None) -> None:
    """Compare scores, loss and every gradient of a network and its twin, for cross-entropy.

    `name` is what the module calls its input; left out: its first one.
    """
    targets = np.arange(len(x)) % classes
    loss = SoftmaxCrossEntropy()
    scores, their_scores = (
        twin.forward(x),
        module(torch.tensor(x)) if name is None else module(**{name: torch.tensor(x)}),
    )
    close(scores, their_scores)
    their_loss = functional.cross_entropy(their_scores, torch.tensor(targets))
    assert loss.forward(scores, targets) == pytest.approx(their_loss.item(), rel=1e-12)
    their_loss.backward()
    twin.backward(loss.backward())
    for ours, value in zip(twin.gradients.values(), module.parameters(), strict=True):
        assert value.grad is not None
        close(ours, value.grad)


def test_back_propagation_is_autograds_and_names_are_torchs() -> None:
    rng = np.random.default_rng(0)
    twin = Sequential(
        Convolution(2, 4, 3, rng), ref.Tanh(), ref.AveragePool(2), Flatten(), Dense(16, 5, rng), ref.Sigmoid(),
        Dense(5, 3, rng),
    )  # fmt: skip
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.Sigmoid(), nn.Linear(5, 3)
    ).double()
    module.load_state_dict({name: torch.tensor(value) for name, value in twin.parameters.items()})
    x = rng.normal(size=(6, 2, 6, 6))
    compare(twin, module, x, 3)


def twin_of_cnn(image: ImageInput, widths: list[int], dense: int, classes: int) -> Sequential:
    """Write the recipe's `cnn` down in the twin's layers: padding by the image's size, pooling between convolutions."""
    rng = np.random.default_rng(0)
    pad = 1 if image.height < 20 else 0
    layers: list[Layer] = []
    channels, side = image.channels, image.height
    for k, width in enumerate(widths):
        layers += [Convolution(channels, width, 3, rng, padding=pad), ReLU()]
        channels, side = width, side - 2 + 2 * pad
        if k < len(widths) - 1 and side >= 4:
            layers.append(MaxPool(2))
            side //= 2
    size = channels * side * side
    return Sequential(*layers, Flatten(), Dense(size, dense, rng), ReLU(), Dense(dense, classes, rng))


@pytest.mark.parametrize(("side", "widths"), [(8, [3, 4, 5]), (20, [3, 4, 5]), (8, [6])])
def test_the_recipes_cnn_is_the_twins(side: int, widths: list[int]) -> None:
    image = ImageInput(side, side, 2, (100.0, 120.0), (60.0, 50.0))
    network = build("cnn", {"widths": widths, "dense": [7]}, image, Outputs(4), 3)
    twin = twin_of_cnn(image, widths, 7, 4)
    adopt(twin, network)
    rng = np.random.default_rng(1)
    compare(twin, network.body.double(), rng.normal(size=(5, 2, side, side)), 4)


def test_the_whole_network_from_pixels_to_probabilities() -> None:
    """In float32, as a recipe trains it: standardising and softmax stand where the twin has them too."""
    image = ImageInput(8, 8, 2, (100.0, 120.0), (60.0, 50.0))
    network = build("cnn", {"widths": [3, 4], "dense": [7]}, image, Outputs(4), 3)
    twin = twin_of_cnn(image, [3, 4], 7, 4)
    adopt(twin, network)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 2), np.uint8)
    found = predictor(network)({"image": pixels})["probabilities"]
    x = (pixels - np.array(image.mean)) / np.array(image.std)
    close(ref.softmax(twin.forward(x.transpose(0, 3, 1, 2))), found, 1e-5)


@pytest.mark.parametrize(("activation", "layer"), [("relu", ReLU), ("tanh", ref.Tanh), ("sigmoid", ref.Sigmoid)])
def test_the_recipes_mlp_is_the_twins(activation: str, layer: type[ReLU | ref.Tanh | ref.Sigmoid]) -> None:
    rng = np.random.default_rng(0)
    arguments = {"hidden": [6, 5], "activation": activation, "dropout": 0.0}
    network = build("mlp", arguments, TableInput(4, (), ((),) * 4), Outputs(3), 1)
    twin = Sequential(Dense(4, 6, rng), layer(), Dense(6, 5, rng), layer(), Dense(5, 3, rng))
    adopt(twin, network)
    x = rng.normal(size=(9, 4))
    compare(twin, network.body.double(), x, 3, "numeric")


def test_the_recipes_linear_model_is_one_dense_layer() -> None:
    rng = np.random.default_rng(0)
    network = build("linear", {}, TableInput(4, (), ((),) * 4), Outputs(3), 1)
    twin = Sequential(Dense(4, 3, rng))
    with torch.no_grad():
        for parameter in network.parameters():  # it begins at zero, where many mistakes look alike
            parameter.copy_(torch.tensor(rng.normal(size=parameter.shape)))
    adopt(twin, network)
    x = rng.normal(size=(9, 4))
    compare(twin, network.body.double(), x, 3, "numeric")


def test_parameters_are_the_layers_own_arrays() -> None:
    network = Sequential(Dense(2, 1, np.random.default_rng(0)), ReLU())
    network.parameters["0.bias"][...] = 7.0
    assert network.layers[0].parameters["bias"].tolist() == [7.0]
    network.train(True)
    assert all(layer.training for layer in network.layers)
