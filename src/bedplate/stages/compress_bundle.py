"""Compress a trained bundle under a budget: make candidates, measure each on this machine, and seal those worth having.

The rows are used apart: training rows calibrate and distil, validation rows choose, test rows say what it cost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
import yaml

from bedplate.bundle import Bundle, layout
from bedplate.bundle.session import OnnxPredict
from bedplate.bundle.write import write_bundle
from bedplate.compression.distillation import soft_target
from bedplate.compression.front import MB, Budget, Choice, Point, choose, pareto
from bedplate.compression.isa import isa
from bedplate.compression.measure import batch_dependence, measure_latencies
from bedplate.compression.narrow import inherit, narrower
from bedplate.compression.registry import methods
from bedplate.compression.variants import DEPENDENCE, FOUNDATION
from bedplate.core.arrays import Arrays, Predict, predict_in_batches, take
from bedplate.core.console import Console, human_bytes
from bedplate.core.errors import BundleError, InputError, RunError
from bedplate.core.files import atomic_folder, write_json
from bedplate.core.machine import cpu_features, cpu_model
from bedplate.core.seeds import derive
from bedplate.data.dataset import Dataset, Rows
from bedplate.evaluation import Report, evaluate, paired_drop
from bedplate.export import export_network, join
from bedplate.models import Network, build, inputs_from_spec
from bedplate.objectives import objectives
from bedplate.packaging import choose_golden, spread
from bedplate.profile import fit_reference
from bedplate.stages.data import load_data
from bedplate.stages.folder import MARKER, RunFolder
from bedplate.stages.process import configured_torch
from bedplate.stages.resolve import resolve
from bedplate.stages.train import training_data
from bedplate.stages.work import Work
from bedplate.training import plain, rows_a_step, steps_per_epoch, train

Effort = Literal["quick", "normal", "thorough"]

FACTORS: dict[Effort, tuple[float, ...]] = {
    "quick": (0.5,), "normal": (0.5, 0.25), "thorough": (0.75, 0.5, 0.35, 0.25, 0.125),
}  # fmt: skip
"""By effort: the shares of the original's widths that students get."""

EPOCHS: dict[Effort, float] = {"quick": 0.34, "normal": 0.67, "thorough": 1.0}
"""By effort: how long a student is trained, as a share of the original's training."""

ORIGINAL = "original"


@dataclass(frozen=True)
class Candidate:
    """One graph to measure, and what it was made from."""

    name: str
    steps: tuple[str, ...]
    graph: bytes
    model: Mapping[str, Any]
    variant: str
    parameters: int


@dataclass(frozen=True)
class Compression:
    """What was found.

    Attributes:
        baseline: the original.
        front: the points worth having, smallest first.
        choice: the one to take, and what binds where none meets the budget.
        bundles: each front point's sealed bundle.
        refused: (name, why) of candidates that harm or gain nothing.
        out: the folder that holds all of it.
    """

    baseline: Point
    front: tuple[Point, ...]
    choice: Choice
    bundles: Mapping[str, Path]
    refused: tuple[tuple[str, str], ...]
    out: Path

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "feasible": self.choice.feasible,
            "binding": list(self.choice.binding),
            "baseline": {key: value for key, value in self.baseline.to_json().items() if key not in ("name", "steps")},
            "chosen": self.choice.chosen.name,
            "front": [{**point.to_json(), "bundle": str(self.bundles[point.name])} for point in self.front],
            "refused": [{"name": name, "reason": why} for name, why in self.refused],
            "out": str(self.out),
        }


def compress_bundle(
    source: str | Path,
    budget: Budget,
    *,
    out: str | Path | None = None,
    effort: Effort = "normal",
    console: Console | None = None,
) -> Compression:
    """Search for smaller and faster models of a bundle's task, and seal the Pareto front.

    Args:
        source: a run's folder, or a bundle.
        budget: what may not be exceeded; the front is made whether it can be met or not.
        out: a new folder for the front; left out: `compressed` beside the bundle.
        effort: how many students are trained, and how long.
        console: where people read along; left out: silent.

    Raises:
        InputError: the data isn't what the bundle was trained on, or its model isn't registered here.
        RunError: `out` is there already.
    """
    console = console or Console(quiet=True)
    bundle, recipe = _opened(Path(source))
    _check_record(bundle)
    folder = Path(out) if out is not None else bundle.source.parent / "compressed"
    if folder.exists():
        raise RunError("there is something already", where=str(folder), hint="choose another folder with --out")
    with tempfile.TemporaryDirectory() as scratch:
        if recipe is None:
            recipe = Path(scratch) / "recipe.yaml"
            recipe.write_text(yaml.safe_dump(bundle.lineage["recipe"]), encoding="utf-8")
        resolved = resolve(str(recipe))
        work = Work(resolved, load_data(resolved, console), RunFolder(Path(scratch)), console)
    _check_data(bundle, work.dataset)
    if work.dataset.stream is not None:
        raise InputError("streamed rows can't be distilled on", where="data.stream", hint="train on rows in memory")
    search = _Search(work, bundle, _network(work, bundle), effort)
    found = search.candidates()
    points, graphs, refused = search.measured(found)
    front = pareto(points)
    choice = _selected(front, budget)
    front = search.judged(front, graphs)
    chosen = next(point for point in front if point.name == choice.chosen.name)
    choice = _confirmed(Choice(choice.feasible, chosen, choice.binding), budget)
    baseline = search.judged([points[0]], graphs)[0]
    with atomic_folder(folder) as made:
        for point in front:
            search.seal(made / point.name, graphs[point.name], point)
        result = Compression(
            baseline, tuple(front), choice, {p.name: folder / p.name for p in front}, tuple(refused), folder
        )
        write_json(made / "compress.json", result.to_json())
    return result


def _selected(front: Sequence[Point], budget: Budget) -> Choice:
    """Choose on validation rows: by the bound of the drop, or, where they are too few to bound it so low, by the drop.

    Whether it holds is for the test rows to say, of the one that was chosen.
    """
    sure = choose(front, budget)
    if sure.feasible:
        return sure
    likely = choose([replace(point, drop_high=point.drop) for point in front], budget)
    return likely if likely.feasible else sure


def _confirmed(choice: Choice, budget: Budget) -> Choice:
    """Ask the test rows once: what was chosen on validation rows may lose more there."""
    missed = budget.excesses(choice.chosen)
    return Choice(False, choice.chosen, tuple(missed)) if choice.feasible and missed else choice


def _opened(source: Path) -> tuple[Bundle, Path | None]:
    """Return the bundle of a run's folder with its recipe, or a bundle alone."""
    if (source / MARKER).is_file():
        if not (source / "bundle").is_dir():
            raise RunError(
                "this run has no bundle to compress", where=str(source), hint="its gate said no, or it wasn't finished"
            )
        recipe = source / "recipe.yaml"
        return Bundle.open(source / "bundle"), recipe if recipe.is_file() else None
    return Bundle.open(source), None


def _check_record(bundle: Bundle) -> None:
    """Refuse a bundle that can't be trained on."""
    if not {"recipe", "data"} <= set(bundle.lineage):
        raise InputError(
            "the bundle says not how it was trained", where=str(bundle.source),
            hint="an imported model has no recipe; compress the run that it came from",
        )  # fmt: skip
    if layout.WEIGHTS not in bundle.manifest.files:
        raise InputError(
            "the bundle holds no weights to begin with", where=str(bundle.source),
            hint="a point of a front has none; compress the original, with a tighter budget",
        )  # fmt: skip


def _check_data(bundle: Bundle, dataset: Dataset) -> None:
    sealed = bundle.lineage["data"]
    for key, now in (("fingerprint", dataset.fingerprint), ("split_fingerprint", dataset.split_fingerprint)):
        if sealed[key] != now:
            raise InputError(
                "the data isn't what this bundle was trained on",
                where=dataset.name,
                expected=f"{key.replace('_', ' ')} {sealed[key][:12]}",
                received=now[:12],
                hint="compression needs the rows of training, validation and test as they were",
            )


def _network(work: Work, bundle: Bundle) -> Network:
    """Return the bundle's network with its weights."""
    model = bundle.model
    network = build(model["name"], model["arguments"], inputs_from_spec(model["inputs"]), work.outputs, 0)
    try:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in bundle.weights().items()})
    except RuntimeError as error:
        raise BundleError(
            "the weights don't fit the model", where=str(bundle.source), received=str(error).splitlines()[0]
        ) from error
    return network.eval()


class _Search:
    """Makes, measures and seals candidates of one bundle."""

    def __init__(self, work: Work, bundle: Bundle, network: Network, effort: Effort) -> None:
        self.work, self.bundle, self.network, self.effort = work, bundle, network, effort
        recipe, dataset = work.recipe, work.dataset
        rows = spread(dataset.train.targets, recipe.compression.calibration_rows, work.outputs.classes, recipe.seed)
        self.calibration = take(work.features(dataset.train), rows)
        self.output = dataset.answers.output
        assert recipe.objective is not None
        self.objective = objectives.get(recipe.objective.name)(**recipe.objective.arguments)
        self.cpu = cpu_features()

    def candidates(self) -> list[Candidate]:
        """Return the original, its students, and the quantised forms of each."""
        model = self.bundle.model
        found = self._forms(self.network, ORIGINAL, (), model)
        if len(self.objective.steps) != 1:
            self.work.console.detail("no students: the objective takes several steps a batch")
            return found
        for factor in FACTORS[self.effort]:
            arguments = narrower(model["name"], model["arguments"], factor)
            if arguments is None:
                self.work.console.detail(f"width {factor:g}: '{model['name']}' has nothing that can be narrower")
                continue
            student, steps = self._student(arguments, factor)
            found += self._forms(student, f"width-{factor:g}", steps, {**model, "arguments": arguments})
        return found

    def _student(self, arguments: dict[str, Any], factor: float) -> tuple[Network, tuple[str, ...]]:
        """Return a narrower network that has learnt from the original."""
        work, recipe = self.work, self.work.recipe
        name = self.bundle.model["name"]
        student = build(
            name, arguments, self.network.inputs, self.network.outputs, derive(recipe.seed, "student") % 2**31
        )
        taken = inherit(self.network.body, student.body)
        epochs = max(1, round(recipe.training.epochs * EPOCHS[self.effort]))
        spec = plain(recipe.training).model_copy(update={"epochs": epochs, "start": None, "pseudo_labels": None})
        data = training_data(work)
        total = epochs * steps_per_epoch(len(data), rows_a_step(spec))
        work.console.stage("compress", f"width {factor:g}: {epochs} epochs, learning from the original")
        self.network.to(spec.device)
        with configured_torch(work.threads), work.console.progress("distilling", total) as advance:
            run = train(
                student, soft_target(self.network, self.objective), data, spec, seed=recipe.seed,
                select=work.task.select, identity={},
                hooks=[lambda event, run: advance(run.step, "") if event == "step" else None],
            )  # fmt: skip
        self.network.to("cpu")
        run.network.to("cpu")
        first = f"{'pruned' if taken else 'built'} to {factor:g} of the widths"
        return run.network, (first, f"distilled from the original for {epochs} epochs (T = 4)")

    def _forms(self, network: Network, name: str, steps: tuple[str, ...], model: Mapping[str, Any]) -> list[Candidate]:
        """Return a network's f32 graph and its quantised ones."""
        graph = export_network(network, take(self.calibration, slice(0, 3)))
        parameters = sum(parameter.numel() for parameter in network.parameters())
        found = [Candidate(name, steps, self._complete(graph), model, FOUNDATION, parameters)]
        for method in self.work.recipe.compression.methods:
            changed = methods.get(method)(graph, self.calibration, self.cpu)
            if changed.SerializeToString() != graph.SerializeToString():
                found.append(
                    Candidate(f"{name}-{method}", (*steps, method), self._complete(changed), model, method, parameters)
                )
        return found

    def _complete(self, graph: onnx.ModelProto) -> bytes:
        joined: bytes = join(self.work.dataset.codec.graph(), graph).SerializeToString()
        return joined

    def measured(
        self, candidates: Sequence[Candidate]
    ) -> tuple[list[Point], dict[str, Candidate], list[tuple[str, str]]]:
        """Return a point for each candidate that isn't refused, the original first; with validation rows' drops."""
        self.work.console.stage("compress", f"measuring {len(candidates)} candidates in turns")
        validation = self.work.dataset.validation
        predictors: dict[str, Predict] = {
            one.name: OnnxPredict(one.graph, variant=one.name, threads=1) for one in candidates
        }
        latencies = measure_latencies(predictors, validation.inputs, seed=self.work.recipe.seed)
        before = predict_in_batches(predictors[ORIGINAL], validation.inputs)[self.output]
        points, refused = [], []
        for one in candidates:
            answers = predict_in_batches(predictors[one.name], validation.inputs)[self.output]
            latency, ratio = latencies[one.name], len(one.graph) / len(candidates[0].graph)
            dependence = batch_dependence(predictors[one.name], validation.inputs, self.output)
            if one.name != ORIGINAL and dependence > DEPENDENCE * self._scale(validation):
                refused.append((one.name, f"a row's answer depends on the rows beside it (by {dependence:.2g})"))
                continue
            if one.name != ORIGINAL and ratio > 0.95 and latency.ratio_high >= 1:
                refused.append((one.name, f"no gain: {ratio:.2f}× the size, {latency.ratio:.2f}× the latency"))
                continue
            points.append(self._point(one, latency, before, answers, validation))
        return points, {one.name: one for one in candidates}, refused

    def _scale(self, rows: Rows) -> float:
        return 1.0 if self.work.dataset.answers.labels else float(np.std(rows.targets)) or 1.0

    def _point(self, one: Candidate, latency: Any, before: np.ndarray, after: np.ndarray, rows: Rows) -> Point:
        drop = paired_drop(before, after, rows.targets, seed=self.work.recipe.seed)
        same = one.name == ORIGINAL  # which loses nothing against itself, for sure
        primary = self.work.task.primary
        report = evaluate(
            lambda _: {self.output: after}, rows.inputs, rows.targets, self.work.dataset.answers, resamples=0,
            batch_size=len(rows),
        )  # fmt: skip
        return Point(
            one.name, one.steps, len(one.graph), latency, (primary, report.metrics[primary].value),
            0.0 if same else drop.value, 0.0 if same else drop.high, {"parameters": one.parameters},
        )  # fmt: skip

    def judged(self, points: Sequence[Point], candidates: Mapping[str, Candidate]) -> list[Point]:
        """Return the points with metric and drop of the test rows in place of the validation rows'."""
        test = self.work.dataset.test
        before = self._answers(candidates[ORIGINAL], test.inputs)
        found = []
        for point in points:
            one = candidates[point.name]
            again = self._point(one, point.latency, before, self._answers(one, test.inputs), test)
            selection = {"metric": point.metric[1], "drop": point.drop, "drop_high": point.drop_high}
            found.append(
                Point(
                    point.name, point.steps, point.size_bytes, point.latency, again.metric, again.drop,
                    again.drop_high, {**point.facts, "selection": selection},
                )
            )  # fmt: skip
        return found

    def _answers(self, one: Candidate, inputs: Arrays) -> np.ndarray:
        return np.asarray(predict_in_batches(OnnxPredict(one.graph, variant=one.name), inputs)[self.output])

    def seal(self, path: Path, one: Candidate, point: Point) -> Bundle:
        """Write a front point as a bundle of its own."""
        work, dataset = self.work, self.work.dataset
        predict: Predict = OnnxPredict(one.graph, variant=one.variant)
        report: Report = evaluate(
            predict, dataset.test.inputs, dataset.test.targets, dataset.answers, ids=dataset.test.ids,
            resamples=work.recipe.evaluation.resamples, seed=work.recipe.seed,
        )  # fmt: skip
        scale = 1.0 if dataset.answers.labels else work.outputs.std
        exact = one.variant == FOUNDATION
        info = {
            "reason": "; ".join(one.steps) or "the original",
            "isa": {} if exact else isa(self.cpu, one.graph),
            "tolerance": {"atol": (1e-4 if exact else 5e-3) * scale, "rtol": 1e-3 if exact else 1e-2},
            "latency_ms": point.latency.to_json(),
            "drop": {"value": point.drop, "high": point.drop_high},
        }
        return write_bundle(
            path,
            name=self.bundle.name,
            task=self.bundle.task,
            codec=dataset.codec,
            answers=dataset.answers,
            graphs={one.variant: one.graph},
            default=one.variant,
            variants_info={one.variant: info},
            weights=None,
            model=one.model,
            report=report.to_json(),
            golden=choose_golden(
                dataset.test.inputs, dataset.test.targets, dataset.codec.tensors, {one.variant: predict},
                classes=work.outputs.classes, rows=work.recipe.serving.golden_rows,
                synthetic=work.recipe.serving.golden == "synthetic", seed=work.recipe.seed,
            ),
            reference=fit_reference(
                dataset.validation.inputs, predict_in_batches(predict, dataset.validation.inputs),
                output=self.output, window=work.recipe.serving.window,
                false_alarm_rate=work.recipe.serving.false_alarm_rate, seed=work.recipe.seed,
                labels=dataset.answers.labels,
            ),
            lineage={
                **self.bundle.lineage, "parent": self.bundle.id,
                "compression": {"steps": list(one.steps), **point.to_json(), "cpu": cpu_model()},
            },
            card=_card(self.bundle, one, point),
        )  # fmt: skip


def _card(bundle: Bundle, one: Candidate, point: Point) -> str:
    name, value = point.metric
    steps = "".join(f"- {step}\n" for step in one.steps) or "- nothing: this is the original's graph\n"
    return (
        f"# {bundle.name}, compressed: {one.name}\n\nMade of the bundle `{bundle.id}`:\n\n{steps}\n"
        f"{name} {value:.4f} on the test rows; against the original {point.drop:+.2f} lost, at most "
        f"{point.drop_high:.2f} (95 %). {point.size_bytes / MB:.3f} MB, {point.latency.median:.3f} ms a row "
        f"({point.latency.ratio:.2f}× the original's).\n\n## The original's card\n\n{bundle.card}"
    )


def show(found: Compression, console: Console) -> None:
    """Write the front for people."""
    name = found.baseline.metric[0]
    rows = [
        [
            ("→ " if point.name == found.choice.chosen.name else "") + point.name,
            human_bytes(point.size_bytes),
            f"{point.latency.median:.3f} ms",
            f"{point.metric[1]:.4f}",
            f"{point.drop:+.2f} (≤ {point.drop_high:.2f})",
            "; ".join(point.steps) or "as it was",
        ]
        for point in found.front
    ]
    console.table(["point", "size", "1 row", name, "drop", "steps"], rows)
    for refused, why in found.refused:
        console.detail(f"refused: {refused}: {why}")
