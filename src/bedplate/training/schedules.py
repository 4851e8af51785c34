"""Learning-rate schedules: pure functions of the progress, so resuming needs no schedule state.

A schedule maps progress (0 at the first step, 1 after the last) and the epoch to a factor of the optimiser's rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from bedplate.core.registry import Registry

Schedule = Callable[[float, int], float]
schedules: Registry[Callable[..., Schedule]] = Registry("schedule")

Share = Annotated[float, Field(ge=0, lt=1)]


@schedules.register("constant")
def constant() -> Schedule:
    """Keep the rate."""
    return lambda progress, epoch: 1.0


@schedules.register("step")
def step(*, every: Annotated[int, Field(ge=1)] = 10, factor: Annotated[float, Field(gt=0, le=1)] = 0.1) -> Schedule:
    """Multiply the rate by `factor` after each `every` epochs."""
    return lambda progress, epoch: factor ** (epoch // every)


@schedules.register("cosine")
def cosine(*, warmup: Share = 0.0, floor: Share = 0.0) -> Schedule:
    """Rise linearly for the share `warmup` of the steps, then fall along half a cosine to `floor` (SGDR, 2017)."""

    def factor(progress: float, epoch: int) -> float:
        if warmup and progress < warmup:
            return max(progress / warmup, 1e-3)
        done = (progress - warmup) / (1 - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


@schedules.register("linear")
def linear(*, warmup: Share = 0.0, floor: Share = 0.0) -> Schedule:
    """Rise linearly for the share `warmup` of the steps, then fall linearly to `floor`."""

    def factor(progress: float, epoch: int) -> float:
        if warmup and progress < warmup:
            return max(progress / warmup, 1e-3)
        return floor + (1 - floor) * (1 - (progress - warmup) / (1 - warmup))

    return factor


@schedules.register("one-cycle")
def one_cycle(*, warmup: Share = 0.3, start: Annotated[float, Field(gt=0, le=1)] = 0.04, end: Share = 1e-4) -> Schedule:
    """Rise from `start` to 1 and fall to `end`, both along half cosines (Smith and Topin 2018)."""

    def factor(progress: float, epoch: int) -> float:
        low, done = (
            (start, progress / warmup)
            if warmup and progress < warmup
            else (end, 1 - (progress - warmup) / (1 - warmup))
        )
        return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * done))

    return factor
