"""How much answers change when one part of a network alone is made smaller: what a search looks at first.

It is cheap, since nothing is trained: a few hundred rows, one changed network for each part and ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bedplate.compression.channel_allocation import best
from bedplate.compression.channel_importance import Importance
from bedplate.compression.channels import Group, prune_channels
from bedplate.compression.divergence import divergence
from bedplate.models import Network

Answers = Callable[[Network], np.ndarray]
"""Returns a network's answers on the rows in question: probabilities [rows, classes] or values [rows]."""

Smaller = Callable[[float], Network]
"""Returns the network with one part alone at a ratio (of its width, its rank …), above 0 and at most 1."""


def sensitivity(
    network: Network, parts: Mapping[str, Smaller], ratios: Sequence[float], answers: Answers
) -> dict[str, dict[float, float]]:
    """Return by part and ratio how far the answers move when that part alone is made smaller.

    Args:
        network: the original.
        parts: what can be made smaller, each by itself.
        ratios: how small to try.
        answers: asks a network about the rows.
    """
    reference = answers(network)
    return {
        name: {ratio: divergence(reference, answers(smaller(ratio))) for ratio in ratios}
        for name, smaller in parts.items()
    }


def channel_parts(network: Network, groups: Sequence[Group], importance: Importance) -> dict[str, Smaller]:
    """Return each group of channels as a part whose ratio is the share of channels that stay, one at least."""

    def part(group: Group) -> Smaller:
        def smaller(ratio: float) -> Network:
            kept = best(importance[group.name], max(1, round(group.width * ratio)))
            return prune_channels(network, groups, {group.name: kept})[0]

        return smaller

    return {group.name: part(group) for group in groups}
