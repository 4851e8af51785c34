"""Measure candidates and say what each costs: size, latency in turns, and what it loses with its bound.

Validation rows choose. Test rows are asked once, of what is on the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import Prepare
from bedplate.compression.front import Point
from bedplate.compression.measure import Latency, batch_dependence, measure_latencies
from bedplate.compression.variants import DEPENDENCE, SMALLER
from bedplate.core.arrays import Predict, predict_in_batches
from bedplate.data.dataset import Rows
from bedplate.evaluation import evaluate, metric_drop, slice_drops
from bedplate.evaluation.judge import losses_of
from bedplate.evaluation.metrics import LanguageFacts

ORIGINAL = "original"
_SLICES = 5
"""How many of the slices that lose most are told."""


@dataclass(frozen=True)
class Candidate:
    """One graph to measure, and what it was made from.

    Attributes:
        name: unique among the candidates; the original's is "original".
        steps: what was done, as JSON.
        said: the same, for people.
        graph: the whole ONNX graph, the codec's part included.
        model: as `model.json` has it, changes included.
        variant: under which its bundle holds the graph.
        isa: what its bundle says of processors.
        costs: parameters, multiplications and what else is known of it, as JSON.
    """

    name: str
    steps: tuple[Mapping[str, Any], ...]
    said: tuple[str, ...]
    graph: bytes
    model: Mapping[str, Any]
    variant: str
    isa: Mapping[str, Any]
    costs: Mapping[str, Any]


@dataclass(frozen=True)
class Judge:
    """What candidates are judged by.

    Attributes:
        selection: the rows that choose.
        test: the rows that are asked last; the selection rows again where there are no others.
        answers: the labels, or that the answer is a number.
        metric: of which the drop is.
        seed: of bootstraps.
        prepare: the codec's, which makes the graphs' inputs.
    """

    selection: Rows
    test: Rows
    answers: Answers
    metric: str
    seed: int
    prepare: Prepare | None = None

    def measured(self, candidates: Sequence[Candidate]) -> tuple[list[Point], list[tuple[str, str]]]:
        """Return a point for each candidate that isn't refused, by the selection rows, the original first."""
        predictors: dict[str, Predict] = {one.name: single_threaded(one, self.prepare) for one in candidates}
        latencies = measure_latencies(predictors, self.selection.inputs, seed=self.seed)
        before = self._answers(predictors[ORIGINAL], self.selection)
        points, refused = [], []
        for one in candidates:
            why = None
            if one.name != ORIGINAL:
                dependence = batch_dependence(predictors[one.name], self.selection.inputs, self.answers.output)
                why = self._refusal(one, candidates[0], latencies[one.name], dependence)
            if why is not None:
                refused.append((one.name, why))
                continue
            after = self._answers(predictors[one.name], self.selection)
            points.append(self._point(one, latencies[one.name], before, after, self.selection))
        return points, refused

    def _refusal(self, one: Candidate, original: Candidate, latency: Latency, dependence: float) -> str | None:
        if dependence > DEPENDENCE * self._scale():
            return f"a row's answer depends on the rows beside it (by {dependence:.2g})"
        ratio = len(one.graph) / len(original.graph)
        if ratio > SMALLER and latency.ratio_high >= 1:
            return (
                f"no gain: {ratio:.2f}× the size, {latency.ratio:.2f}× the latency "
                f"({latency.ratio_low:.2f}–{latency.ratio_high:.2f})"
            )
        return None

    def _scale(self) -> float:
        return 1.0 if self.answers.shares else float(np.std(self.selection.targets)) or 1.0

    def _answers(self, predict: Predict, rows: Rows) -> np.ndarray:
        """Return what figures are worked out from: the output, or of a language model every token's loss."""
        if self.answers.sizes:
            return losses_of(predict, rows.inputs, rows.targets, self.answers)
        found = np.asarray(predict_in_batches(predict, rows.inputs)[self.answers.output])
        return found if self.answers.kind != "regression" else found.reshape(-1)

    def _point(self, one: Candidate, latency: Latency, before: np.ndarray, after: np.ndarray, rows: Rows) -> Point:
        value, calibration = self._figures(after, rows)
        facts: dict[str, Any] = {**one.costs, "latency_ratio": _three(latency)}
        if calibration is not None:
            facts["calibration_error"] = calibration
        steps = tuple(one.said)
        if one.name == ORIGINAL:  # which loses nothing against itself, for sure
            return Point(one.name, steps, len(one.graph), latency, (self.metric, value), facts=facts)
        drop = metric_drop(
            self.metric, before, after, rows.targets, positive=self.answers.positive, scale=self.answers.scale,
            naive=self.answers.naive, levels=self.answers.levels, tags=self.answers.tags or (),
            transitions=self.answers.transitions, kind=self.answers.kind, seed=self.seed,
        )  # fmt: skip
        return Point(
            one.name, steps, len(one.graph), latency, (self.metric, value), drop.value, drop.high, facts
        )  # fmt: skip

    def _figures(self, outputs: np.ndarray, rows: Rows) -> tuple[float, float | None]:
        """Return the metric and, of a classifier, the expected calibration error."""
        if self.answers.sizes:
            facts = LanguageFacts(outputs, rows.targets, self.answers.sizes)
            return float(facts.measure(np.ones((1, facts.rows)))[self.metric][0]), None
        report = evaluate(
            lambda _: {self.answers.output: outputs}, rows.inputs, rows.targets, self.answers, resamples=0,
            batch_size=len(rows),
        )  # fmt: skip
        error = report.metrics.get("ece")
        return report.metrics[self.metric].value, error.value if error else None

    def judged(self, points: Sequence[Point], candidates: Mapping[str, Candidate]) -> list[Point]:
        """Return the points with the test rows' figures in place of the selection rows', and what slices lose."""
        before = self._answers(
            OnnxPredict(candidates[ORIGINAL].graph, variant=ORIGINAL, prepare=self.prepare), self.test
        )
        # What a slice of vectors loses hangs on the rows beside it; windows of a text have no slices.
        columns = {} if self.answers.dimensions or self.answers.sizes else dict(self.test.slices)
        if self.answers.labels is not None and len(self.answers.labels) > 1:
            columns["class"] = np.asarray(self.answers.labels, object)[self.test.targets]
        found = []
        for point in points:
            one = candidates[point.name]
            after = self._answers(OnnxPredict(one.graph, variant=one.name, prepare=self.prepare), self.test)
            again = self._point(one, point.latency, before, after, self.test)
            facts = {
                **again.facts,
                "selection": {"metric": point.metric[1], "drop": point.drop, "drop_high": point.drop_high},
            }
            if one.name != ORIGINAL:
                slices = slice_drops(before, after, self.test.targets, columns, seed=self.seed)
                facts["slices"] = [each.to_json() for each in slices[:_SLICES]]
            found.append(replace(again, facts=facts))
        return found


def single_threaded(one: Candidate, prepare: Prepare | None = None) -> OnnxPredict:
    """Return a candidate as it is timed: on one thread, as a server's requests share the processors."""
    return OnnxPredict(one.graph, variant=one.name, threads=1, prepare=prepare)


def _three(latency: Latency) -> dict[str, float]:
    return {
        "value": round(latency.ratio, 4), "low": round(latency.ratio_low, 4), "high": round(latency.ratio_high, 4),
    }  # fmt: skip
