"""The perceptron rule: Novikoff's bound, and the same steps as Bedplate's perceptron objective."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.parity import close
from torch import nn

from bedplate.core.errors import InputError
from bedplate.objectives import objectives
from bedplate.reference import SGD, Dense, Perceptron, PerceptronCriterion, Sequential, train_step

SEEDS = st.integers(0, 2**32 - 1)


def separable(seed: int, rows: int, inputs: int, margin: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return rows that a plane through the origin of [x, 1] separates by `margin`; and their largest length there."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=inputs + 1)
    normal /= np.linalg.norm(normal)
    x = rng.normal(size=(rows, inputs + 1))
    x[:, -1] = 1.0
    distance = x @ normal
    labels = np.where(distance > 0, 1, -1)
    # Along the normal's first part, each row is pushed out until its distance is at least the margin.
    push = np.maximum(margin - np.abs(distance), 0) * labels / (normal[:-1] @ normal[:-1])
    x[:, :-1] += push[:, None] * normal[:-1]
    return x[:, :-1], labels, float(np.linalg.norm(x, axis=1).max())


@settings(deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 40), inputs=st.integers(2, 5), margin=st.floats(0.3, 1.0))
def test_mistakes_stay_below_novikoffs_bound(seed: int, rows: int, inputs: int, margin: float) -> None:
    x, labels, longest = separable(seed, rows, inputs, margin)
    bound = (longest / (margin * (1 - 1e-9))) ** 2
    perceptron = Perceptron(inputs)
    history = perceptron.fit(x, labels, epochs=int(bound) + 2)
    assert history[-1] == 0, "separable rows are learnt"
    assert sum(history) <= bound
    np.testing.assert_array_equal(perceptron.predict(x), labels)


def test_the_rule_by_hand() -> None:
    perceptron = Perceptron(2)
    assert perceptron.learn(np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 0.0]]), np.array([1, 1, -1])) == 2
    assert perceptron.weight.tolist() == [-2.0, 2.0]  # + (1, 2), then right, then − (3, 0)
    assert perceptron.bias == 0.0


def test_rows_that_no_plane_separates_never_settle() -> None:
    exclusive_or = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    history = Perceptron(2).fit(exclusive_or, np.array([-1, 1, 1, -1]), epochs=200)
    assert len(history) == 200
    assert min(history) > 0


@settings(deadline=None)
@given(seed=SEEDS)
def test_the_rule_is_the_objective_one_row_at_a_time(seed: int) -> None:
    """Two classes, w = w₁ − w₀: a step of ½ on the criterion moves w by t·x, on the same rows, as the rule does.

    It begins away from zero: a draw is a mistake to the rule, but has no gradient.
    """
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(30, 3)), rng.choice([-1, 1], 30)
    start = rng.normal(size=(2, 4))

    perceptron = Perceptron(3)
    perceptron.weight, perceptron.bias = start[1, :3] - start[0, :3], float(start[1, 3] - start[0, 3])

    twin = Sequential(Dense(3, 2, rng))
    twin.parameters["0.weight"][...], twin.parameters["0.bias"][...] = start[:, :3], start[:, 3]

    linear = nn.Linear(3, 2, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(start[:, :3]))
        linear.bias.copy_(torch.tensor(start[:, 3]))
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.5)
    (step,) = objectives.get("perceptron")().steps

    moved = perceptron.learn(x, labels)
    for row, label in zip(x, labels, strict=True):
        target = np.array([int(label > 0)])
        train_step(twin, PerceptronCriterion(), SGD(0.5), row[None], target)
        optimizer.zero_grad()
        step.loss(linear, [torch.tensor(row[None])], torch.tensor(target))["loss"].backward()
        optimizer.step()
    assert moved > 0
    close(twin.parameters["0.weight"], linear.weight)
    close(twin.parameters["0.bias"], linear.bias)
    close(perceptron.weight, linear.weight[1] - linear.weight[0])
    close(np.array(perceptron.bias), linear.bias[1] - linear.bias[0])


def test_other_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"-1 or \+1"):
        Perceptron(1).learn(np.ones((2, 1)), np.array([0, 1]))
