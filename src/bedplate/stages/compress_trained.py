"""A bundle that can be trained on: its network, its rows, and the whole search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from bedplate.bundle import Bundle, layout
from bedplate.bundle.bundle import generator_of
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import Answers
from bedplate.compression.front import Budget, Point
from bedplate.core.arrays import take
from bedplate.core.errors import InputError
from bedplate.core.files import write_bytes, write_json
from bedplate.core.hashing import fingerprint
from bedplate.evaluation import evaluate
from bedplate.models import Network, shortened
from bedplate.packaging import spread
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bench import Bench
from bedplate.stages.compress_judge import Candidate, Judge
from bedplate.stages.compress_maker import Maker
from bedplate.stages.compress_replay import Replay
from bedplate.stages.compress_seal import seal
from bedplate.stages.compress_search import Effort, Search
from bedplate.stages.evaluate_texts import codec_of, judge_texts
from bedplate.stages.sealed_parts import golden_of, outputs_of, reference_of, served_codec
from bedplate.stages.work import Work

STORE = "compress-cache"
"""The folder beside a bundle that keeps trained students."""

RESAMPLES = 200
"""Of the bootstrap of a point's report, at most: a front has many points, and their drops have bounds of their own."""


def leading_metric(answers: Answers, primary: str) -> str:
    """Return of which metric a drop is, where nobody says: of what writes text the loss, since writing takes long."""
    return "loss" if answers.sizes else primary


def calibration_rows(work: Work) -> np.ndarray:
    """Return the calibration rows' indices among the training rows."""
    rows, targets = work.recipe.compression.calibration_rows, work.dataset.train.targets
    return spread(targets, rows, work.outputs.labels, work.recipe.seed)


class Trained:
    """A bundle that can be trained on."""

    def __init__(self, bundle: Bundle, work: Work) -> None:
        self.bundle, self.work = bundle, work
        dataset = work.dataset
        self.answers, self.selection, self.test = dataset.answers, dataset.validation, dataset.test
        self.notes: tuple[str, ...] = ()
        self._networks: dict[str, Network] = {}
        model = bundle.model
        network = bundle_network(bundle, work.outputs)
        teachers = [self._teacher(text) for text in work.recipe.compression.teachers]
        rows, store = calibration_rows(work), bundle.source.parent / STORE
        features, targets = (
            shortened(work.inputs, take(work.features(dataset.train), rows)),
            dataset.train.targets[rows],
        )
        if dataset.answers.tags is not None or dataset.answers.sizes:
            targets = targets[:, : features[work.inputs.names[0]].shape[1]]
        bench = Bench(
            work, network, model, fingerprint({"bundle": bundle.id, "compression": _decides(work)}), features, targets,
            teachers,
        )  # fmt: skip
        self.maker = Maker(bench, store)

    def _teacher(self, text: str) -> Network:
        """Return another bundle's network, which must take what this one takes."""
        path = self.work.resolved.base / text
        other = Bundle.open(path if path.exists() else Path(text))
        same = ("inputs", "outputs")
        if any(other.model.get(key) != self.bundle.model.get(key) for key in same) or (
            (other.answers.labels, other.answers.tags) != (self.answers.labels, self.answers.tags)
        ):
            raise InputError(
                "a teacher must take and answer what the original does", where=f"compression.teachers {text}",
                hint="train it by the same recipe, with another seed or model",
            )  # fmt: skip
        return bundle_network(other, self.work.outputs)

    def candidates(
        self, budget: Budget, effort: Effort, target: str, replay: Replay | None
    ) -> tuple[list[Candidate], list[tuple[str, str]]]:
        """Return the original and what was made of it, and what was refused with the reasons."""
        search = Search(self.maker, effort, budget, target)
        if replay is None:
            found = search.candidates()
        else:
            found = [search.original(), search.replayed(replay.name, replay.steps)]
        return found, search.refused

    def judge(self, metric: str | None) -> Judge:
        """Return who judges them."""
        work = self.work
        return Judge(
            self.selection,
            self.test,
            self.answers,
            metric or leading_metric(self.answers, work.task.primary),
            work.recipe.seed,
            work.dataset.codec.prepare,
        )

    def seal(self, path: Path, one: Candidate, point: Point) -> Bundle:
        """Write a point of the front as a bundle."""
        work, test = self.work, self.test
        predict = OnnxPredict(one.graph, variant=one.variant, prepare=work.dataset.codec.prepare)
        report = evaluate(
            predict, test.inputs, test.targets, self.answers, ids=test.ids, slices=test.slices,
            resamples=min(RESAMPLES, work.recipe.evaluation.resamples), seed=work.recipe.seed,
        )  # fmt: skip
        if test.texts is not None:
            report = judge_texts(work, report, test, generator_of(codec_of(work), predict))
        return seal(
            self.bundle, path, one, point, codec=served_codec(work), golden=golden_of(work, {one.variant: predict}),
            reference=reference_of(work, predict), report=report,
            scale=1.0 if self.answers.shares else work.outputs.spread, outputs=outputs_of(work),
        )  # fmt: skip

    def write_network(self, path: Path, one: Candidate) -> None:
        """Write a point's network: `model.json` with its changes, and its weights."""
        steps = [step for step in one.steps if step["do"] not in ("quantise", "quantise-aware")]
        state = self.maker.make(steps)
        path.mkdir(parents=True)
        write_json(path / layout.MODEL, dict(one.model))
        write_bytes(
            path / layout.WEIGHTS, save({name: t.contiguous() for name, t in state.network.state_dict().items()})
        )


def _decides(work: Work) -> dict[str, Any]:
    """Return what of the recipe decides a student, beside the bundle."""
    spec = work.recipe.compression
    return {
        "calibration_rows": spec.calibration_rows, "teachers": spec.teachers,
        "unlabelled": spec.unlabelled.model_dump() if spec.unlabelled else None,
    }  # fmt: skip
