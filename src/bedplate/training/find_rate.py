"""The learning-rate range test: raise the rate exponentially over a short training, and watch the loss.

Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017, section 3.3). The rate goes from `low` to
`high` in equal factors, the loss is smoothed by an exponential average without its bias towards the start, and the test
ends where the smoothed loss exceeds four times its best. The suggestion is the rate at which the smoothed loss falls
fastest per factor of the rate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedplate.core.errors import GateError, InputError
from bedplate.models import Network
from bedplate.objectives import Objective
from bedplate.recipe.schema import TrainingSpec
from bedplate.training.dry_run import dry_run, take_step
from bedplate.training.execution import plain, rows_a_step
from bedplate.training.loop import TrainingData
from bedplate.training.schedules import Schedule

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""
DIVERGED = 4.0
"""Times the best smoothed loss at which the test ends."""
FEWEST_STEPS = 20
_WINDOW = 5
"""Steps to each side over which the slope is taken."""
_LEAST_FALL = 0.02
"""Share of the first loss by which the smoothed loss must fall for a suggestion to mean something."""


@dataclass(frozen=True)
class RateCurve:
    """What a range test found.

    Attributes:
        rates: learning rate of each step.
        losses: mean loss of each step's batch, before the step.
        smoothed: `losses`, smoothed.
        suggestion: the rate at which `smoothed` falls fastest.
        best: the rate at which `smoothed` is least; above it training goes astray.
        diverged: the rate at which the loss exceeded four times its best (or was not finite), or None.
        batch_size: rows of a step, for which the rates hold.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float
    best: float
    diverged: float | None
    batch_size: int

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON; a loss that is not finite is null."""
        finite = [value if math.isfinite(value) else None for value in self.losses]
        return {
            "suggestion": self.suggestion,
            "best": self.best,
            "diverged": self.diverged,
            "batch_size": self.batch_size,
            "rates": list(self.rates),
            "losses": finite,
            "smoothed": [value if math.isfinite(value) else None for value in self.smoothed],
        }


def smooth(losses: Sequence[float], weight: float = SMOOTHING) -> list[float]:
    """Return the exponential moving average, each value divided by the weight that it has gathered (Adam's way)."""
    average, found = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = weight * average + (1 - weight) * loss
        found.append(average / (1 - weight**count))
    return found


def steepest(rates: Sequence[float], smoothed: Sequence[float], noise: float = 0.0) -> float:
    """Return the rate where the smoothed loss falls fastest per factor of the rate, before its least value.

    Args:
        rates: ascending.
        smoothed: the smoothed loss at each.
        noise: the standard deviation of a batch's loss around its trend.

    Raises:
        GateError: the loss never falls by more than the noise and a fiftieth of its first value.
    """
    lowest = int(np.argmin(smoothed))
    first = statistics.median(smoothed[: max(lowest // 4, 1)])
    if lowest < 2 or not first - smoothed[lowest] > max(noise, _LEAST_FALL * abs(first)):
        raise GateError(
            "no learning rate lowers the loss",
            expected="a loss that falls by a fiftieth or more, and by more than batches differ",
            received=f"{first:.4g} at first and {smoothed[lowest]:.4g} at best, batches differ by {noise:.2g}",
            hint="more --steps, other bounds (--low, --high), or another objective or model",
        )
    # Over a window, as the slope between two neighbours is mostly the noise of their batches.
    before = [max(k - _WINDOW, 0) for k in range(lowest + 1)]
    after = [min(k + _WINDOW, lowest) for k in range(lowest + 1)]
    slopes = [(smoothed[b] - smoothed[a]) / math.log(rates[b] / rates[a]) for a, b in zip(before, after, strict=True)]
    return float(rates[int(np.argmin(slopes))])


def _always(factor: float) -> Schedule:
    return lambda progress, epoch, history: factor


def find_rate(
    network: Network,
    objective: Objective,
    data: TrainingData,
    spec: TrainingSpec,
    *,
    seed: int,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 200,
    told: Callable[[int], None] = lambda step: None,
) -> RateCurve:
    """Run the range test on a copy of `network` and return its curve; the network itself stays as it is.

    Optimiser, augmentation, penalties and batch are the recipe's. What is `auto` is taken as the plain choice, without
    measuring, so that the same seed gives the same curve; a batch size that `auto` chooses scales the recipe's rate
    from that plain one (128 rows).

    Args:
        network: freshly built, or with its starting weights.
        objective: what is minimised.
        data: training rows.
        spec: the recipe's `training`; its learning rate and schedule are not used.
        seed: the recipe's seed.
        low: the first step's rate.
        high: the last step's rate.
        steps: how many; over more than one epoch where the rows are few.
        told: called with the number of steps taken.

    Raises:
        InputError: bounds or steps that make no test.
        GateError: no rate lowers the loss.
    """
    if not 0 < low < high or not math.isfinite(high):
        raise InputError(
            "not a range of learning rates", where="--low, --high", expected="0 < low < high",
            received=f"{low:g} to {high:g}",
        )  # fmt: skip
    if steps < FEWEST_STEPS:
        raise InputError("too few steps", where="--steps", expected=f"{FEWEST_STEPS} or more", received=str(steps))
    if len(data) < 2:
        raise InputError("too few training rows", expected="2 or more", received=str(len(data)))
    spec = plain(spec)
    machinery, run = dry_run(network, objective, data, spec, seed=seed)
    base = float(run.optimizers[0].param_groups[0]["lr"])
    rates: list[float] = []
    losses: list[float] = []
    best, diverged = math.inf, None
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        machinery.schedule = _always(rate / base)
        before = run.loss_sum.clone()
        start = run.step_in_epoch * rows_a_step(spec)
        rows = min(rows_a_step(spec), machinery.batches.rows - start)
        take_step(machinery, run)
        rates.append(rate)
        losses.append((run.loss_sum - before).item() / rows)
        told(step + 1)
        smoothed = smooth(losses)[-1]
        if not math.isfinite(smoothed) or (step >= FEWEST_STEPS // 2 and smoothed > DIVERGED * best):
            diverged = rate
            break
        best = min(best, smoothed)
    curve = smooth(losses)
    usable = [k for k, value in enumerate(curve) if math.isfinite(value)]
    kept_rates, kept = [rates[k] for k in usable], [curve[k] for k in usable]
    lowest = int(np.argmin(kept))
    # Differences of neighbours hold the noise twice, and hardly anything of the trend.
    noise = float(np.std(np.diff(losses[: lowest + 1])) / math.sqrt(2)) if lowest > 1 else 0.0
    suggestion = steepest(kept_rates, kept, noise)
    best_rate, size = kept_rates[lowest], rows_a_step(spec)
    return RateCurve(tuple(rates), tuple(losses), tuple(curve), suggestion, best_rate, diverged, size)
