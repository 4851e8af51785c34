"""The learning-rate range test: what it suggests, that it repeats, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.samples import mlp, spec, table

from bedplate.core.errors import GateError, InputError
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part
from bedplate.training import weights_digest
from bedplate.training.find_rate import RateCurve, find_rate, smooth, steepest


def curve(**changes: object) -> RateCurve:
    arguments = {"seed": 5, "steps": 120, **changes}
    settings = arguments.pop("settings", spec(optimizer=Part(name="adamw", lr=0.5)))
    network = arguments.pop("network", None) or mlp()
    return find_rate(network, objectives.get("cross-entropy")(), table(), settings, **arguments)  # type: ignore[arg-type]


def test_the_suggestion_lies_where_the_loss_falls_and_below_where_it_diverged() -> None:
    found = curve(high=1000.0)
    assert found.diverged is not None
    assert 1e-4 < found.suggestion < found.best < found.diverged
    assert found.smoothed[-1] > 4 * min(found.smoothed) or not math.isfinite(found.losses[-1])
    ratios = np.diff(np.log(found.rates))
    assert np.allclose(ratios, ratios[0])
    assert found.rates[0] == pytest.approx(1e-5)


def test_the_seed_decides_and_the_weights_stay() -> None:
    network = mlp()
    before = weights_digest(network.state_dict())
    first = curve(network=network)
    assert weights_digest(network.state_dict()) == before
    assert curve() == first
    assert curve(seed=6).losses != first.losses


def test_the_recipes_own_rate_does_not_matter_but_its_optimiser_does() -> None:
    one = curve(settings=spec(optimizer=Part(name="adamw", lr=0.5)))
    other = curve(settings=spec(optimizer=Part(name="adamw", lr=1e-6)))
    assert np.allclose(one.losses[:60], other.losses[:60], rtol=1e-3)
    sgd = curve(settings=spec(optimizer=Part(name="sgd", lr=0.1)))
    assert sgd.losses[60:80] != one.losses[60:80]


def test_the_curves_losses_are_means_over_the_batch_also_where_it_is_short() -> None:
    found = curve(low=1e-12, high=1e3, steps=40)
    assert all(0.7 < loss < 2.0 for loss in found.losses[:20]), "three classes: about log 3 in each batch of an epoch"


def test_what_makes_no_test_is_refused() -> None:
    with pytest.raises(InputError, match="not a range of learning rates"):
        curve(low=1.0, high=0.1)
    with pytest.raises(InputError, match="too few steps"):
        curve(steps=3)
    with pytest.raises(GateError, match="no learning rate lowers the loss"):
        curve(low=1e-12, high=1e-10)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50))
def test_smoothing_stays_between_the_extremes_and_keeps_a_constant(losses: list[float]) -> None:
    found = smooth(losses)
    assert len(found) == len(losses)
    assert all(min(losses) - 1e-9 <= value <= max(losses) + 1e-9 for value in found)
    assert found[0] == pytest.approx(losses[0])
    assert smooth([losses[0]] * 9) == pytest.approx([losses[0]] * 9)


def test_the_steepest_descent_of_a_known_curve() -> None:
    rates = [10 ** (k / 10 - 5) for k in range(60)]
    centre = math.log(1e-3)
    falling = [1 - 1 / (1 + math.exp(-3 * (math.log(rate) - centre))) for rate in rates]
    rising = [*falling[:45], *[2.0] * 15]
    assert steepest(rates, rising) == pytest.approx(1e-3, rel=0.3)
