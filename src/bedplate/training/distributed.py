"""Several workers in one training: each takes its share of every batch, and gradients are averaged (DDP).

The process group is made by whoever starts the workers (torchrun, Ray Train); here it is only used. The batch is the
recipe's whole batch whatever the number of workers, so one worker and two train alike within rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


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
        return network if self.size == 1 else _Averaged(network)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of `value` over the workers; alone, `value`."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def from_first(self, values: Mapping[str, float] | None, names: tuple[str, ...]) -> dict[str, float]:
        """Return the first worker's numbers under `names`; the others pass None."""
        if self.size == 1:
            assert values is not None
            return {name: float(values[name]) for name in names}
        numbers = torch.tensor([float(values[name]) if values else 0.0 for name in names], dtype=torch.float64)
        distributed.broadcast(numbers, 0)
        return dict(zip(names, numbers.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any worker."""
        if self.size == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag))).item())


class _Averaged(DistributedDataParallel):
    """DDP through which the network's own attributes can be reached, as objectives do."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def workers() -> Workers:
    """Return this process's place among the workers of the process group, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        return Workers(distributed.get_rank(), distributed.get_world_size())
    return Workers()


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def unsynchronised(network: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Return a context in which backward passes add gradients up locally, as all but a step's last one do."""
    return network.no_sync() if wanted and isinstance(network, DistributedDataParallel) else _nothing()
