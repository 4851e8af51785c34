"""Batches: every row once an epoch in an order that seed and epoch decide, from memory and from a stream alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.arrays import Arrays
from bedplate.core.errors import DataError
from bedplate.data.stream import ShardStream
from bedplate.models import Network, Outputs, TableInput, TextInput, build
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.training import Run, TrainingData, train, weights_digest
from bedplate.training.batches import Resident, Streamed, bucketed

SIZES = [30, 17, 41, 25, 33, 38, 9, 27]
ROWS = sum(SIZES)
INPUTS = TableInput(4, (5,), ((-1.0, 0.0, 1.0),) * 4)


def table() -> tuple[Arrays, np.ndarray]:
    """Rows whose class depends on the first two numbers; the third is the row's number."""
    draw = np.random.default_rng(0)
    numeric = draw.normal(size=(ROWS, 4)).astype(np.float32)
    numeric[:, 2] = np.arange(ROWS) / ROWS
    return {"numeric": numeric, "categories": draw.integers(0, 5, (ROWS, 1))}, (numeric[:, 0] > 0).astype(np.int64)


def network(outputs: Outputs = Outputs(2)) -> Network:  # noqa: B008 - immutable
    return build("mlp", {"hidden": [16], "dropout": 0.2, "batch_norm": True}, INPUTS, outputs, 3)


def stream(broken: list[int] | None = None) -> ShardStream:
    features, targets = table()
    first = np.cumsum([0, *SIZES])

    def read(block: int) -> tuple[Arrays, np.ndarray]:
        if broken and block in broken:
            raise DataError("a shard went missing while it was streamed", where="shard-3.parquet")
        own = slice(first[block], first[block + 1])
        return {name: array[own] for name, array in features.items()}, targets[own]

    return ShardStream(SIZES, 70, read, fingerprint="f", row_bytes=24, workers=1)


def seen(batches: Resident | Streamed, epoch: int) -> list[int]:
    numbers = []
    for start in range(0, ROWS, 32):
        features, targets = batches.batch(epoch, start, min(start + 32, ROWS))
        assert torch.equal(targets, (features[0][:, 0] > 0).long())
        numbers += (features[0][:, 2] * ROWS).round().int().tolist()
    return numbers


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_every_row_once_in_an_order_of_its_own(kind: str) -> None:
    features, targets = table()

    def made(seed: int) -> Resident | Streamed:
        if kind == "resident":
            return Resident(network(), features, targets, seed, "shuffled")
        return Streamed(network(), stream(), seed)

    batches = made(0)
    assert batches.rows == ROWS
    epochs = [seen(batches, epoch) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert seen(made(0), 1) == epochs[1], "an epoch's order doesn't depend on the one before"
    assert seen(made(1), 1) != epochs[1]


def test_balanced_sampling_draws_classes_equally_often() -> None:
    features, targets = table()
    rare = np.flatnonzero(targets == 1)[20:]
    targets = targets.copy()
    targets[rare] = 0
    batches = Resident(network(), features, targets, 0, "balanced")
    drawn = torch.cat([batches.batch(epoch, 0, ROWS)[1] for epoch in range(20)])
    assert abs(drawn.float().mean().item() - 0.5) < 0.03


def test_numbers_are_standardised_alike() -> None:
    features, _ = table()
    values = features["numeric"][:, 2].astype(np.float64) * 100
    net = network(Outputs(None, float(values.mean()), float(values.std())))
    resident = Resident(net, features, values, 0, "shuffled").batch(0, 0, ROWS)[1]
    rows = ShardStream([ROWS], ROWS, lambda block: (features, values), fingerprint="", row_bytes=24)
    streamed = Streamed(net, rows, 0).batch(0, 0, ROWS)[1]
    assert torch.equal(resident.sort().values, streamed.sort().values)
    assert abs(resident.mean().item()) < 1e-5
    rows.release()


def spec(**changes: object) -> TrainingSpec:
    given = {"epochs": 3, "batch_size": 32, "optimizer": Part(name="adamw", lr=0.01), **changes}  # type: ignore[call-arg]
    return TrainingSpec(**given)  # type: ignore[arg-type]


def go(settings: TrainingSpec, **more: object) -> Run:
    features, targets = table()
    sample = {name: array[:64] for name, array in features.items()}
    arguments = {"stream": stream(), "seed": 5, "select": "loss", "identity": {"recipe": "r"}, **more}
    data = TrainingData(sample, targets[:64], sample, targets[:64], arguments.pop("stream"))  # type: ignore[arg-type]
    return train(network(), objectives.get("cross-entropy")(), data, settings, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("stop_after", [1, 4, 7, 8, 13, 20])
@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}], ids=["plain", "ema"])
def test_a_streamed_run_stopped_at_any_step_continues_bit_for_bit(
    tmp_path: Path, stop_after: int, changes: dict[str, object]
) -> None:
    whole = go(spec(**changes))
    path = tmp_path / "checkpoint.safetensors"

    class Stop(Exception):
        pass

    def stop(event: str, run: Run) -> None:
        if event == "step" and run.step == stop_after:
            run.save(path)
            raise Stop

    with pytest.raises(Stop):
        go(spec(**changes), checkpoint=path, hooks=[stop])
    resumed = go(spec(**changes), checkpoint=path, resume=True)
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))
    assert [e["train_loss"] for e in resumed.history] == [e["train_loss"] for e in whole.history]


def test_a_shard_that_goes_missing_stops_training_with_its_name() -> None:
    with pytest.raises(DataError, match=r"shard-3\.parquet"):
        go(spec(), stream=stream([5]))


@given(st.integers(0, 99), st.integers(0, 400), st.integers(1, 9))
def test_buckets_hold_every_row_once(seed: int, rows: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    order = draw.permutation(rows)
    found = bucketed(order, draw.integers(1, 100, rows), size, draw)
    assert sorted(found.tolist()) == list(range(rows))


def test_texts_of_like_length_come_together_and_every_epoch_otherwise() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 101, 1000)
    tokens = np.where(np.arange(100) < lengths[:, None], np.arange(1, 1001)[:, None], 0).astype(np.int32)
    network = build("bag", {"size": 2, "pairs": 3}, TextInput(1001, 100), Outputs(2), 0)
    targets = draw.integers(0, 2, 1000)

    def epoch(batches: Resident, number: int) -> tuple[list[int], float]:
        parts = [batches.batch(number, start, min(start + 16, 1000))[0][0] for start in range(0, 1000, 16)]
        padding = sum(int((part == 0).sum()) for part in parts) / sum(part.numel() for part in parts)
        return [int(row) for part in parts for row in part[:, 0]], padding

    together = Resident(network, {"tokens": tokens}, targets, 0, "shuffled", rows_a_step=16)
    first, padding = epoch(together, 0)
    assert sorted(first) == list(range(1, 1001))
    assert padding < 0.1
    assert epoch(Resident(network, {"tokens": tokens}, targets, 0, "shuffled"), 0)[1] > 0.4
    assert epoch(together, 1)[0] != first
    assert epoch(Resident(network, {"tokens": tokens}, targets, 0, "shuffled", rows_a_step=16), 0)[0] == first
    assert (
        np.diff([np.mean(lengths[np.array(first[k : k + 16]) - 1]) for k in range(0, 960, 16)]).std() > 10
    )  # shuffled
