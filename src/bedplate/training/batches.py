"""Where batches come from: rows resident in memory, indexed by a seeded permutation, or a stream that can seek."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bedplate.core.arrays import Arrays
from bedplate.core.seeds import generator
from bedplate.data.stream import RowStream
from bedplate.models import PADDED, Network, to_tensors


class Batches(Protocol):
    """An epoch's rows in an order that the seed and the epoch decide; any position can be asked for."""

    rows: int

    def batch(self, epoch: int, start: int, stop: int) -> tuple[list[Tensor], Tensor]:
        """Return features (in the network's order) and targets of the rows at [start, stop) of the epoch's order."""
        ...


def standardised(targets: np.ndarray, network: Network) -> Tensor:
    """Return class indices, tags' numbers, whether labels are there, or values standardised as the network answers."""
    if network.outputs.tags:
        return torch.from_numpy(np.ascontiguousarray(targets))
    if network.outputs.labelled:
        return torch.from_numpy(np.asarray(targets, np.int64))
    if network.outputs.many:
        return torch.from_numpy(np.asarray(targets, np.float32))
    mean, std = np.asarray(network.outputs.mean), np.asarray(network.outputs.std)
    return torch.from_numpy(((targets - mean) / std).astype(np.float32))


def epoch_order(targets: np.ndarray, seed: int, epoch: int, sampling: str) -> np.ndarray:
    """Return the epoch's row indices [rows]: a permutation, or (balanced) draws in which classes are equally likely."""
    draw = generator(seed, "shuffle", epoch)
    if sampling == "shuffled":
        return draw.permutation(len(targets))
    _, index, counts = np.unique(targets, return_inverse=True, return_counts=True)
    chance = 1.0 / (len(counts) * counts[index])
    return draw.choice(len(targets), len(targets), p=chance / chance.sum())


def bucketed(order: np.ndarray, lengths: np.ndarray, size: int, draw: np.random.Generator) -> np.ndarray:
    """Return an order whose steps of `size` rows hold rows of like length, so that little of them is padding.

    Rows stay within a window of `BUCKETED` steps of where they were drawn; in it they are sorted by length, and its
    steps shuffled. The rows left over at the end stay the last.

    Args:
        order: row indices [rows].
        lengths: of each row, by index.
        size: rows of a step.
        draw: shuffles.
    """
    found = []
    for start in range(0, len(order), size * BUCKETED):
        window = order[start : start + size * BUCKETED]
        window = window[np.argsort(lengths[window], kind="stable")]
        whole = len(window) // size
        if not whole:
            found.append(window)
            continue
        cut = draw.integers(0, len(window) - whole * size + 1)  # the odd ones out aren't always the longest
        odd = window[cut : cut + len(window) - whole * size]
        steps = np.delete(window, np.arange(cut, cut + len(odd))).reshape(whole, size)
        found += [steps[draw.permutation(whole)].reshape(-1), odd]
    return np.concatenate(found) if found else order


def longest(tokens: Tensor) -> int:
    """Return the columns of token numbers [rows, length] that don't hold padding alone, 1 at least."""
    return max(1, int((tokens != 0).sum(1).max()))


BUCKETED = 50
"""Steps of texts within which rows of like length are put together."""


class Resident:
    """All rows in the memory of the device; a batch is one indexing operation.

    Texts of like length come together in steps of `rows_a_step` rows, where that is given.
    """

    def __init__(
        self,
        network: Network,
        features: Arrays,
        targets: np.ndarray,
        seed: int,
        sampling: str,
        device: str = "cpu",
        rows_a_step: int = 0,
    ) -> None:
        self.rows = len(targets)
        self._features = [tensor.to(device) for tensor in to_tensors(network, features)]
        self._targets = standardised(targets, network).to(device)
        self._raw, self._seed, self._sampling, self._device = targets, seed, sampling, device
        self._epoch, self._order = -1, torch.empty(0)
        self._padded = isinstance(network.inputs, PADDED)
        self._by_token = bool(network.outputs.tags) or network.outputs.sequence
        self._rows_a_step = rows_a_step if self._padded else 0
        self._lengths = (features[network.inputs.names[0]] != 0).sum(axis=1) if self._rows_a_step else np.empty(0)

    def batch(self, epoch: int, start: int, stop: int) -> tuple[list[Tensor], Tensor]:
        """Return the rows at [start, stop) of the epoch's order."""
        if epoch != self._epoch:
            order = epoch_order(self._raw, self._seed, epoch, self._sampling)
            if self._rows_a_step:
                draw = generator(self._seed, "buckets", epoch)
                order = bucketed(order, self._lengths, self._rows_a_step, draw)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self._device)
        rows = self._order[start:stop]
        features = [tensor.index_select(0, rows) for tensor in self._features]
        targets = self._targets.index_select(0, rows)
        if self._padded:
            width = longest(features[0])
            features = [tensor[:, :width] for tensor in features]
            targets = targets[:, :width] if self._by_token else targets
        return features, targets


class Streamed:
    """Rows that don't fit into memory, read as they are needed."""

    def __init__(self, network: Network, stream: RowStream, seed: int, device: str = "cpu") -> None:
        self.rows = len(stream)
        self._network, self._stream, self._seed, self._device = network, stream, seed, device

    def batch(self, epoch: int, start: int, stop: int) -> tuple[list[Tensor], Tensor]:
        """Return the rows at [start, stop) of the epoch's order."""
        features, targets = self._stream.batch(self._seed, epoch, start, stop)
        tensors = [tensor.to(self._device) for tensor in to_tensors(self._network, features)]
        return tensors, standardised(targets, self._network).to(self._device)
