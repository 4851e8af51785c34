"""Several workers in one training: each takes its share of every batch, and gradients are averaged (DDP).

The process group is made by whoever starts the workers (torchrun, Ray Train); here it is only used. The batch is the
recipe's whole batch whatever the number of workers, so one worker and two train alike within rounding.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bedplate.core.errors import InputError

AGREE_EVERY = 20
"""After how many steps, at the most, several workers agree on whether to write a checkpoint or to stop."""
AGREE_SECONDS = 0.25
"""How long they go without agreeing where steps are slow."""


@dataclass(frozen=True)
class Workers:
    """This process among all: `rank` from 0 to `size` − 1. A single process is rank 0 of 1."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the worker that validates, writes and tells."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Return this worker's part of a batch of `rows`; the parts differ by one row at most."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return what averages the gradients over the workers in its backward pass; alone, the network itself."""
        return network if self.size == 1 else _averaged(network)

    def check_batch(self, rows: int) -> None:
        """Raise an InputError where a batch of `rows` has less than two rows for each of several workers."""
        if self.size > 1 and rows < 2 * self.size:
            raise InputError(
                "the batch is too small for so many workers",
                where="training.batch_size",
                expected=f"{2 * self.size} rows or more for {self.size} workers",
                received=f"{rows} rows",
                hint="take fewer workers, or a larger batch",
            )

    def gathered(self, value: Tensor) -> Tensor:
        """Return every worker's scalar `value` [workers], on the CPU."""
        value = value.detach().cpu().reshape(1)
        if self.size == 1:
            return value
        found = [torch.empty_like(value) for _ in range(self.size)]
        distributed.all_gather(found, value)
        return torch.cat(found)

    def from_first(self, values: Mapping[str, float] | None, names: tuple[str, ...]) -> dict[str, float]:
        """Return the first worker's numbers under `names`; the others pass None."""
        if self.size == 1:
            assert values is not None
            return {name: float(values[name]) for name in names}
        numbers = torch.tensor([float(values[name]) if values else 0.0 for name in names], dtype=torch.float64)
        distributed.broadcast(numbers, 0)
        return dict(zip(names, numbers.tolist(), strict=True))

    def largest(self, *numbers: float) -> list[float]:
        """Return the largest of all workers' numbers, place by place."""
        if self.size == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return found.tolist()


class Agreement:
    """When the workers agree on checkpoints and stopping: all at the same step, of which the clock can't be trusted.

    How many steps lie between is itself agreed: a quarter of a second's, and `AGREE_EVERY` at the most.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._every, self._since, self._began = 1, 0, time.monotonic()

    def due(self) -> bool:
        """Count a step, and return whether the workers agree after it."""
        self._since += 1
        return self._since >= self._every

    def reach(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Return whether any worker wants to stop, and whether any wants to write a checkpoint."""
        if self._workers.size == 1:
            return stop, save
        each = (time.monotonic() - self._began) / self._since
        wanted, write, slowest = self._workers.largest(float(stop), float(save), each)
        self._every = max(1, min(AGREE_EVERY, int(AGREE_SECONDS / max(slowest, 1e-6))))
        self._since, self._began = 0, time.monotonic()
        return bool(wanted), bool(write)


class _Averaged(DistributedDataParallel):
    """DDP through which the network's own attributes can be reached, as objectives do."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def _averaged(network: nn.Module) -> nn.Module:
    """Return the network in DDP, whose buckets stay as they are first laid out.

    DDP lays its buckets out anew after the first step, unless unused parameters are looked for. How gradients lie in
    them decides in which order three or more workers' are summed, so a continued run would differ in the last bits. It
    also lets a network leave parameters out of a step.
    """
    return _Averaged(network, find_unused_parameters=True)


def workers() -> Workers:
    """Return this process's place among the workers of the process group, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        return Workers(distributed.get_rank(), distributed.get_world_size())
    return Workers()


def leave() -> NoReturn:
    """Leave the process group and end this process with 0, its work being written.

    The interpreter's own way out aborts now and then: a thread of gloo may still hold a tensor of the last exchange,
    and asks for Python's lock when that has gone (pytorch/pytorch pull request 179291).
    """
    distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def unsynchronised(network: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Return a context in which backward passes add gradients up locally, as all but a step's last one do."""
    return network.no_sync() if wanted and isinstance(network, DistributedDataParallel) else _nothing()
