"""Which engine runs a model, with how many threads, and how its requests are batched: measured at load."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, count, take
from bedplate.serving.batcher import BatchPlan, Outputs
from bedplate.serving.costs import CostModel

SIZES = (1, 2, 4, 8, 16, 32, 64)
INLINE_SECONDS = 0.001
"""A full batch that is run on the event loop takes at most about this long."""

_BUDGET = 0.3


@dataclass(frozen=True)
class Chosen:
    """An engine that is ready to run, how it is used, and the figures that decided."""

    run: Callable[[Arrays], Outputs]
    plan: BatchPlan
    costs: CostModel
    engine: str
    variant: str
    threads: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Say in a few words how the model is run."""
        plan = self.plan
        how = "between requests" if plan.inline else f"{plan.runners} × {self.threads} threads"
        batches = f"batches of up to {plan.most_rows}" if plan.most_rows > 1 else "no batching"
        return f"variant {self.variant} on {self.engine}, {how}, {batches}"


def choose_engine(bundle: Bundle, *, threads: int, batching: bool = True) -> Chosen:
    """Return the engine for a bundle on this machine; `threads` is what all its runners may use together."""
    lone = bundle.predictor(threads=1)
    times = measure(lone, bundle.golden.inputs)
    quick = times[1] <= INLINE_SECONDS
    if quick or threads == 1:
        fitting = [rows for rows, seconds in times.items() if seconds <= INLINE_SECONDS] if quick else list(times)
        return _chosen(lone, times, fitting, batching, runners=1, inline=quick)
    wide = bundle.predictor(threads=threads)
    wide_times = measure(wide, bundle.golden.inputs)
    side_by_side = _throughput(lone, bundle.golden.inputs, threads)
    if side_by_side > 1.1 * max(rows / seconds for rows, seconds in wide_times.items()):
        return _chosen(lone, times, list(times), batching, runners=threads, inline=False)
    return _chosen(wide, wide_times, list(wide_times), batching, runners=1, inline=False)


def _chosen(
    engine: OnnxPredict, times: dict[int, float], fitting: list[int], batching: bool, *, runners: int, inline: bool
) -> Chosen:
    # Batching only as far as each doubling still makes a row cheaper: never slower than off.
    most = 1
    for rows in fitting:
        if batching and times[rows] / rows < 0.98 * times[most] / most:
            most = rows
    costs = CostModel(times.items())
    plan = BatchPlan(most_rows=most, most_wait=0.0 if most == 1 or inline else 0.005, runners=runners, inline=inline)
    return Chosen(engine, plan, costs, "onnxruntime", engine.variant, engine.threads)


def tiled(inputs: Arrays, rows: int) -> Arrays:
    """Return the first rows, again and again until there are `rows`."""
    return take(inputs, np.arange(rows) % count(inputs))


def measure(run: Callable[[Arrays], Any], inputs: Arrays, budget: float = _BUDGET) -> dict[int, float]:
    """Return the best of some timings for each batch size, as far as the budget of seconds goes."""
    times: dict[int, float] = {}
    for rows in SIZES:
        batch = tiled(inputs, rows)
        run(batch)
        best, spent, n = float("inf"), 0.0, 0
        while n < 3 or (spent < budget / len(SIZES) and n < 50):
            begun = time.perf_counter()
            run(batch)
            seconds = time.perf_counter() - begun
            best, spent, n = min(best, seconds), spent + seconds, n + 1
        times[rows] = best
        if best > budget / 4:
            break
    return times


def _throughput(run: Callable[[Arrays], Any], inputs: Arrays, runners: int) -> float:
    """Return rows a second of several threads that share one engine."""
    batch, steps = tiled(inputs, 8), 4
    with ThreadPoolExecutor(runners) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda _: run(batch), range(steps * runners)))
        return 8 * steps * runners / (time.perf_counter() - begun)
