"""Which of several candidates are worth more training: successive halving over several costs at once.

All candidates are trained a little, the better half goes on. Jamieson and Talwalkar 2016, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization", algorithm 1; with several costs, better means an earlier front of
non-dominated candidates and, within a front, a wider gap to its neighbours (Deb et al. 2002, "NSGA-II", sections 3.A
and 3.B).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Costs = tuple[float, ...]


def dominates(one: Costs, other: Costs) -> bool:
    """Return whether no cost of one is higher than the other's, and one is lower."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def fronts(costs: Mapping[str, Costs]) -> list[list[str]]:
    """Return the names in fronts: those that nothing dominates, then those that only the first dominate, and so on."""
    left, found = dict(costs), []
    while left:
        front = [name for name, own in left.items() if not any(dominates(other, own) for other in left.values())]
        found.append(front)
        left = {name: own for name, own in left.items() if name not in front}
    return found


def crowding(front: Sequence[str], costs: Mapping[str, Costs]) -> dict[str, float]:
    """Return each one's gap to its neighbours in the front, summed over the costs.

    The cheapest in any cost has an infinite one. Unlike in NSGA-II the dearest has not: nobody asks for the largest.
    """
    gaps = dict.fromkeys(front, 0.0)
    for k in range(len(next(iter(costs.values()), ()))):
        ordered = sorted(front, key=lambda name: costs[name][k])
        span = costs[ordered[-1]][k] - costs[ordered[0]][k]
        gaps[ordered[0]] = math.inf
        for place in range(1, len(ordered)) if span > 0 else ():
            beyond = ordered[min(place + 1, len(ordered) - 1)]
            gaps[ordered[place]] += (costs[beyond][k] - costs[ordered[place - 1]][k]) / span
    return gaps


def survivors(costs: Mapping[str, Costs], keep: int) -> list[str]:
    """Return the `keep` candidates to go on with, in the order in which they were given.

    Args:
        costs: what each candidate costs, all the lower the better, finite, equally many a candidate.
        keep: 1 or more.
    """
    if keep < 1:
        raise ValueError(f"one or more must be kept, received {keep}")
    chosen: list[str] = []
    for front in fronts(costs):
        gaps = crowding(front, costs)
        ranked = sorted(front, key=lambda name: -gaps[name])  # stable: of equals the first stays
        chosen += ranked[: keep - len(chosen)]
    return [name for name in costs if name in chosen]
