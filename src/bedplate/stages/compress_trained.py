"""A bundle that can be trained on: its network, its rows, and the whole search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from bedplate.bundle import Bundle, layout
from bedplate.bundle.session import OnnxPredict
from bedplate.compression.front import Budget, Point
from bedplate.core.arrays import Predict, predict_in_batches, take
from bedplate.core.errors import InputError
from bedplate.core.files import write_bytes, write_json
from bedplate.core.hashing import fingerprint
from bedplate.models import Network, shortened
from bedplate.packaging import choose_golden, spread
from bedplate.profile import fit_reference
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.compress_bench import Bench
from bedplate.stages.compress_judge import Candidate, Judge
from bedplate.stages.compress_maker import Maker
from bedplate.stages.compress_replay import Replay
from bedplate.stages.compress_seal import seal
from bedplate.stages.compress_search import Effort, Search
from bedplate.stages.work import Work

STORE = "compress-cache"
"""The folder beside a bundle that keeps trained students."""

RESAMPLES = 200
"""Of the bootstrap of a point's report, at most: a front has many points, and their drops have bounds of their own."""


def calibration_rows(work: Work) -> np.ndarray:
    """Return the calibration rows' indices among the training rows."""
    rows, targets = work.recipe.compression.calibration_rows, work.dataset.train.targets
    return spread(targets, rows, work.outputs.classes, work.recipe.seed)


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
        if dataset.answers.tags is not None:
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
            metric or work.task.primary,
            work.recipe.seed,
            work.dataset.codec.prepare,
        )

    def seal(self, path: Path, one: Candidate, point: Point) -> Bundle:
        """Write a point of the front as a bundle."""
        work, dataset = self.work, self.work.dataset
        predict: Predict = OnnxPredict(one.graph, variant=one.variant, prepare=dataset.codec.prepare)
        golden = choose_golden(
            dataset.test.inputs, dataset.test.targets, dataset.codec.tensors, {one.variant: predict},
            classes=work.outputs.classes, rows=work.recipe.serving.golden_rows,
            synthetic=work.recipe.serving.golden == "synthetic", seed=work.recipe.seed,
        )  # fmt: skip
        serving = work.recipe.serving
        reference = fit_reference(
            dataset.validation.inputs, predict_in_batches(predict, dataset.validation.inputs),
            output=self.answers.output, window=serving.window, false_alarm_rate=serving.false_alarm_rate,
            seed=work.recipe.seed, labels=self.answers.labels,
        )  # fmt: skip
        return seal(
            self.bundle, path, one, point, predict=predict, codec=dataset.codec, golden=golden, reference=reference,
            judged=self.test, seed=work.recipe.seed, resamples=min(RESAMPLES, work.recipe.evaluation.resamples),
            scale=1.0 if self.answers.shares else work.outputs.spread,
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
