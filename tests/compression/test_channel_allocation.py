from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compression.structures import made, rows

from bedplate.compression.channel_allocation import allocate, best, uniform
from bedplate.compression.channel_importance import magnitude, normalised, random, taylor
from bedplate.compression.channels import channel_groups, prune_channels
from bedplate.compression.cost import macs_and_parameters, prices
from bedplate.core.errors import InputError
from bedplate.models import to_tensors
from bedplate.objectives import objectives

CNN = made("cnn", {"widths": [8, 16], "dense": [64]})
RESNET = made("resnet", {"depth": 8, "widths": [16, 32, 32]})
GROUPS = channel_groups(CNN, rows(CNN.inputs))


def test_costs_are_those_of_the_equations() -> None:
    cost = macs_and_parameters(CNN, rows(CNN.inputs))
    # 12×12 pixels, padded; pooled once to 6×6; then 16·36 → 64 → 3
    assert cost.layers == {
        "body.features.0.weight": 144 * 8 * 3 * 9, "body.features.3.weight": 36 * 16 * 8 * 9,
        "body.classifier.0.weight": 576 * 64, "body.classifier.2.weight": 64 * 3,
    }  # fmt: skip
    assert cost.macs == sum(cost.layers.values())
    assert cost.parameters == sum(p.numel() for p in CNN.parameters())
    assert cost.positions["body.features.3.weight"] == 36


def test_costs_do_not_depend_on_the_rows() -> None:
    assert macs_and_parameters(RESNET, rows(RESNET.inputs, 1)) == macs_and_parameters(RESNET, rows(RESNET.inputs))


def test_magnitude_is_the_sum_of_what_goes_with_a_channel() -> None:
    groups = GROUPS
    state = CNN.state_dict()
    first = state["body.features.0.weight"].abs().sum((1, 2, 3)) + state["body.features.0.bias"].abs()
    first += state["body.features.3.weight"].abs().sum((0, 2, 3))
    np.testing.assert_allclose(magnitude(CNN, groups)[groups[0].name], first / first.mean(), rtol=1e-5)
    flat = state["body.features.3.weight"].abs().sum((1, 2, 3)) + state["body.features.3.bias"].abs()
    flat += state["body.classifier.0.weight"].abs().sum(0).reshape(16, 36).sum(1)
    np.testing.assert_allclose(magnitude(CNN, groups)[groups[1].name], flat / flat.mean(), rtol=1e-5)


@pytest.mark.parametrize("form", ["absolute", "squared"])
def test_taylor_is_the_first_order_term_of_each_weight(form: str) -> None:
    groups, objective = GROUPS, objectives.get("cross-entropy")()
    features = to_tensors(CNN, rows(CNN.inputs, 16))
    targets = torch.arange(16) % 3
    before = {name: tensor.clone() for name, tensor in CNN.state_dict().items()}
    found = taylor(CNN, groups, objective, features, targets, form=form, batch=8)  # type: ignore[arg-type]
    expected = torch.zeros(64)
    for start in (0, 8):
        CNN.zero_grad()
        torch.nn.functional.cross_entropy(CNN(features[0][start : start + 8]), targets[start : start + 8]).backward()
        for name, axis in (("classifier.0.weight", 0), ("classifier.0.bias", 0), ("classifier.2.weight", 1)):
            parameter = CNN.get_parameter(f"body.{name}")
            term = parameter.detach() * parameter.grad
            term = term.abs() if form == "absolute" else term**2
            expected += term.sum([k for k in range(term.ndim) if k != axis]) if term.ndim > 1 else term
    CNN.zero_grad(set_to_none=True)
    np.testing.assert_allclose(found[groups[2].name], expected / expected.mean(), rtol=1e-3)
    assert all(torch.equal(before[name], tensor) for name, tensor in CNN.state_dict().items())


def test_a_channel_without_a_say_is_worth_nothing() -> None:
    network = made("mlp", {"hidden": [8]})
    with torch.no_grad():
        network.body.head.weight[:, 3] = 0
    groups, objective = channel_groups(network, rows(network.inputs)), objectives.get("cross-entropy")()
    found = taylor(network, groups, objective, to_tensors(network, rows(network.inputs, 30)), torch.arange(30) % 3)
    assert found["body.hidden.0"].argmin() == 3
    assert found["body.hidden.0"][3] == 0


def test_random_importance_is_seeded_and_normalised() -> None:
    groups = GROUPS
    one, other, third = random(groups, 1), random(groups, 1), random(groups, 2)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not all(np.array_equal(one[name], third[name]) for name in one)
    assert all(scores.mean() == pytest.approx(1) for scores in one.values())
    assert normalised(np.zeros(3)).tolist() == [0, 0, 0]


def test_the_best_stay_in_order() -> None:
    assert best(np.array([0.1, 5.0, 3.0, 5.0]), 2).tolist() == [1, 3]
    assert best(np.array([1.0, 1.0, 1.0]), 2).tolist() == [0, 1]


@given(st.floats(0.05, 1))
@settings(deadline=None, max_examples=20)
def test_uniform_widths_are_multiples(share: float) -> None:
    groups = GROUPS
    kept = uniform(groups, random(groups), share)
    for group in groups:
        step = 16 if group.width >= 64 else 4
        count = len(kept[group.name])
        assert count % step == 0
        assert abs(count - share * group.width) <= max(step / 2, step - share * group.width) + 1e-9


@pytest.mark.parametrize("network", [CNN, RESNET], ids=["cnn", "resnet"])
@pytest.mark.parametrize(("kind", "share"), [("macs", 0.5), ("macs", 0.8), ("parameters", 0.4)])
def test_the_wanted_share_is_reached_by_what_is_really_left(network, kind: str, share: float) -> None:
    features = rows(network.inputs)
    groups, cost = channel_groups(network, features), macs_and_parameters(network, features)
    kept = allocate(network, groups, magnitude(network, groups), prices(network, cost, kind), share)
    pruned, _ = prune_channels(network, groups, kept)
    after = macs_and_parameters(pruned, features)
    found = after.macs / cost.macs if kind == "macs" else after.parameters / cost.parameters
    assert 0.55 * share < found <= share
    for group in groups:
        count = len(kept[group.name])
        assert count == group.width or count % 4 == 0
        assert count >= max(4, 0.1 * group.width)


def test_what_matters_less_goes_first() -> None:
    features = rows(CNN.inputs)
    groups, cost = GROUPS, macs_and_parameters(CNN, features)
    scores = {group.name: np.full(group.width, 1.0) for group in groups}
    scores[groups[2].name][16:] = 1e-6  # 48 of the dense layer's units
    kept = allocate(CNN, groups, scores, prices(CNN, cost, "parameters"), 0.3)
    assert kept[groups[2].name].tolist() == list(range(16))
    assert [len(kept[group.name]) for group in groups[:2]] == [8, 16]


def test_what_was_measured_says_which_group_pays() -> None:
    cost = macs_and_parameters(CNN, rows(CNN.inputs))
    even = {group.name: np.ones(group.width) for group in GROUPS}
    wide = {group.name: group.width for group in GROUPS}
    for free in (GROUPS[1].name, GROUPS[2].name):
        kept = allocate(
            CNN, GROUPS, even, prices(CNN, cost, "parameters"), 0.6,
            lost=lambda name, width, free=free: 0.0 if name == free else 1 - width / wide[name],
        )  # fmt: skip
        assert [name for name, stay in kept.items() if len(stay) < wide[name]] == [free]


def test_slow_layers_pay_for_time_and_half_of_it_counts_beside_the_parameters() -> None:
    cost = macs_and_parameters(CNN, rows(CNN.inputs))
    first, dense = "body.features.0.weight", "body.classifier.0.weight"
    even = {group.name: np.ones(group.width) for group in GROUPS}
    slow = {first: 90.0, dense: 10.0}
    by_time = allocate(CNN, GROUPS, even, prices(CNN, cost, "time", slow), 0.6)
    assert len(by_time[GROUPS[0].name]) == 4  # of 8: it alone takes time
    assert len(by_time[GROUPS[2].name]) == 64
    both = prices(CNN, cost, "cost", slow)
    sizes = {name: parameter.numel() for name, parameter in CNN.named_parameters()}
    assert sum(both[name] * sizes[name] for name in both) == pytest.approx(1)
    assert both[first] * sizes[first] == pytest.approx(0.45 + sizes[first] / sum(sizes.values()) / 2)
    with pytest.raises(InputError, match="time"):
        prices(CNN, cost, "time", {})


def test_what_cannot_be_reached() -> None:
    features = rows(CNN.inputs)
    groups, cost = GROUPS, macs_and_parameters(CNN, features)
    macs = prices(CNN, cost, "macs")
    with pytest.raises(InputError, match="doesn't get so far"):
        allocate(CNN, groups, magnitude(CNN, groups), macs, 0.001)
    with pytest.raises(InputError, match="doesn't get so far"):
        allocate(CNN, groups, magnitude(CNN, groups), macs, 0.5, least=0.9)
    with pytest.raises(ValueError, match="above 0"):
        allocate(CNN, groups, magnitude(CNN, groups), macs, 0)
    with pytest.raises(ValueError, match="share"):
        uniform(groups, magnitude(CNN, groups), 0)
