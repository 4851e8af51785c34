"""What a channel is worth: three criteria, each a number a channel that can be compared across groups.

Each is summed over all parameters that go with the channel, then divided by the group's mean, so that a group of large
weights isn't kept whole for that alone (Molchanov et al. 2017, section 2.2, normalise by layer for the same reason).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bedplate.compression.channels import Group
from bedplate.models import Network
from bedplate.objectives import Objective

Importance = Mapping[str, np.ndarray]
"""By group, a number a channel; the group's mean is 1, or all are 0."""


def normalised(scores: np.ndarray) -> np.ndarray:
    """Divide scores by their mean; scores that are all 0 stay so."""
    mean = float(scores.mean())
    return scores / mean if mean > 0 else np.zeros_like(scores)


def summed(groups: Sequence[Group], values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return for each group the sum of `values` (by parameter, in its shape) over what goes with each channel."""
    found = {}
    for group in groups:
        total = np.zeros(group.width)
        for part in (part for part in group.parts if part.tensor in values):
            value = values[part.tensor].double()
            others = [axis for axis in range(value.ndim) if axis != part.axis]
            along = (value.sum(others) if others else value).cpu().numpy()
            total += along[part.index].sum(1)
        found[group.name] = total
    return found


def magnitude(network: Network, groups: Sequence[Group]) -> Importance:
    """Return the sum of absolute weights over each channel's group.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1, there of the filter alone.
    """
    absolute = {name: parameter.detach().abs() for name, parameter in network.named_parameters()}
    return {name: normalised(scores) for name, scores in summed(groups, absolute).items()}


def taylor(
    network: Network,
    groups: Sequence[Group],
    objective: Objective,
    features: Sequence[Tensor],
    targets: Tensor,
    *,
    form: Literal["absolute", "squared"] = "squared",
    batch: int = 32,
) -> Importance:
    """Return how much the loss is expected to change without each channel: the first-order term of its weights.

    The sum of |w · g| or (w · g)² over the group, averaged over batches, since at a minimum the gradient of all rows
    together is nearly 0. Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", equations 8 and 9.

    Args:
        network: stays as it is; it is judged in evaluation mode.
        groups: those of `channel_groups`.
        objective: the loss of its first step counts.
        features: what the network takes, a few hundred rows.
        targets: of those rows, as the objective takes them.
        form: absolute or squared.
        batch: rows that share a gradient.
    """
    judged = copy.deepcopy(network).eval()
    parameters = {name: p.requires_grad_(True) for name, p in judged.named_parameters()}
    totals = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for start in range(0, len(targets), batch):
        rows = slice(start, start + batch)
        judged.zero_grad()
        losses = objective.steps[0].loss(judged, [tensor[rows] for tensor in features], targets[rows])
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                term = parameter.detach() * parameter.grad
                totals[name] += term.abs() if form == "absolute" else term.square()
    return {name: normalised(scores) for name, scores in summed(groups, totals).items()}


def random(groups: Sequence[Group], seed: int = 0) -> Importance:
    """Return random numbers: what a criterion must beat."""
    generator = np.random.default_rng(seed)
    return {group.name: normalised(generator.random(group.width)) for group in groups}
