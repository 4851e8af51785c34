"""Optimisers: every one learns, and those of our own follow their papers' equations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.samples import cnn, go, images, spec, stopped_and_continued, table
from tests.training.samples import mlp as network
from torch import nn

from bedplate.core.errors import InputError
from bedplate.recipe.schema import Part
from bedplate.training import optimizers, weights_digest
from bedplate.training.averaging import TwoSided
from bedplate.training.muon import Muon, orthogonalise
from bedplate.training.schedule_free import ScheduleFreeAdamW

RATES = {"sgd": 0.1, "momentum": 0.02, "rmsprop": 0.003, "adagrad": 0.05, "muon": 0.005, "schedule-free-adamw": 0.02}


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_learns(name: str) -> None:
    schedule = "constant" if name.startswith("schedule-free") else "one-cycle"
    settings = spec(epochs=8, optimizer=Part(name=name, lr=RATES.get(name, 0.01)), schedule=Part(name=schedule))
    run = go(network(dropout=0.0), table(), settings)
    assert run.history[-1]["train_loss"] < 0.75 * run.history[0]["train_loss"]
    assert run.history[-1]["validation_accuracy"] > 0.7


@pytest.mark.parametrize("name", optimizers.names())
@pytest.mark.parametrize("step", [3, 17])
def test_every_optimizer_continues_bit_for_bit(name: str, step: int, tmp_path: Path) -> None:
    """On convolutions in the channels-last layout, where loaded state must lie in memory as the weights do."""
    schedule = "constant" if name.startswith("schedule-free") else "one-cycle"
    settings = spec(
        optimizer=Part(name=name, lr=RATES.get(name, 0.01)),
        schedule=Part(name=schedule),
        memory_format="channels_last",
    )
    whole, resumed = stopped_and_continued(
        lambda: cnn(3), images(channels=3), settings, step, tmp_path / "c.safetensors"
    )
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))


def _descend(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: torch.Tensor) -> torch.Tensor:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach().clone()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_is_torchs_for_matrices(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(shape), torch.randn(5, *shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    one = _descend(Muon([ours], lr=0.02, weight_decay=0.1), ours, gradients)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    assert torch.allclose(one, _descend(reference, theirs, gradients), atol=1e-6)


def test_muon_takes_a_kernel_as_a_matrix_and_a_vector_as_adamw() -> None:
    torch.manual_seed(0)
    kernel, vector = torch.randn(8, 3, 3, 3), torch.randn(7)
    gradients = torch.randn(4, 8, 3, 3, 3)
    as_kernel, as_matrix = nn.Parameter(kernel.clone()), nn.Parameter(kernel.reshape(8, 27).clone())
    one = _descend(Muon([as_kernel], lr=0.01), as_kernel, gradients)
    two = _descend(Muon([as_matrix], lr=0.01), as_matrix, gradients.reshape(4, 8, 27))
    assert torch.equal(one.reshape(8, 27), two)
    drawn = torch.randn(4, 7)
    ours, theirs = nn.Parameter(vector.clone()), nn.Parameter(vector.clone())
    adamw = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    assert torch.allclose(
        _descend(Muon([ours], lr=0.01, weight_decay=0.1), ours, drawn), _descend(adamw, theirs, drawn), atol=1e-7
    )


def test_the_orthogonalised_update_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((30, 10), (10, 30)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)).float())
        assert 0.6 < values.min() < values.max() < 1.35


def _plain_schedule_free(
    start: np.ndarray, gradients: np.ndarray, lr: float, decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of the paper, written out: returns (y, x) after the given gradients."""
    beta1, beta2 = 0.9, 0.999
    z = x = y = start
    square, weights = np.zeros_like(start), 0.0
    for k, gradient in enumerate(gradients, 1):
        square = beta2 * square + (1 - beta2) * gradient**2
        direction = gradient / (np.sqrt(square / (1 - beta2**k)) + 1e-8) + decay * y
        z = z - lr * direction
        weights += lr**2
        share = lr**2 / weights
        x = (1 - share) * x + share * z
        y = (1 - beta1) * z + beta1 * x
    return y, x


def test_schedule_free_follows_the_papers_three_sequences() -> None:
    draw = np.random.default_rng(0)
    start, gradients = draw.normal(size=6), draw.normal(size=(20, 6))
    y, x = _plain_schedule_free(start, gradients, 0.05, 0.1)
    parameter = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = ScheduleFreeAdamW([parameter], lr=0.05, weight_decay=0.1)
    assert np.allclose(_descend(optimizer, parameter, torch.from_numpy(gradients)).numpy(), y, atol=1e-10)
    optimizer.eval()
    assert np.allclose(parameter.detach().numpy(), x, atol=1e-10)
    optimizer.train()
    assert np.allclose(parameter.detach().numpy(), y, atol=1e-10)


def test_schedule_free_refuses_a_step_from_the_averaged_weights() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = ScheduleFreeAdamW([parameter], lr=0.1)
    assert isinstance(optimizer, TwoSided)
    optimizer.eval()
    parameter.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="average"):
        optimizer.step()


def test_an_unknown_optimizer_gets_the_nearest_spelling() -> None:
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        optimizers.get("adamww")
