"""Averaged weights: what is validated and kept, and what goes on training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.samples import cnn, go, images, mlp, spec, stopped_and_continued, table
from torch import nn

from bedplate.recipe.schema import Part
from bedplate.training import weights_digest
from bedplate.training.averaging import MovingAverage, batch_norms, judged_weights, recalibrate

FREE = {"optimizer": Part(name="schedule-free-adamw", lr=0.01), "schedule": Part(name="constant", warmup=0.1)}


def test_the_average_follows_its_equation() -> None:
    layer = nn.Linear(2, 2)
    average = MovingAverage(layer, 0.9)
    expected = layer.weight.detach().double().clone()
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight.add_(torch.randn(2, 2))
        average.update(layer, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach().double()
    assert torch.allclose(average.state["weight"].double(), expected, atol=1e-5)


def test_the_kept_weights_are_the_average_and_training_goes_on_with_its_own() -> None:
    plain, averaged = go(mlp(), table(), spec()), go(mlp(), table(), spec(ema=0.95))
    assert averaged.average is not None
    assert [e["train_loss"] for e in plain.history] == [e["train_loss"] for e in averaged.history]
    assert [e["validation_loss"] for e in plain.history] != [e["validation_loss"] for e in averaged.history]
    last = go(mlp(), table(), spec(ema=0.95))
    if last.best_epoch == last.epoch - 1:
        assert last.average is not None
        assert weights_digest(last.best) == weights_digest(last.average.state)


@pytest.mark.parametrize("settings", [{"ema": 0.9}, FREE, {"ema": 0.9, "augment": Part(name="mixup")}])
@pytest.mark.parametrize("step", [1, 9, 20])
def test_averaged_runs_continue_bit_for_bit(settings: dict[str, object], step: int, tmp_path: Path) -> None:
    whole, resumed = stopped_and_continued(cnn, images(), spec(**settings), step, tmp_path / "c.safetensors")
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))
    assert resumed.history[-1]["validation_loss"] == whole.history[-1]["validation_loss"]


def test_recalibration_gives_the_statistics_of_the_batches() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3))
    batches = [torch.randn(50, 3) * 4 + 7 for _ in range(4)]
    recalibrate(network, iter([[batch] for batch in batches]))
    (norm,) = batch_norms(network)
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-5)
    assert norm.momentum == 0.1


def test_schedule_free_judges_with_recalibrated_statistics() -> None:
    """Without it, batch normalisation's statistics belong to other weights than those that are judged."""
    run = go(cnn(), images(), spec(epochs=6, **FREE))
    assert run.history[-1]["validation_accuracy"] > 0.9
    state = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    batches = [[torch.from_numpy(images().features["image"])]]
    with judged_weights(run.network, None, [], iter(batches)):
        assert weights_digest(dict(run.network.state_dict())) == weights_digest(state)


def test_weights_come_back_after_judging_even_if_it_fails() -> None:
    network = mlp()
    average = MovingAverage(network, 0.5)
    for tensor in average.state.values():
        tensor.zero_()
    before = weights_digest(dict(network.state_dict()))
    seen = []

    def fail() -> None:
        with judged_weights(network, average, [], iter([])):
            seen.append(weights_digest(dict(network.state_dict())))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen != [before]
    assert weights_digest(dict(network.state_dict())) == before
