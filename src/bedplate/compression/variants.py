"""Try each method, measure what came out, and keep it only if it does no harm and does some good.

A variant is kept if it is measurably smaller (by 5 % or more) or faster (the whole 95 % interval of the latency ratio
lies below 1) on this machine, its accuracy drop is inside the budget with its upper confidence bound, and a row's
answer does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import EMBEDDING, PROBABILITIES, Answers
from bedplate.codecs.codec import Prepare
from bedplate.compression.isa import isa
from bedplate.compression.measure import Latency, batch_dependence, measure_latencies
from bedplate.compression.registry import methods
from bedplate.core.arrays import Arrays, Predict, predict_in_batches
from bedplate.core.machine import cpu_features
from bedplate.evaluation import metric_drop, paired_drop
from bedplate.evaluation.comparison import Drop, perplexity_drop
from bedplate.evaluation.judge import losses_of

FOUNDATION = "f32"
SMALLER = 0.95
DEPENDENCE = 1e-3


@dataclass(frozen=True)
class Variant:
    """One graph, measured. `metrics` are the validation rows' drop figures; the caller adds the test split's."""

    name: str
    graph: bytes
    kept: bool
    reason: str
    latency: Latency
    drop: float = 0.0
    drop_high: float = 0.0
    isa: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of the graph."""
        return len(self.graph)


@dataclass(frozen=True)
class Trial:
    """What variants are tried on: training rows for calibration, validation rows for judging (features and raw).

    `answers` are needed for tags and sets of labels.
    """

    calibration: Arrays
    inputs: Arrays
    targets: np.ndarray
    output: str
    max_drop: float
    seed: int
    prepare: Prepare | None = None
    answers: Answers | None = None

    @property
    def unit(self) -> str:
        """What is lost, in words."""
        kind = None if self.answers is None else self.answers.kind
        known = dict.fromkeys(("tagging", "multi-label"), "points of F1")
        known |= {"language": "% of perplexity", EMBEDDING: "points of recall at 1"}
        # Of RMSE where it is a forecast's, too.
        return known.get(kind or "", "points of accuracy" if self.output == PROBABILITIES else "% of RMSE")

    def judged(self, predict: Predict) -> np.ndarray:
        """Return what a drop is worked out from: the output, or of a language model every token's loss."""
        if self.answers is not None and self.answers.sizes:
            return losses_of(predict, self.inputs, self.targets, self.answers)
        return predict_in_batches(predict, self.inputs)[self.output]

    def drop(self, before: np.ndarray, after: np.ndarray) -> Drop:
        """Return what a variant's answers lose against the reference's."""
        own = self.answers
        if own is not None and own.sizes:
            return perplexity_drop(before, after, self.targets, seed=self.seed)
        if own is not None and own.dimensions:
            return metric_drop("recall_at_1", before, after, self.targets, kind=EMBEDDING, seed=self.seed)
        if own is not None and own.tags is not None:
            return metric_drop(
                "f1", before, after, self.targets, tags=own.tags, transitions=own.transitions, seed=self.seed
            )
        if own is not None and own.many is not None:
            return metric_drop("f1", before, after, self.targets, kind=own.kind, seed=self.seed)
        return paired_drop(before, after, self.targets, seed=self.seed)

    @property
    def scale(self) -> float:
        """What a large difference between two answers is."""
        shares = self.output == PROBABILITIES or (self.answers is not None and self.answers.shares)
        return 1.0 if shares else float(np.std(self.targets)) or 1.0


def _verdict(
    size: int, base_size: int, latency: Latency, drop_high: float, dependence: float, trial: Trial
) -> tuple[bool, str]:
    """Return (kept, why)."""
    unit = trial.unit
    ratio = size / base_size
    speed = f"{latency.ratio:.2f}× its latency ({latency.ratio_low:.2f}–{latency.ratio_high:.2f})"
    size_text = f"{ratio:.2f}× the size"
    if dependence > DEPENDENCE:
        return False, f"a row's answer depends on the rows beside it (by {dependence:.2g})"
    if drop_high > trial.max_drop:
        return False, f"may lose {drop_high:.2f} {unit}, budget {trial.max_drop:g}"
    smaller, faster = ratio <= SMALLER, latency.ratio_high < 1
    if not (smaller or faster):
        return False, f"neither smaller nor faster: {size_text}, {speed}"
    return True, f"{size_text}, {speed}; loses at most {max(drop_high, 0):.2f} {unit}"


def try_variants(
    model: onnx.ModelProto,
    complete: Callable[[onnx.ModelProto], bytes],
    names: Sequence[str],
    trial: Trial,
    announce: Callable[[str], None],
) -> list[Variant]:
    """Return the f32 graph and every tried variant, measured.

    Args:
        model: the network's graph (features → answer).
        complete: puts the codec's pre-graph before a graph and serialises it; what it returns is what is measured.
        names: registered methods.
        trial: the rows and the budget.
        announce: told what is being done.
    """
    base = complete(model)
    graphs = {FOUNDATION: base}
    failed: dict[str, str] = {}
    cpu = cpu_features()
    for name in names:
        announce(f"trying {name}")
        changed = methods.get(name)(model, trial.calibration, cpu)
        if (
            len(changed.graph.node) == len(model.graph.node)
            and changed.SerializeToString() == model.SerializeToString()
        ):
            failed[name] = "nothing to quantise in this graph"
            continue
        graphs[name] = complete(changed)
    predictors: dict[str, Predict] = {
        name: OnnxPredict(graph, variant=name, threads=1, prepare=trial.prepare) for name, graph in graphs.items()
    }
    announce("measuring in turns")
    latencies = measure_latencies(predictors, trial.inputs, seed=trial.seed)
    before = trial.judged(predictors[FOUNDATION])
    found = [Variant(FOUNDATION, base, True, "the reference: runs everywhere", latencies[FOUNDATION])]
    for name, graph in graphs.items():
        if name == FOUNDATION:
            continue
        drop = trial.drop(before, trial.judged(predictors[name]))
        dependence = batch_dependence(predictors[name], trial.inputs, trial.output) / trial.scale
        kept, reason = _verdict(len(graph), len(base), latencies[name], drop.high, dependence, trial)
        found.append(
            Variant(name, graph, kept, reason, latencies[name], drop.value, drop.high, isa(cpu, graph, made_on=cpu))
        )
    none = latencies[FOUNDATION]
    return found + [Variant(name, b"", False, why, none) for name, why in failed.items()]


def choose(variants: Sequence[Variant]) -> str:
    """Return the variant that is served by default: the fastest that is measurably faster than f32, or f32."""
    faster = [v for v in variants if v.kept and v.name != FOUNDATION and v.latency.ratio_high < 1]
    return min(faster, key=lambda v: v.latency.ratio).name if faster else FOUNDATION
