"""How many channels each group keeps: the same share of all, or what a share of the network's cost leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bedplate.compression.channel_importance import Importance
from bedplate.compression.channels import Group
from bedplate.compression.divergence import Lost
from bedplate.core.errors import InputError
from bedplate.models import Network

WIDE = 64
"""From this width on, a width is kept to four times the multiple."""


def _multiple(width: int, multiple: int) -> int:
    return multiple * (4 if width >= WIDE else 1)


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` channels of the highest scores, in order; of equals the first stays."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def uniform(
    groups: Sequence[Group], importance: Importance, share: float, *, multiple: int = 4
) -> dict[str, np.ndarray]:
    """Keep about the same share of each group's channels, those that matter most.

    Args:
        groups: those of `channel_groups`.
        importance: a number a channel.
        share: above 0 and at most 1.
        multiple: widths are rounded to multiples of it, and of four times as much where the group has 64 channels or
            more: processors compute up to sixteen channels at once (ONNX Runtime's blocked layout), and fill up what
            is missing.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share lies above 0 and at most at 1, received {share}")
    kept = {}
    for group in groups:
        step = _multiple(group.width, multiple)
        count = min(group.width, max(1, round(group.width * share / step)) * step)
        kept[group.name] = best(importance[group.name], count)
    return kept


class _Sizes:
    """The sizes of all weights while channels are taken away."""

    def __init__(self, network: Network, groups: Sequence[Group], factors: Mapping[str, float]) -> None:
        self.factors = factors
        shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
        self.axes = {name: list(shapes[name]) for name in factors}
        self.touched = {
            group.name: [(p.tensor, p.axis, p.index.shape[1]) for p in group.parts if p.tensor in factors]
            for group in groups
        }

    def total(self) -> float:
        return sum(math.prod(axes) * self.factors[name] for name, axes in self.axes.items())

    def take(self, group: str, count: int) -> None:
        for tensor, axis, expansion in self.touched[group]:
            self.axes[tensor][axis] -= count * expansion

    def saved(self, group: str, count: int) -> float:
        """Return by how much the total falls with so many channels fewer."""
        names = {tensor for tensor, _, _ in self.touched[group]}
        before = sum(math.prod(self.axes[name]) * self.factors[name] for name in names)
        self.take(group, count)
        after = sum(math.prod(self.axes[name]) * self.factors[name] for name in names)
        self.take(group, -count)
        return before - after


def allocate(
    network: Network,
    groups: Sequence[Group],
    importance: Importance,
    prices: Mapping[str, float],
    share: float,
    *,
    lost: Lost | None = None,
    multiple: int = 4,
    least: float = 0.1,
) -> dict[str, np.ndarray]:
    """Take away, again and again, the channels that matter least for what they cost, until a share of the cost is left.

    In each turn every group offers its least important channels down to the next multiple; taken is the offer that
    loses the least, as a share of what the group's channels are still worth, for the cost saved. The share grows as a
    group shrinks, so that no group pays for all.

    Args:
        network: whose channels they are.
        groups: those of `channel_groups`.
        importance: a number a channel, comparable across groups.
        prices: what each number of a weight costs, by its qualified name (`cost.prices`); weights without a price cost
            nothing.
        share: of the cost to keep, above 0 and at most 1.
        lost: by group and width, how far the answers move (`sensitivity.lost_at`): then that is what an offer loses,
            and importance only says which channels of a group go.
        multiple: as for `uniform`.
        least: the share of its channels that each group keeps in any case; never fewer than the multiple.

    Raises:
        InputError: so little can't be reached by taking channels.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share lies above 0 and at most at 1, received {share}")
    sizes = _Sizes(network, groups, prices)
    whole = sizes.total()
    widths = {group.name: group.width for group in groups}
    order = {group.name: np.sort(importance[group.name]) for group in groups}

    def loses(group: Group, width: int, count: int) -> float:
        if lost is not None:
            return lost(group.name, width - count) - lost(group.name, width)
        worth = order[group.name][group.width - width :]
        return float(worth[:count].sum()) / (float(worth.sum()) or 1.0)

    while (left := sizes.total()) > share * whole:
        offers = []
        for group in groups:
            width = widths[group.name]
            step = _multiple(group.width, multiple)
            count = (width - 1) % step + 1
            if width - count < max(step, math.ceil(least * group.width)):
                continue
            saved = sizes.saved(group.name, count)
            if saved:
                offers.append((loses(group, width, count) / saved, group.name, count))
        if not offers:
            raise InputError(
                "taking channels away doesn't get so far", expected=f"{share:.0%} of the cost",
                received=f"{left / whole:.0%} at the least widths", hint="ask for less, or factorise and quantise too",
            )  # fmt: skip
        _, name, count = min(offers)
        sizes.take(name, count)
        widths[name] -= count
    return {name: best(importance[name], width) for name, width in widths.items()}
