"""Freezing and discriminative rates."""

from __future__ import annotations

import pytest
import torch
from tests.training.samples import cnn, go, images, mlp, spec, table

from bedplate.core.errors import InputError
from bedplate.training.parameter_groups import freeze, hidden_matrices, parameter_groups


def test_frozen_weights_and_their_statistics_stay_as_they_are() -> None:
    network = cnn()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    go(network, images(), spec(freeze=["features.*"]))
    for name, tensor in network.state_dict().items():
        same = torch.equal(tensor, before[name])
        assert same == (name.startswith("body.features") or name in ("mean", "std")), name


def test_rates_by_name_move_weights_more_or_less() -> None:
    def moved(rate: float) -> float:
        network = mlp(dropout=0.0)
        before = network.body.head.weight.detach().clone()
        go(network, table(), spec(epochs=1, rates={"head.*": rate}))
        return float((network.body.head.weight.detach() - before).abs().mean())

    assert moved(0.01) < 0.1 * moved(1.0)


def test_groups_hold_every_trainable_weight_once() -> None:
    network = cnn()
    freeze(network, ["features.0.*"])
    groups = parameter_groups(network, network.parameters(), {"*": 0.5, "classifier.*": 2.0})
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert {group["rate"] for group in groups} == {0.5, 2.0}


def test_muons_matrices_leave_out_embeddings_and_the_last_layer() -> None:
    network = mlp(hidden=[16, 8])
    names = {name for name, p in network.named_parameters() if id(p) in hidden_matrices(network)}
    assert names == {"body.hidden.0.weight", "body.hidden.4.weight"}


@pytest.mark.parametrize("key", ["freeze", "rates"])
def test_a_pattern_that_matches_nothing_is_refused(key: str) -> None:
    value = ["hiden.*"] if key == "freeze" else {"hiden.*": 0.1}
    with pytest.raises(InputError, match=r"no weight is called 'hiden\.\*'.*did you mean 'hidden"):
        go(mlp(), table(), spec(**{key: value}))


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(InputError, match="nothing is left to train"):
        go(mlp(), table(), spec(freeze=["*"]))
