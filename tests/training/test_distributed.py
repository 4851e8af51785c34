"""Several workers: real processes over gloo end as one process does, and stop and continue together."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.errors import InputError, RunError
from bedplate.training import load_checkpoint, weights_digest
from bedplate.training.distributed import AGREE_EVERY, Agreement, Workers, workers

PROGRAM = Path(__file__).with_name("two_workers.py")


def _cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_workers", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def together(folder: Path, size: int) -> list[dict[str, Any]]:
    """Run the program in `size` processes and return what each told."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    started = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), str(rank), str(size)], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(size)
    ]
    try:
        said = [process.communicate(timeout=240)[1].decode() for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * size, "\n".join(said)
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("two")
    return folder, together(folder, 2)


CASES = _cases()


@pytest.mark.parametrize("name", CASES.CASES)
def test_two_workers_end_as_one_does(two: tuple[Path, list[dict[str, Any]]], name: str) -> None:
    folder, told = two
    alone = CASES.go(name)
    state = load_checkpoint(folder / f"{name}.safetensors")
    moved = 0.0
    for key, weights in alone.network.state_dict().items():
        torch.testing.assert_close(state[key], weights, rtol=1e-4, atol=1e-5)
        moved = max(moved, float(weights.abs().max()))
    assert moved > 0.1
    losses = [entry["train_loss"] for entry in alone.history]
    assert told[0]["losses"][name] == told[1]["losses"][name] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("name", ["uneven last batch", "averaged"])
def test_two_workers_are_one_that_accumulates_two_half_batches_bit_for_bit(
    two: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    """What is left between one worker and two is the order of a sum, and nothing else."""
    alone = CASES.go(name, spec={"batch_size": 16, "accumulate": 2})
    assert weights_digest(dict(alone.network.state_dict())) == two[1][0]["digests"][name]


def _equal_after_stopping(told: list[dict[str, Any]]) -> None:
    whole, *resumed = told[0]["resumed"]
    assert resumed == [whole] * 3
    losses = [losses for worker in told for losses in worker["resumed losses"]]
    assert losses == [losses[0]] * len(losses), "the loss of an interrupted epoch is another's"


def test_workers_stop_at_the_same_step_and_continue_bit_for_bit(two: tuple[Path, list[dict[str, Any]]]) -> None:
    """With dropout and batch normalisation, where the workers' randomness and statistics differ."""
    _equal_after_stopping(two[1])


@pytest.mark.slow
def test_three_workers_continue_bit_for_bit(tmp_path: Path) -> None:
    """Three sums can be added in several orders: it must not depend on where the run was taken up."""
    _equal_after_stopping(together(tmp_path, 3))


def test_too_small_a_batch_is_refused(two: tuple[Path, list[dict[str, Any]]]) -> None:
    assert all("too small for so many workers" in told["too small"] for told in two[1])
    with pytest.raises(InputError, match="4 rows or more for 2 workers"):
        Workers(0, 2).check_batch(3)
    Workers(0, 1).check_batch(1)


def test_another_worker_count_is_refused(two: tuple[Path, list[dict[str, Any]]]) -> None:
    with pytest.raises(RunError, match="another number of workers"):
        CASES.go("", noisy=True, checkpoint=two[0] / "checkpoint-11.safetensors", resume=True)


@given(rows=st.integers(0, 1000), size=st.integers(1, 40))
def test_shares_are_all_rows_once_and_nearly_alike(rows: int, size: int) -> None:
    shares = [range(rows)[Workers(rank, size).share(rows)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(rows))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_alone_nothing_is_shared() -> None:
    alone = workers()
    assert (alone.rank, alone.size, alone.first) == (0, 1, True)
    network = torch.nn.Linear(2, 2)
    assert alone.wrap(network) is network
    assert alone.largest(1.0, 2.0) == [1.0, 2.0]
    assert alone.from_first({"a": 1.0, "b": 2.0}, ("b",)) == {"b": 2.0}
    assert np.array_equal(alone.gathered(torch.tensor(3.0)), [3.0])


def test_one_process_agrees_with_itself_after_every_step() -> None:
    agreement = Agreement(Workers())
    for stop, save in ((False, True), (True, False)):
        assert agreement.due()
        assert agreement.reach(stop, save) == (stop, save)
    assert AGREE_EVERY > 1
