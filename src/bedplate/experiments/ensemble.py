"""Join an experiment's runs to one model: judged beside its best member, and packed as one ordinary bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import load_file

from bedplate.bundle import Bundle
from bedplate.bundle.session import OnnxPredict
from bedplate.bundle.write import write_bundle
from bedplate.compression.variants import Trial as VariantTrial
from bedplate.compression.variants import Variant, choose, try_variants
from bedplate.core.arrays import Predict, predict_in_batches, take
from bedplate.core.console import Console
from bedplate.core.errors import GateError, RecipeError, listing
from bedplate.core.files import read_json, write_json, write_text
from bedplate.core.hashing import fingerprint
from bedplate.core.machine import cpu_model, versions
from bedplate.data.dataset import Dataset
from bedplate.evaluation import Report, Verdict, evaluate
from bedplate.evaluation.card import model_card
from bedplate.evaluation.html import render
from bedplate.evaluation.metrics import LOWER_IS_BETTER
from bedplate.experiments.matrix import Cell, Matrix
from bedplate.experiments.spec import EnsembleSpec, ensemble_arms
from bedplate.export import check_parity, export_network, join
from bedplate.export.ensemble import check_ensemble, ensemble_graph
from bedplate.models import predictor
from bedplate.packaging import choose_golden, spread
from bedplate.profile import fit_reference
from bedplate.recipe.load import to_dict, to_yaml
from bedplate.stages.data import load_data
from bedplate.stages.evaluate import judge, metric_lines, metrics_json
from bedplate.stages.folder import RunFolder
from bedplate.stages.pack import gate_failures
from bedplate.stages.resolve import Resolved
from bedplate.stages.train import WEIGHTS, load_network
from bedplate.stages.work import Work

FOLDER, MARKER = "ensemble", "ensemble.json"


@dataclass(frozen=True)
class Member:
    """One member: its run, its facts (`cell.json`), and its graphs from the features and from the raw tensors on."""

    cell: Cell
    facts: Mapping[str, Any]
    work: Work
    body: onnx.ModelProto
    whole: onnx.ModelProto

    @property
    def predict(self) -> Predict:
        """The member alone, on raw tensors."""
        return OnnxPredict(self.whole.SerializeToString(), variant=self.cell.label)


def _common(resolved: Resolved) -> Resolved:
    """Return a member's recipe without its fold: what the ensemble is judged on."""
    split = resolved.recipe.data.split.model_copy(update={"folds": None, "fold": None})
    data = resolved.recipe.data.model_copy(update={"split": split})
    return Resolved(resolved.recipe.model_copy(update={"data": data}), resolved.task, resolved.path, resolved.base,
                    resolved.plugins)  # fmt: skip


def member_cells(matrix: Matrix) -> list[Cell]:
    """Return the cells that the experiment's file makes members."""
    assert matrix.spec.ensemble is not None
    arms = ensemble_arms(matrix.spec)
    return [cell for cell in matrix.cells if cell.arm in arms]


def check_members(matrix: Matrix, console: Console) -> None:
    """Refuse an ensemble that could not be judged honestly, before anything is trained.

    Raises:
        RecipeError: fewer than two members, or members that were trained on the rows that would judge them.
    """
    cells = member_cells(matrix)
    where = f"{matrix.spec.name} ensemble"
    if len(cells) < 2:
        raise RecipeError(
            [GateError("an ensemble needs two members or more", where=where, expected="more seeds or arms")]
        )
    first = cells[0]
    other = next((cell for cell in cells if cell.data_key != first.data_key), first)
    if other is first and first.fold is None:
        return
    common = load_data(_common(first.resolved), Console(quiet=True))
    console.detail("checking that the ensemble's test rows are new to its members")
    for cell in {first.label: first, other.label: other}.values():
        _check_unseen(common, load_data(cell.resolved, Console(quiet=True)), cell, where)


def _check_unseen(common: Dataset, own: Dataset, cell: Cell, where: str) -> None:
    seen = {*own.train.ids, *own.validation.ids} & set(common.test.ids)
    if seen:
        raise RecipeError(
            [
                GateError(
                    "the ensemble's members were trained on rows that would judge it", where=where,
                    received=f"{len(seen)} of {len(common.test):,} test rows are training rows of '{cell.label}'",
                    hint="members must share their split: leave out folds and resplit, or give data with an official "
                    "test split (data.files.test)",
                )
            ]
        )  # fmt: skip


def make_ensemble(matrix: Matrix, done: Sequence[Cell], path: Path, console: Console) -> dict[str, Any]:
    """Join, judge and pack the finished member cells; return the ensemble's figures.

    Args:
        matrix: the experiment, whose file asks for an ensemble.
        done: the finished cells.
        path: the experiment's folder.
        console: where people read along.

    Raises:
        GateError: fewer than two members finished, or the joined graph does not answer as they do.
    """
    spec = matrix.spec.ensemble
    assert spec is not None
    cells = [cell for cell in member_cells(matrix) if cell in done]
    if len(cells) < 2:
        raise GateError("fewer than two of the ensemble's members are done", where=str(path))
    facts = [read_json(path / cell.folder / "cell.json") for cell in cells]
    common = _common(cells[0].resolved)
    print_ = fingerprint(
        {"recipe": to_dict(common.recipe), "combine": spec.combine, "name": matrix.spec.name,
         "members": [one["weights_sha256"] for one in facts], "data": [one["split"] for one in facts]}
    )  # fmt: skip
    folder = path / FOLDER
    if (folder / MARKER).is_file():
        found: dict[str, Any] = read_json(folder / MARKER)
        if found["fingerprint"] == print_:
            console.stage("ensemble", "done before")
            return found
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    console.stage("ensemble", f"{len(cells)} members of {listing(ensemble_arms(matrix.spec))}: {spec.combine}")
    dataset = load_data(common, Console(quiet=True))
    work = Work(common, dataset, RunFolder(folder), console)
    members = _members(cells, facts, path, work)
    figures = _build(matrix, spec, members, work)
    figures |= {"fingerprint": print_, "seconds": round(time.monotonic() - started, 3)}
    write_json(folder / MARKER, figures)
    return figures


def _members(cells: Sequence[Cell], facts: Sequence[Mapping[str, Any]], path: Path, work: Work) -> list[Member]:
    """Export every member, each checked against its own network."""
    held = (cells[0].data_key if cells[0].fold is None else "", work.dataset)
    found = []
    with work.console.progress("exporting", len(cells)) as advance:
        for place, (cell, one) in enumerate(zip(cells, facts, strict=True)):
            if held[0] != cell.data_key:
                held = cell.data_key, load_data(cell.resolved, Console(quiet=True))
            own = Work(cell.resolved, held[1], RunFolder(path / cell.folder), Console(quiet=True))
            if held[1] is not work.dataset:
                _check_unseen(work.dataset, held[1], cell, f"{cell.resolved.recipe.name} ensemble")
                if held[1].answers != work.dataset.answers:
                    raise GateError("the members answer differently", where=cell.label, expected="the same classes")
            network = load_network(own)
            body = export_network(network, take(own.features(held[1].train), slice(0, 3)))
            alone = OnnxPredict(body.SerializeToString(), variant=cell.label)
            check_parity(network, predictor(network), alone, own.features(held[1].validation))
            found.append(Member(cell, one, own, body, join(held[1].codec.graph(), body)))
            advance(place + 1, cell.label)
    return found


def _build(matrix: Matrix, spec: EnsembleSpec, members: Sequence[Member], work: Work) -> dict[str, Any]:
    """Join the members, judge what was joined, and seal it if the gate lets it through."""
    dataset = work.dataset
    output = dataset.answers.output
    predictors = [member.predict for member in members]
    variants = _variants(spec, members, work)
    joined = OnnxPredict(variants[0].graph, variant="f32")
    scale = 1.0 if dataset.answers.labels else work.outputs.spread
    gap = check_ensemble(predictors, joined, dataset.test.inputs, output, spec.combine, scale)
    work.console.detail(f"answers as its members do together: largest difference {gap:.1e}")
    kept = {variant.name: variant for variant in variants if variant.kept}
    default = choose(variants)
    served: dict[str, Predict] = {name: OnnxPredict(v.graph, variant=name) for name, v in kept.items()}
    report = judge(work, served[default], dataset.test.inputs, dataset.test)
    for line in metric_lines(report):
        work.console.detail(line)
    best = _best(members, matrix.metric)
    single = judge(work, predictors[best], dataset.test.inputs, dataset.test)
    verdict = report.compare(single)
    work.console.detail(f"beside its best member ({members[best].cell.label}): {verdict.text}")
    failures = gate_failures(work, report)
    table = [_entry(variant, work) for variant in variants]
    lineage = _lineage(matrix, spec, members, work)
    story = _story(matrix, spec, members, work, report, verdict, table, default, best, failures)
    bundle = None
    if not failures:
        bundle = _seal(matrix, members, work, kept, default, served, report, lineage, story, spec)
    folder = work.folder.path
    write_json(folder / "pack" / "report.json", report.to_json())
    story["provenance"] = {"bundle id": bundle.id if bundle else "not sealed", **story["provenance"],
                           "cpu": cpu_model(), "created": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    write_json(folder / "report.json", story)
    write_text(folder / "report.html", render(story))
    return {
        "combine": spec.combine, "members": [member.cell.label for member in members],
        "bundle": str(bundle.path) if bundle else None, "bundle_id": bundle.id if bundle else None,
        "report": str(folder / "report.html"), "metrics": metrics_json(report), "gate": failures,
        "best_member": members[best].cell.label, "best_member_metrics": metrics_json(single),
        "verdict": verdict.to_json(), "largest_difference": gap, "variants": table,
    }  # fmt: skip


def _variants(spec: EnsembleSpec, members: Sequence[Member], work: Work) -> list[Variant]:
    """Return the joined graph as f32 and, where all members read the same features, the recipe's smaller variants."""
    dataset, compression = work.dataset, work.recipe.compression
    shared = all(member.work.dataset is dataset for member in members)
    model = ensemble_graph([member.body if shared else member.whole for member in members], spec.combine)
    before = dataset.codec.graph() if shared else None
    rows = spread(dataset.train.targets, compression.calibration_rows, work.outputs.classes, work.recipe.seed)
    calibration = take(work.features(dataset.train), rows) if shared else {}
    trial = VariantTrial(
        calibration, dataset.validation.inputs, dataset.validation.targets, dataset.answers.output,
        compression.max_drop, work.recipe.seed,
    )  # fmt: skip
    methods = compression.methods if shared else []

    def complete(graph: onnx.ModelProto) -> bytes:
        return bytes(join(before, graph).SerializeToString())

    return try_variants(model, complete, methods, trial, work.console.detail)


def _best(members: Sequence[Member], metric: str) -> int:
    """Return which member is best on validation rows; the test rows choose nothing."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = [sign * member.facts["metrics"]["validation"].get(metric, {"value": -sign * np.inf})["value"]
              for member in members]  # fmt: skip
    return int(np.argmax(values))


def _entry(variant: Variant, work: Work) -> dict[str, Any]:
    metrics: dict[str, float] = {}
    if variant.graph:
        test = work.dataset.test
        predict = OnnxPredict(variant.graph, variant=variant.name)
        found = evaluate(predict, test.inputs, test.targets, work.dataset.answers, resamples=0)
        metrics = {name: estimate.value for name, estimate in found.metrics.items()}
    return {
        "name": variant.name, "kept": variant.kept, "reason": variant.reason, "size_bytes": variant.size,
        "latency_ms": variant.latency.to_json() if variant.graph else None, "metrics": metrics,
        "drop": {"value": variant.drop, "high": variant.drop_high}, "isa": variant.isa,
    }  # fmt: skip


def _lineage(matrix: Matrix, spec: EnsembleSpec, members: Sequence[Member], work: Work) -> dict[str, Any]:
    dataset = work.dataset
    return {
        "experiment": matrix.spec.name,
        "combine": spec.combine,
        "members": [
            {
                "arm": member.cell.arm, "seed": member.cell.seed, "fold": member.cell.fold,
                "recipe": to_dict(member.cell.resolved.recipe),
                "recipe_fingerprint": member.work.recipe_fingerprint,
                "weights_sha256": member.facts["weights_sha256"],
                "data": {"fingerprint": member.facts["data"], "split_fingerprint": member.facts["split"]},
                "metrics": member.facts["metrics"],
            }
            for member in members
        ],
        "recipe": to_dict(work.recipe),
        "recipe_fingerprint": work.recipe_fingerprint,
        "seed": work.recipe.seed,
        "data": {
            "name": dataset.name, "fingerprint": dataset.fingerprint, "split_fingerprint": dataset.split_fingerprint,
            "rows": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        },
        "plugins": {name: digest for member in members for name, digest in member.cell.resolved.plugins.items()},
        "versions": versions(),
    }  # fmt: skip


def _story(
    matrix: Matrix, spec: EnsembleSpec, members: Sequence[Member], work: Work, report: Report, verdict: Verdict,
    table: list[dict[str, Any]], default: str, best: int, failures: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Return what the ensemble's report and card tell; it holds no times, so equal members give equal cards."""
    dataset = work.dataset
    alone = f"the best member alone ({members[best].cell.label})"
    line = f"{len(members)} members, {spec.combine}d. Beside {alone}: {verdict.text}."
    latency = [
        {"variant": entry["name"], "median ms": entry["latency_ms"]["median"], "p95 ms": entry["latency_ms"]["p95"]}
        for entry in table if entry["latency_ms"]
    ]  # fmt: skip
    return {
        "title": f"{matrix.spec.name} ensemble", "task": work.recipe.task, "failures": failures,
        "primary": work.task.primary, "metrics": metrics_json(report),
        "verdict": f"The gate says no: {'; '.join(failures)}. {line}" if failures else line,
        "report": report.to_json(), "profile": dict(dataset.profile), "variants": table, "default": default,
        "latency": latency,
        "model": {
            "name": "ensemble", "arguments": {"combine": spec.combine, "members": len(members)},
            "parameters": sum(member.facts["parameters"] for member in members),
        },
        "rows": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        "provenance": {
            "members": {member.cell.label: member.facts["weights_sha256"] for member in members},
            "recipe": work.recipe_fingerprint, "data": dataset.fingerprint, "split": dataset.split_fingerprint,
            "versions": versions(),
        },
        "recipe_yaml": to_yaml(work.recipe),
        "notes": [
            *dataset.notes,
            "The best member was chosen on the validation rows; the test rows judged it and the ensemble, once.",
        ],
    }  # fmt: skip


def _seal(
    matrix: Matrix, members: Sequence[Member], work: Work, kept: Mapping[str, Variant], default: str,
    served: Mapping[str, Predict], report: Report, lineage: Mapping[str, Any], story: Mapping[str, Any],
    spec: EnsembleSpec,
) -> Bundle:  # fmt: skip
    """Seal the ensemble as an ordinary bundle."""
    recipe, dataset = work.recipe, work.dataset
    golden = choose_golden(
        dataset.test.inputs, dataset.test.targets, dataset.codec.tensors, served, classes=work.outputs.classes,
        rows=recipe.serving.golden_rows, synthetic=recipe.serving.golden == "synthetic", seed=recipe.seed,
    )  # fmt: skip
    reference = fit_reference(
        dataset.validation.inputs, predict_in_batches(served[default], dataset.validation.inputs),
        output=dataset.answers.output, window=recipe.serving.window,
        false_alarm_rate=recipe.serving.false_alarm_rate, seed=recipe.seed,
        labels=dataset.answers.labels or dataset.answers.columns,
    )  # fmt: skip
    scale = 1.0 if dataset.answers.labels else work.outputs.spread
    info = {
        name: {
            "reason": variant.reason, "isa": variant.isa or {}, "latency_ms": variant.latency.to_json(),
            "tolerance": {"atol": (1e-4 if name == "f32" else 5e-3) * scale, "rtol": 1e-3 if name == "f32" else 1e-2},
            "drop": {"value": variant.drop, "high": variant.drop_high},
        }
        for name, variant in kept.items()
    }  # fmt: skip
    weights = {
        f"member{k}/{name}": array
        for k, member in enumerate(members)
        for name, array in load_file(member.work.folder.stage("train") / WEIGHTS).items()
    }
    model: dict[str, Any] = {
        "name": "ensemble", "combine": spec.combine, "arguments": {},
        "members": [member.work.model_json for member in members],
    }  # fmt: skip
    return write_bundle(
        work.folder.bundle, name=recipe.serving.name or matrix.spec.name, task=recipe.task, codec=dataset.codec,
        answers=dataset.answers, graphs={name: variant.graph for name, variant in kept.items()}, default=default,
        variants_info=info, weights=weights, model=model, report=report.to_json(), golden=golden, reference=reference,
        lineage=lineage, card=model_card(story),
    )  # fmt: skip
