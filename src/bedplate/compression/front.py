"""Budgets, and the Pareto front of what was measured against them.

A point is on the front where no other is at least as small, as fast and as right, and better in one of the three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedplate.compression.measure import Latency

MB = 1e6


@dataclass(frozen=True)
class Budget:
    """What a compressed model may cost; None stands for no limit.

    Attributes:
        max_latency_ms: median milliseconds of one row.
        max_size_mb: of the graph, in 10⁶ bytes.
        max_drop: the drop's upper bound against the original, in points of a rate or relative percent of an error.
    """

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_drop: float | None = None

    def excesses(self, point: Point) -> dict[str, float]:
        """Return by how many times a point exceeds each limit that it misses; a drop counts from 0 upwards."""
        limits: dict[str, tuple[float, float | None]] = {
            "max_latency_ms": (point.latency.median, self.max_latency_ms),
            "max_size_mb": (point.size_bytes / MB, self.max_size_mb),
            "max_drop": (point.drop_high, self.max_drop),
        }
        # A limit of nothing is missed by whatever there is: no quotient says how far.
        return {
            name: value / limit if limit else float("inf")
            for name, (value, limit) in limits.items() if limit is not None and value > limit
        }  # fmt: skip

    def without(self, name: str) -> Budget:
        """Return the budget without one of its limits."""
        return Budget(**{key: None if key == name else value for key, value in vars(self).items()})


@dataclass(frozen=True)
class Point:
    """One measured candidate.

    Attributes:
        name: unique among the candidates.
        steps: what was done, in order; empty for the original.
        size_bytes: of the ONNX graph.
        latency: of one row on the target engine, with its ratio to the original's.
        metric: the primary metric's name and value on the test rows.
        drop: of the metric against the original on the same rows; `drop_high` bounds it from above at 95 %.
        facts: whatever else is worth telling, as JSON.
    """

    name: str
    steps: tuple[str, ...]
    size_bytes: int
    latency: Latency
    metric: tuple[str, float]
    drop: float = 0.0
    drop_high: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` says of a point."""
        return {
            "name": self.name, "steps": list(self.steps), "size_bytes": self.size_bytes,
            "latency_ms": {"median": self.latency.median, "p95": self.latency.p95},
            "metric": {
                "name": self.metric[0], "value": self.metric[1], "drop": self.drop, "drop_high": self.drop_high,
            },
            **self.facts,
        }  # fmt: skip


def _costs(point: Point) -> tuple[float, float, float]:
    return point.size_bytes, point.latency.median, point.drop_high


def pace(point: Point) -> tuple[float, float, float]:
    """Return what decides between points that are all within a budget: the fastest, of equals the smallest."""
    return point.latency.median, point.size_bytes, point.drop_high


def dominates(one: Point, other: Point) -> bool:
    """Return whether a point is at least as good as another in size, latency and drop, and better in one."""
    mine, its = _costs(one), _costs(other)
    return all(a <= b for a, b in zip(mine, its, strict=True)) and mine != its


def pareto(points: Sequence[Point]) -> list[Point]:
    """Return the points that none dominates, smallest first; of equals the first stays."""
    found: list[Point] = []
    for k, point in enumerate(points):
        if any(dominates(other, point) for other in points):
            continue
        if any(_costs(other) == _costs(point) for other in points[:k]):
            continue
        found.append(point)
    return sorted(found, key=_costs)


@dataclass(frozen=True)
class Choice:
    """What a budget makes of a front.

    Attributes:
        feasible: whether a point meets every limit.
        chosen: the one to take; where none is feasible, the nearest.
        binding: where none is feasible, the limits in the way: each one without which a point would do, or, where no
            single one is to blame, those that the nearest point misses.
    """

    feasible: bool
    chosen: Point
    binding: tuple[str, ...]


def choose(points: Sequence[Point], budget: Budget) -> Choice:
    """Return the point to take: of those within the budget the fastest, of equals the smallest.

    Where none is, the nearest is the one whose worst excess (value over limit) is least.
    """
    within = [point for point in points if not budget.excesses(point)]
    if within:
        return Choice(True, min(within, key=pace), ())
    nearest = min(points, key=lambda p: (max(budget.excesses(p).values()), *_costs(p)))
    missed = budget.excesses(nearest)
    given = [name for name, limit in vars(budget).items() if limit is not None]
    alone = [name for name in given if any(not budget.without(name).excesses(point) for point in points)]
    return Choice(False, nearest, tuple(alone or missed))
