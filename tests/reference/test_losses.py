"""Losses beside torch's and Bedplate's own objectives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.reference.parity import close
from torch import nn
from torch.nn import functional

from bedplate.core.errors import InputError
from bedplate.objectives import objectives
from bedplate.reference import (
    Loss,
    MeanSquaredError,
    PerceptronCriterion,
    SoftmaxCrossEntropy,
    numerical_gradient,
    one_hot,
    softmax,
)

DRAWS = {"rows": st.integers(1, 6), "classes": st.integers(2, 6), "seed": st.integers(0, 2**32 - 1)}


def drawn(rows: int, classes: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, classes)) * scale, rng.integers(0, classes, rows)


def same_as_objective(loss: Loss, name: str, scores: np.ndarray, targets: np.ndarray) -> None:
    theirs = torch.tensor(scores, requires_grad=True)
    (step,) = objectives.get(name)().steps
    value = step.loss(nn.Identity(), [theirs], torch.tensor(targets))["loss"]
    value.backward()
    assert loss.forward(scores, targets) == pytest.approx(value.item(), rel=1e-12, abs=1e-12)
    close(loss.backward(), theirs.grad)


@settings(deadline=None)
@given(**DRAWS, scale=st.sampled_from([1.0, 30.0, 1e4]))
def test_cross_entropy_is_torchs_and_the_objectives(rows: int, classes: int, seed: int, scale: float) -> None:
    scores, targets = drawn(rows, classes, seed, scale)
    loss = SoftmaxCrossEntropy()
    expected = functional.cross_entropy(torch.tensor(scores), torch.tensor(targets)).item()
    assert loss.forward(scores, targets) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    close(softmax(scores), torch.softmax(torch.tensor(scores), 1))
    same_as_objective(loss, "cross-entropy", scores, targets)


@settings(deadline=None)
@given(**DRAWS)
def test_squared_error_is_torchs(rows: int, classes: int, seed: int) -> None:
    answers, _ = drawn(rows, classes, seed)
    targets, _ = drawn(rows, classes, seed + 1)
    theirs = torch.tensor(answers, requires_grad=True)
    value = functional.mse_loss(theirs, torch.tensor(targets))
    value.backward()
    loss = MeanSquaredError()
    assert loss.forward(answers, targets) == pytest.approx(value.item(), rel=1e-12)
    close(loss.backward(), theirs.grad)


def test_squared_error_is_the_objectives() -> None:
    answers, targets = np.array([[1.0], [4.0]]), np.array([0.0, 2.0])
    theirs = torch.tensor(answers, requires_grad=True)
    (step,) = objectives.get("squared-error")().steps
    step.loss(nn.Identity(), [theirs], torch.tensor(targets))["loss"].backward()
    loss = MeanSquaredError()
    assert loss.forward(answers, targets[:, None]) == 2.5
    close(loss.backward(), theirs.grad)


@settings(deadline=None)
@given(**DRAWS)
def test_the_perceptron_criterion_is_the_objective(rows: int, classes: int, seed: int) -> None:
    scores, targets = drawn(rows, classes, seed)
    assume(len(np.unique(scores)) == scores.size)  # where classes tie, both gradients are right and differ
    same_as_objective(PerceptronCriterion(), "perceptron", scores, targets)


@pytest.mark.parametrize("kind", [SoftmaxCrossEntropy, PerceptronCriterion])
def test_gradients_are_the_derivatives(kind: type[Loss]) -> None:
    scores, targets = drawn(5, 4, 7)
    loss = kind()
    loss.forward(scores, targets)
    found = loss.backward()
    close(found, numerical_gradient(lambda: loss.forward(scores, targets), scores), 1e-9)
    assert np.abs(found).max() > 0.01


def test_what_the_numbers_mean() -> None:
    loss = SoftmaxCrossEntropy()
    assert loss.forward(np.zeros((3, 10)), np.array([0, 5, 9])) == pytest.approx(math.log(10))
    assert loss.forward(np.array([[1e6, 0.0]]), np.array([1])) == 1e6, "no overflow, no logarithm of zero"
    assert PerceptronCriterion().forward(np.array([[3.0, 1.0]]), np.array([0])) == 0


def test_targets_that_are_no_class_are_refused() -> None:
    for wrong in (np.array([0, 3]), np.array([-1, 0]), np.array([0.0, 1.0])):
        with pytest.raises(InputError, match="whole numbers 0 to 2"):
            one_hot(wrong, 3)
    with pytest.raises(InputError, match=r"expected \[2, classes\]"):
        SoftmaxCrossEntropy().forward(np.zeros((3, 2)), np.array([0, 1]))
    with pytest.raises(InputError, match=r"expected \[3, 1\]"):
        MeanSquaredError().forward(np.zeros(3), np.zeros((3, 1)))
