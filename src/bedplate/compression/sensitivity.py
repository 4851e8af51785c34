"""How much answers change when one part of a network alone is made smaller, measured on a few hundred rows.

It is cheap, since nothing is trained: one changed network for each part and ratio. What it finds says which parts can
pay for a budget (`channel_allocation.allocate`, `rank_choice.ranks_by_budget`): parts are judged by what they do to the
answers, where importances only compare the channels, or singular values, of one layer with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bedplate.compression.channel_allocation import best
from bedplate.compression.channel_importance import Importance
from bedplate.compression.channels import Group, prune_channels
from bedplate.compression.divergence import Lost, divergence
from bedplate.compression.factorised_layers import factorise
from bedplate.compression.rank_choice import Option
from bedplate.models import Network

RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""How small each part is tried by itself."""

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


def lost_at(found: Mapping[str, Mapping[float, float]], sizes: Mapping[str, int]) -> Lost:
    """Return what a part loses at any size: a line between what was measured, which never falls as the part shrinks.

    Below the least that was tried it grows as the size's reciprocal.

    Args:
        found: by part and ratio, of `sensitivity`.
        sizes: by part, the size at the ratio 1.
    """
    curves = {}
    for name, points in found.items():
        ratios = sorted(points)
        moved = np.maximum.accumulate([points[ratio] for ratio in reversed(ratios)])[::-1]
        curves[name] = (np.array(ratios) * sizes[name], moved)

    def lost(name: str, size: int) -> float:
        at, moved = curves[name]
        return float(np.interp(size, at, moved)) * max(1.0, float(at[0]) / max(size, 1))

    return lost


def channel_parts(network: Network, groups: Sequence[Group], importance: Importance) -> dict[str, Smaller]:
    """Return each group of channels as a part whose ratio is the share of channels that stay, one at least."""

    def part(group: Group) -> Smaller:
        def smaller(ratio: float) -> Network:
            kept = best(importance[group.name], max(1, round(group.width * ratio)))
            return prune_channels(network, groups, {group.name: kept})[0]

        return smaller

    return {group.name: part(group) for group in groups}


def rank_parts(
    network: Network,
    found: Mapping[str, Option],
    *,
    method: str = "svd",
    inputs: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Smaller]:
    """Return each layer that can pay as a part whose ratio is the share of its break-even rank, one at least.

    Args:
        network: whose layers they are.
        found: of `rank_choice.options`.
        method: as for `factorise`.
        inputs: as for `factorise`.
    """

    def part(name: str, most: int) -> Smaller:
        def smaller(ratio: float) -> Network:
            return factorise(network, {name: max(1, round(most * ratio))}, method=method, inputs=inputs)[0]

        return smaller

    return {name: part(name, option.break_even) for name, option in found.items() if option.break_even}
