"""Element-wise pruning: single weights become zero, the smallest or random ones, at once or by a schedule.

ONNX Runtime multiplies by zeros as by any number, so a sparse graph is no faster, and no smaller on disk; it is smaller
once it has been compressed without loss, and `compressed_bytes` is what to report.
"""

from __future__ import annotations

import copy
import lzma
from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from bedplate.models import Network
from bedplate.training.run import Event, Run

Masks = dict[str, Tensor]
"""By parameter, True where a weight stays, in the parameter's shape."""

Scope = Literal["global", "layer"]


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and dense layers; biases, norms and embeddings are few and stay."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    owners = {name: module for name, module in network.named_modules() if isinstance(module, kinds)}
    return {f"{name}.weight": module.weight.detach() for name, module in owners.items()}


def magnitude_masks(weights: Mapping[str, Tensor], share: float, *, scope: Scope = "global") -> Masks:
    """Return masks that take away the smallest absolute weights.

    Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", section 3.

    Args:
        weights: by name.
        share: of the weights to take away, 0 to 1, rounded down to whole weights; of equals the first go.
        scope: "global" compares all weights, "layer" takes the same share of each.
    """
    scores = {name: weight.abs().flatten().cpu().numpy() for name, weight in weights.items()}
    return _masks(scores, weights, share, scope)


def random_masks(weights: Mapping[str, Tensor], share: float, *, scope: Scope = "global", seed: int = 0) -> Masks:
    """Return masks that take away random weights: what a criterion must beat. Arguments as of `magnitude_masks`."""
    generator = np.random.default_rng(seed)
    return _masks({name: generator.random(weight.numel()) for name, weight in weights.items()}, weights, share, scope)


def _masks(scores: Mapping[str, np.ndarray], weights: Mapping[str, Tensor], share: float, scope: Scope) -> Masks:
    """Return masks without the `share` of the lowest scores."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, received {share}")
    if not scores:
        return {}
    together = [list(scores)] if scope == "global" else [[name] for name in scores]
    found = {}
    for names in together:
        joined = np.concatenate([scores[name] for name in names])
        kept = np.ones(len(joined), bool)
        kept[np.argsort(joined, kind="stable")[: int(share * len(joined) + 1e-9)]] = False
        borders = np.cumsum([len(scores[name]) for name in names])[:-1]
        for name, part in zip(names, np.split(kept, borders), strict=True):
            found[name] = torch.from_numpy(part).reshape(weights[name].shape).to(weights[name].device)
    return found


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Masks) -> None:
    """Set what masks take away to 0, in place."""
    for name, mask in masks.items():
        network.get_parameter(name).mul_(mask)


def zeros_share(network: nn.Module) -> float:
    """Return the share of zeros among the weights that can be taken away."""
    weights = prunable_weights(network).values()
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, sum(weight.numel() for weight in weights))


def cubic_share(step: int, first: int, last: int, final: float, initial: float = 0.0) -> float:
    """Return the share to take away after a step: fast at first, while much is redundant, and ever slower.

    s = final + (initial - final) · (1 - (step - first) / (last - first))³ between the first and the last step, initial
    before and final after them. Zhu and Gupta 2017, "To prune, or not to prune", section 3, equation 1.
    """
    if last < first:
        raise ValueError(f"the last step {last} comes before the first {first}")
    if step < first:
        return initial
    if step >= last:
        return final
    return final + (initial - final) * (1 - (step - first) / (last - first)) ** 3


class GradualPruning:
    """A hook for `training.train` that takes away more and more weights by the cubic schedule, the smallest first.

    Unlike other hooks it changes the run. Weights are zeroed again after each step, and masks made anew each `every`
    steps and, where a run is taken up, at once. An epoch before the last step of the schedule never counts as the best
    one: what comes out is as sparse as was asked. Where weights are averaged (`training.ema`), apply `masks` once more
    to what comes out.
    """

    def __init__(self, final: float, first: int, last: int, *, every: int = 10, scope: Scope = "global") -> None:
        if not 0 <= final <= 1 or every < 1:
            raise ValueError(f"a share lies between 0 and 1 and a period above 0, received {final} and {every}")
        cubic_share(0, first, last, final)
        self.final, self.first, self.last, self.every, self.scope = final, first, last, every, scope
        self.masks: Masks = {}

    def __call__(self, event: Event, run: Run) -> None:
        """Zero weights after a step; forget the best epoch while the schedule goes on."""
        if event == "epoch":
            if run.step < self.last:
                run.best_figure = float("-inf")
            return
        if run.step < self.first:
            return
        if not self.masks or (run.step <= self.last and (run.step % self.every == 0 or run.step == self.last)):
            share = cubic_share(run.step, self.first, self.last, self.final)
            self.masks = magnitude_masks(prunable_weights(run.network), share, scope=self.scope)
        apply_masks(run.network, self.masks)


def sparse(network: Network, masks: Masks) -> Network:
    """Return a copy of a network with masks applied; its structure is the same, so there are no changes to note."""
    found = copy.deepcopy(network)
    apply_masks(found, masks)
    return found


def compressed_bytes(graph: onnx.ModelProto | bytes) -> int:
    """Return the size of a graph after lossless compression by LZMA (xz, preset 6, of the standard library)."""
    return len(lzma.compress(graph if isinstance(graph, bytes) else graph.SerializeToString(), preset=6))
