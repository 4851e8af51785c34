"""Learning-rate schedules: pure functions of where training stands, so resuming needs no schedule state.

A schedule maps the progress (0 at the first step, 1 after the last), the epoch (from 0) and the history of the epochs
before to a factor of the optimiser's rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from bedplate.core.registry import Registry

History = Sequence[Mapping[str, float]]
Schedule = Callable[[float, int, History], float]
schedules: Registry[Callable[..., Schedule]] = Registry("schedule")

Share = Annotated[float, Field(ge=0, lt=1)]


@schedules.register("constant")
def constant(*, warmup: Share = 0.0) -> Schedule:
    """Keep the rate, after a linear rise for the share `warmup` of the steps."""
    return lambda progress, epoch, history: max(progress / warmup, 1e-3) if progress < warmup else 1.0


@schedules.register("step")
def step(*, every: Annotated[int, Field(ge=1)] = 10, factor: Annotated[float, Field(gt=0, le=1)] = 0.1) -> Schedule:
    """Multiply the rate by `factor` after each `every` epochs."""
    return lambda progress, epoch, history: factor ** (epoch // every)


@schedules.register("cosine")
def cosine(*, warmup: Share = 0.0, floor: Share = 0.0) -> Schedule:
    """Rise linearly for the share `warmup` of the steps, then fall along half a cosine to `floor` (SGDR, 2017)."""

    def factor(progress: float, epoch: int, history: History) -> float:
        if warmup and progress < warmup:
            return max(progress / warmup, 1e-3)
        done = (progress - warmup) / (1 - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


@schedules.register("linear")
def linear(*, warmup: Share = 0.0, floor: Share = 0.0) -> Schedule:
    """Rise linearly for the share `warmup` of the steps, then fall linearly to `floor`."""

    def factor(progress: float, epoch: int, history: History) -> float:
        if warmup and progress < warmup:
            return max(progress / warmup, 1e-3)
        return floor + (1 - floor) * (1 - (progress - warmup) / (1 - warmup))

    return factor


@schedules.register("one-cycle")
def one_cycle(*, warmup: Share = 0.3, start: Annotated[float, Field(gt=0, le=1)] = 0.04, end: Share = 1e-4) -> Schedule:
    """Rise from `start` to 1 and fall to `end`, both along half cosines (Smith and Topin 2018)."""

    def factor(progress: float, epoch: int, history: History) -> float:
        low, done = (
            (start, progress / warmup)
            if warmup and progress < warmup
            else (end, 1 - (progress - warmup) / (1 - warmup))
        )
        return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * done))

    return factor


@schedules.register("plateau")
def plateau(
    *,
    patience: Annotated[int, Field(ge=1)] = 3,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-3,
    floor: Annotated[float, Field(ge=0, lt=1)] = 1e-4,
) -> Schedule:
    """Multiply the rate by `factor` when the validation loss has not fallen for `patience` epochs.

    Args:
        patience: epochs without a fall before the rate is lowered; counting begins again after each lowering.
        factor: what the rate is multiplied by.
        threshold: a fall counts if it is larger than this share of the lowest loss so far.
        floor: the rate is not lowered below this share of the first.
    """

    def rate(progress: float, epoch: int, history: History) -> float:
        lowest, waited, share = math.inf, 0, 1.0
        for entry in history:
            loss = entry["validation_loss"]
            if not math.isfinite(lowest) or loss < lowest - threshold * abs(lowest):
                lowest, waited = loss, 0
                continue
            waited += 1
            if waited >= patience:
                share, waited = max(share * factor, floor), 0
        return share

    return rate
