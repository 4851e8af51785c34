"""What graphs cost and lose, measured in one process in turns; and whether one is at least as good as another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bedplate.bundle.session import OnnxPredict
from bedplate.compression.measure import Latency, batch_dependence, measure_latencies
from bedplate.compression.variants import DEPENDENCE, SMALLER
from bedplate.core.arrays import Predict, predict_in_batches
from bedplate.data.dataset import Rows
from bedplate.evaluation import metric_drop
from bedplate.evaluation.comparison import mcnemar

MAX_DROP = 0.5
"""Points of accuracy that may be lost, by the upper bound."""

PASSES = 3
"""How often a pair is timed, spread over the whole measurement; the pass with the middle ratio is told."""

Word = Literal["gain", "no gain", "harm"]


@dataclass(frozen=True)
class Figures:
    """One graph, measured.

    Attributes:
        name: unique in its table.
        size_bytes: of the ONNX graph.
        latency: of one row on one thread, with its ratio to the first graph's.
        accuracy: share of the test rows, 0 to 1.
        drop: points of accuracy lost against the first graph; `drop_high` bounds it from above at 95 %.
        dependence: by how much an answer moves with the rows beside it.
        facts: whatever else is worth telling, as JSON.
    """

    name: str
    size_bytes: int
    latency: Latency
    accuracy: float
    drop: float = 0.0
    drop_high: float = 0.0
    dependence: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "name": self.name, "size_bytes": self.size_bytes, "latency_ms": self.latency.to_json(),
            "accuracy": self.accuracy, "drop": round(self.drop, 4), "drop_high": round(self.drop_high, 4),
            "dependence": float(f"{self.dependence:.3g}"), **self.facts,
        }  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """Where graphs are measured.

    Attributes:
        timing: rows that are asked one at a time (validation rows).
        test: rows that judge.
        output: the answer's name, probabilities [rows, classes].
        seed: of bootstraps.
    """

    timing: Rows
    test: Rows
    output: str
    seed: int = 0

    def sessions(self, graphs: Mapping[str, bytes]) -> dict[str, Predict]:
        """Return each graph ready to be asked, on one thread."""
        return {name: OnnxPredict(graph, variant=name, threads=1) for name, graph in graphs.items()}

    def paired(self, reference: str, predictors: Mapping[str, Predict]) -> dict[str, Latency]:
        """Return each one's latency with its ratio to the reference's, each timed in turns with the reference alone.

        With many graphs in one turn, what ran just before leaves its code and buffers in the caches, so that a graph
        beside its like seems faster than it is. In pairs both have the same neighbours.
        """
        base = predictors[reference]
        passes: dict[str, list[Latency]] = {name: [] for name in predictors}
        for number in range(PASSES):
            for name, predict in predictors.items():
                pair = {reference: base} if name == reference else {reference: base, name: predict}
                passes[name].append(measure_latencies(pair, self.timing.inputs, seed=self.seed + number)[name])
        return {name: middle(found) for name, found in passes.items()}

    def answers(self, predict: Predict) -> np.ndarray:
        """Return the probabilities [test rows, classes]."""
        return np.asarray(predict_in_batches(predict, self.test.inputs)[self.output])

    def figures(
        self, graphs: Mapping[str, bytes], facts: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, Figures], dict[str, np.ndarray]]:
        """Return every graph's figures and its answers to the test rows. The first graph is the original."""
        predictors = self.sessions(graphs)
        latencies = self.paired(next(iter(graphs)), predictors)
        found, answers = dict[str, Figures](), {name: self.answers(one) for name, one in predictors.items()}
        before = answers[next(iter(graphs))]
        for name, graph in graphs.items():
            accuracy = float((answers[name].argmax(1) == self.test.targets).mean())
            one = Figures(name, len(graph), latencies[name], accuracy, facts=facts.get(name, {}))
            if found:  # the original loses nothing against itself
                lost = metric_drop("accuracy", before, answers[name], self.test.targets, seed=self.seed)
                dependence = batch_dependence(predictors[name], self.timing.inputs, self.output)
                one = Figures(
                    name, len(graph), latencies[name], accuracy, lost.value, lost.high, dependence, one.facts
                )  # fmt: skip
            found[name] = one
        return found, answers


def middle(passes: Sequence[Latency]) -> Latency:
    """Return the pass with the middle ratio; of a graph alone, the one with the middle time."""
    return sorted(passes, key=lambda one: (one.ratio, one.median))[len(passes) // 2]


def verdict(one: Figures, original: Figures, *, budget: float = MAX_DROP, floor: float = 1.0) -> tuple[Word, str]:
    """Return whether a graph is worth having, and why: by the rules of `compression.variants`.

    It is faster where its ratio's whole interval lies below `floor`: 1, or what two graphs that are the same differ by.
    """
    size = one.size_bytes / original.size_bytes
    speed = f"{one.latency.ratio:.2f}× ({one.latency.ratio_low:.2f}–{one.latency.ratio_high:.2f}) the latency"
    smaller, faster = size <= SMALLER, one.latency.ratio_high < floor
    if one.dependence > DEPENDENCE:
        return "harm", f"a row's answer depends on the rows beside it (by {one.dependence:.2g})"
    if one.drop_high > budget:
        return "harm", f"may lose {one.drop_high:.2f} points, budget {budget:g}"
    if not smaller and not faster:
        return "no gain", f"neither smaller nor faster: {size:.2f}× the size, {speed}"
    what = "smaller and faster" if smaller and faster else "smaller, not faster" if smaller else "faster, not smaller"
    return "gain", what


@dataclass(frozen=True)
class Comparison:
    """What the best of our points is to one of a peer's.

    Attributes:
        word: dominates (better in one, at least equal in the others by the figures); equals (as `dominates`, but where
            the accuracy bound is no lower, the difference of the answers is not real); behind.
        name: our point: the one that does it, or that lacks least.
        ratio: our latency over the peer's, with its interval.
        lacks: in what that point is behind.
    """

    word: Literal["dominates", "equals", "behind"]
    name: str
    ratio: tuple[float, float, float]
    lacks: tuple[str, ...]


def compared(
    ours: Sequence[Figures], peer: Figures, ratios: Mapping[str, tuple[float, float, float]],
    p_values: Mapping[str, float],
) -> Comparison:  # fmt: skip
    """Return whether one of our points is at least as small, as fast and as right as a peer's.

    Args:
        ours: our points.
        peer: the peer's.
        ratios: by our point, its latency over the peer's: value, low, high. It counts as no slower if `low` is ≤ 1.
        p_values: by our point, McNemar's between its answers and the peer's; from 0.05 on they are equally right.
    """
    found: list[tuple[int, int, float, Comparison]] = []
    for one in ours:
        value, low, high = ratios[one.name]
        small, quick = one.size_bytes <= peer.size_bytes, low <= 1
        right, alike = one.drop_high <= peer.drop_high, p_values[one.name] >= 0.05
        better = one.size_bytes < peer.size_bytes or high < 1 or one.drop_high < peer.drop_high
        lacks = tuple(
            what
            for what, fine in (("size", small), ("latency", quick), ("accuracy", right or alike))
            if not fine
        )  # fmt: skip
        word: Literal["dominates", "equals", "behind"] = "behind" if lacks else "equals"
        if not lacks and right and better:
            word = "dominates"
        rank = {"dominates": 0, "equals": 1, "behind": 2}[word]
        found.append((rank, len(lacks), value, Comparison(word, one.name, (value, low, high), lacks)))
    return min(found, key=lambda each: each[:3])[3]


def pairwise(ours: Sequence[Figures], peer: str, graphs: Mapping[str, bytes], bench: Bench) -> dict[str, Latency]:
    """Return our points' latencies with their ratios to a peer's."""
    chosen = {name: graphs[name] for name in (peer, *(one.name for one in ours))}
    return bench.paired(peer, bench.sessions(chosen))


def same_accuracy(first: np.ndarray, second: np.ndarray, targets: np.ndarray) -> float:
    """Return McNemar's exact p-value between two graphs' answers [rows, classes] to the same rows."""
    one, other = first.argmax(1) == targets, second.argmax(1) == targets
    return mcnemar(int((one & ~other).sum()), int((~one & other).sum()))
