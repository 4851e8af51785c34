"""A sealed graph alone: it can be quantised, and judged on rows that lie at hand, or on its golden rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from bedplate.bundle import Bundle, Golden
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers, chosen_labels
from bedplate.codecs.codec import Codec
from bedplate.codecs.tags import decoded
from bedplate.compression.front import Budget, Point
from bedplate.compression.isa import isa, target_features
from bedplate.compression.registry import methods
from bedplate.compression.variants import FOUNDATION
from bedplate.core.arrays import Arrays, Predict, take
from bedplate.core.console import Console
from bedplate.core.errors import InputError
from bedplate.data.dataset import Rows
from bedplate.evaluation import evaluate
from bedplate.stages.compress_judge import ORIGINAL, Candidate, Judge
from bedplate.stages.compress_replay import Replay
from bedplate.stages.compress_seal import seal
from bedplate.stages.compress_search import PLANS, Effort

WAYS = ("int8-static", "int8-dynamic")
"""What is tried of a bundle without a recipe, beside the effort's own."""


@dataclass(frozen=True)
class Sealed:
    """A bundle of which only the graph can be quantised.

    Attributes:
        calibration: what the graph takes, of some rows.
        ways: names of methods, beside those of the effort.
        primary: the leading metric.
    """

    bundle: Bundle
    console: Console
    answers: Answers
    calibration: Arrays
    selection: Rows
    test: Rows
    ways: Sequence[str]
    seed: int
    primary: str
    notes: tuple[str, ...]
    codec: Codec

    def candidates(
        self, budget: Budget, effort: Effort, target: str, replay: Replay | None
    ) -> tuple[list[Candidate], list[tuple[str, str]]]:
        """Return the original and its quantised forms."""
        del budget  # there is nothing to aim: each method gives one graph
        graph = onnx.load_from_string(self.bundle.graph(FOUNDATION))
        cpu, ways = target_features(target), list(dict.fromkeys((*self.ways, *PLANS[effort].forms)))
        if replay is not None:
            ways = [str(step.get("method")) for step in replay.steps if step["do"] == "quantise"]
            if len(ways) != len(replay.steps):
                raise InputError(
                    "only quantise can be done to this bundle", where=str(replay.path), received=self.notes[0]
                )
        prepare = self.codec.prepare  # texts become numbers right before the graph
        calibration = self.calibration if prepare is None else prepare(self.calibration)
        found = [Candidate(ORIGINAL, (), (), self.bundle.graph(FOUNDATION), self.bundle.model, FOUNDATION, {}, {})]
        refused: list[tuple[str, str]] = []
        for way in ways:
            self.console.detail(f"trying {way}")
            changed = methods.get(way)(graph, calibration, cpu)
            if changed.SerializeToString() == graph.SerializeToString():
                refused.append((way, "nothing to quantise in this graph"))
                continue
            found.append(
                Candidate(
                    f"{ORIGINAL}-{way}", ({"do": "quantise", "method": way},), (way,), changed.SerializeToString(),
                    self.bundle.model, way, isa(cpu, changed), {},
                )
            )  # fmt: skip
        return found, refused

    def judge(self, metric: str | None) -> Judge:
        """Return who judges them."""
        return Judge(
            self.selection, self.test, self.answers, metric or self.primary, self.seed, self.bundle.codec.prepare
        )

    def seal(self, path: Path, one: Candidate, point: Point) -> Bundle:
        """Write a point of the front as a bundle, with the original's golden rows and drift reference."""
        predict: Predict = OnnxPredict(one.graph, variant=one.variant, prepare=self.bundle.codec.prepare)
        golden = self.bundle.golden
        again = Golden(golden.inputs, {one.variant: predict(golden.inputs)}, golden.labels, golden.origin)
        report = evaluate(
            predict, self.test.inputs, self.test.targets, self.answers, ids=self.test.ids, slices=self.test.slices,
            resamples=200, seed=self.seed,
        )  # fmt: skip
        return seal(
            self.bundle, path, one, point, codec=self.codec, golden=again, reference=self.bundle.reference,
            report=report, scale=1.0 if self.answers.shares else float(np.std(self.test.targets)) or 1.0,
        )  # fmt: skip

    def write_network(self, path: Path, one: Candidate) -> None:
        """Write nothing: there is no network."""


def golden_source(bundle: Bundle, why: str, console: Console) -> Sealed:
    """Return a bundle with its golden rows in three parts: to calibrate, to choose, and to judge.

    Where the rows have no labels, the original's own answers are the truth.

    Raises:
        InputError: its answers are plain tensors, or it has too few golden rows.
    """
    answers, golden = bundle.answers, bundle.golden
    if answers.tensors is not None:
        raise InputError(
            "what this bundle answers can't be judged", where=str(bundle.source), received="plain tensors",
            hint="import it with --labels, or as a table with --target",
        )  # fmt: skip
    if golden.rows < 9:
        raise InputError(
            "too few golden rows to calibrate, choose and judge on", where=str(bundle.source), expected="9 or more",
            received=str(golden.rows), hint="import it with more rows: --golden rows.npz",
        )  # fmt: skip
    own = np.asarray(golden.outputs[FOUNDATION][answers.output])
    truth = golden.labels
    if truth is None:
        truth = own.argmax(axis=1) if answers.labels else own.reshape(-1)
        if answers.tags is not None:
            truth = decoded(own, own.any(axis=2).sum(axis=1), answers.transitions)
        if answers.many is not None:
            truth = chosen_labels(own)
    order = np.random.default_rng(0).permutation(golden.rows)
    third = golden.rows // 3
    parts = [order[:third], order[third : 2 * third], order[2 * third :]]
    rows = [
        Rows(take(golden.inputs, part), np.asarray(truth)[part], [f"golden:{row}" for row in part]) for part in parts
    ]  # fmt: skip
    against = "its labels" if golden.labels is not None else "the original's own answers"
    note = f"only the graph was quantised ({why}); judged on {len(rows[2])} golden rows against {against}"
    console.detail(f"only the graph can be quantised: {why}")
    console.detail(f"{golden.rows} golden rows calibrate, choose and judge, a third each")
    primary = (
        "f1"
        if answers.tags is not None or answers.many is not None
        else "accuracy"
        if answers.labels
        else "rmse"
        if golden.labels is not None
        else "r2"
    )
    return Sealed(
        bundle, console, answers, rows[0].inputs, rows[1], rows[2], WAYS, 0, primary, (note,),
        bundle.codec,
    )  # fmt: skip
