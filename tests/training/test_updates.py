"""One step: accumulation, penalties, precision, sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.samples import cnn, go, images, mlp, spec, stopped_and_continued, table
from torch.utils._python_dispatch import TorchDispatchMode

from bedplate.recipe.schema import Part
from bedplate.training import Run, weights_digest
from bedplate.training.batches import epoch_order
from bedplate.training.updates import epoch_rows, steps_per_epoch

PLAIN = {"optimizer": Part(name="sgd", lr=0.1), "schedule": Part(name="constant"), "epochs": 2}


def _weights(**settings: object) -> torch.Tensor:
    network = mlp(dropout=0.0, batch_norm=False)
    go(network, table(), spec(**{**PLAIN, **settings}))
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_accumulated_batches_equal_one_large_batch() -> None:
    assert torch.allclose(_weights(batch_size=64), _weights(batch_size=16, accumulate=4), atol=1e-6)


@given(rows=st.integers(2, 500), step=st.integers(1, 600))
def test_the_steps_of_an_epoch_cover_its_rows(rows: int, step: int) -> None:
    steps, trained = steps_per_epoch(rows, step), epoch_rows(rows, step)
    if step > 1:
        assert (steps - 1) * step < trained <= steps * step
        assert rows - trained == (1 if rows % step == 1 else 0)


def test_l2_is_the_weight_decay_of_sgd_on_matrices() -> None:
    network, other = mlp(dropout=0.0, batch_norm=False), mlp(dropout=0.0, batch_norm=False)
    go(network, table(), spec(**PLAIN, l2=0.05))
    go(other, table(), spec(**{**PLAIN, "optimizer": Part(name="sgd", lr=0.1, weight_decay=0.05)}))
    assert torch.allclose(network.body.head.weight, other.body.head.weight, atol=5e-3)
    assert not torch.allclose(network.body.head.weight, mlp(dropout=0.0, batch_norm=False).body.head.weight, atol=5e-3)


def test_l1_makes_weights_smaller() -> None:
    assert _weights(l1=0.02).abs().sum() < 0.8 * _weights().abs().sum()


def test_bfloat16_trains_float32_masters_to_nearly_the_same_loss() -> None:
    full, half = (go(cnn(), images(), spec(precision=p, epochs=6)) for p in ("fp32", "bf16"))
    assert all(p.dtype == torch.float32 for p in half.network.parameters())
    assert half.history[-1]["train_loss"] != full.history[-1]["train_loss"]
    assert half.history[-1]["train_loss"] == pytest.approx(full.history[-1]["train_loss"], abs=0.15)


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16", "memory_format": "channels_last"},
        {"augment": Part(name="mixup")},
        {"augment": [Part(name="cutmix"), Part(name="shift-flip", flip=True)], "accumulate": 2, "batch_size": 16},
        {"sampling": "balanced", "gradient_clip": 0.5},
    ],
)
@pytest.mark.parametrize("step", [2, 11])
def test_a_run_stopped_mid_epoch_continues_bit_for_bit(settings: dict[str, object], step: int, tmp_path: Path) -> None:
    whole, resumed = stopped_and_continued(cnn, images(), spec(**settings), step, tmp_path / "c.safetensors")
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_the_layout_holds_from_the_indexed_rows_to_the_last_convolution(channels: int, layout: str) -> None:
    network = cnn(channels)
    wanted = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    seen: list[bool] = []

    def look(module: object, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if network.training:
            seen.append(out.is_contiguous(memory_format=wanted))

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(look)
    go(network, images(channels=channels), spec(epochs=1, memory_format=layout))
    assert seen
    assert all(seen)


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_balanced_sampling_draws_classes_equally_often(counts: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    drawn = np.concatenate([targets[epoch_order(targets, seed, epoch, "balanced")] for epoch in range(60)])
    share = np.bincount(drawn, minlength=len(counts)) / len(drawn)
    wanted = 1 / len(counts)
    assert np.abs(share - wanted).max() < 5 * np.sqrt(wanted * (1 - wanted) / len(drawn))


@given(rows=st.integers(1, 300), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_shuffling_takes_every_row_once(rows: int, seed: int, epoch: int) -> None:
    order = epoch_order(np.zeros(rows), seed, epoch, "shuffled")
    assert sorted(order) == list(range(rows))
    assert np.array_equal(order, epoch_order(np.zeros(rows), seed, epoch, "shuffled"))


class _Reads(TorchDispatchMode):
    """Counts how often a number is read out of a tensor, which on an accelerator waits for all work before it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*given, **(named or {}))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16", "memory_format": "channels_last", "gradient_clip": 1.0, "ema": 0.9, "l1": 0.01},
        {"augment": [Part(name="shift-flip", flip=True), Part(name="rotate"), Part(name="mixup")]},
        {"optimizer": Part(name="muon", lr=0.01)},
        {"optimizer": Part(name="schedule-free-adamw", lr=0.01), "schedule": Part(name="constant")},
    ],
)
def test_nothing_in_a_step_waits_for_a_number(settings: dict[str, object]) -> None:
    counts: list[int] = []
    with _Reads() as reads:

        def look(event: str, run: Run) -> None:
            if event == "step" and run.step_in_epoch < run.steps_per_epoch:
                counts.append(reads.count)

        go(cnn(), images(), spec(epochs=1, **settings), hooks=[look])
    assert len(counts) >= 4
    assert counts[-1] == counts[0]
