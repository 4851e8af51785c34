"""Batches of a text: windows that begin anywhere, so that no two epochs cut it alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bedplate.core.arrays import Arrays
from bedplate.core.seeds import generator
from bedplate.models import Network


class Windows:
    """The windows of one text in the memory of the device.

    An epoch's windows lie side by side as the rows do, but begin with an offset of the epoch's own, and come in an
    order of its own: every token is seen once, each time with another past.

    Args:
        network: it says which tensor holds the tokens.
        features: windows [rows, length] that follow one another.
        targets: the token after each of them [rows, length].
        seed: the order and the offsets derive from it and the epoch alone.
        device: where the text lies.
    """

    def __init__(self, network: Network, features: Arrays, targets: np.ndarray, seed: int, device: str = "cpu") -> None:
        (name,) = network.inputs.names
        tokens = features[name]
        self.rows, self.length = tokens.shape
        text = np.concatenate([tokens.reshape(-1), targets.reshape(-1)[-1:]]).astype(np.int32)
        self._text = torch.from_numpy(text).to(device)
        self._seed, self._epoch, self._starts = seed, -1, torch.empty(0)
        self._within = torch.arange(self.length + 1, device=device)

    def starts(self, epoch: int) -> np.ndarray:
        """Return where the epoch's windows begin [rows], in its order."""
        draw = generator(self._seed, "windows", epoch)
        offset = draw.integers(0, self.length)
        starts = offset + self.length * draw.permutation(self.rows)
        # One window would reach beyond the end: it begins as late as it can.
        return np.asarray(np.minimum(starts, self.rows * self.length - self.length))

    def batch(self, epoch: int, start: int, stop: int) -> tuple[list[Tensor], Tensor]:
        """Return the windows at [start, stop) of the epoch's order, and the token after each of theirs."""
        if epoch != self._epoch:
            self._epoch, self._starts = epoch, torch.from_numpy(self.starts(epoch)).to(self._text.device)
        found = self._text[self._starts[start:stop, None] + self._within]
        return [found[:, :-1].contiguous()], found[:, 1:].to(torch.int64)
