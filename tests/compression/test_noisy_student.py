from __future__ import annotations

import numpy as np
import torch

from bedplate.compression.noisy_student import taught_rows
from bedplate.models import Network, Outputs, TableInput, build, predictor
from bedplate.training import TrainingData

INPUTS = TableInput(3, (), ((-1.0, 0.0, 1.0),) * 3)


def teacher(classes: int | None) -> Network:
    return build("linear", {}, INPUTS, Outputs(classes, 2.0, 3.0), 1)


def data(targets: np.ndarray) -> TrainingData:
    features = {"numeric": np.random.default_rng(0).normal(size=(len(targets), 3)).astype(np.float32)}
    return TrainingData(features, targets, features, targets)


def test_only_sure_answers_become_labels() -> None:
    network, own = teacher(2), data(np.array([0, 1, 1]))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=3.0, generator=torch.Generator().manual_seed(2))
    new = {"numeric": np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)}
    probabilities = predictor(network)(new)["probabilities"]
    sure = probabilities.max(axis=1) >= 0.9
    assert 0 < sure.sum() < 200
    found = taught_rows(network, own, new, 0.9)
    assert len(found) == 3 + sure.sum()
    np.testing.assert_array_equal(found.targets, [0, 1, 1, *probabilities[sure].argmax(axis=1)])
    np.testing.assert_array_equal(found.features["numeric"][3:], new["numeric"][sure])
    assert found.validation_targets is own.validation_targets
    assert taught_rows(network, own, new, 1.1) is own


def test_numbers_are_all_taken_in_the_targets_units() -> None:
    network, own = teacher(None), data(np.array([1.0, 2.0]))
    new = {"numeric": np.zeros((4, 3), np.float32)}
    found = taught_rows(network, own, new)
    np.testing.assert_allclose(found.targets[2:], predictor(network)(new)["value"])
