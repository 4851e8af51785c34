"""The packing stage: judge what will be served, pass the gate, and seal the bundle with its report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from bedplate.bundle import Bundle
from bedplate.bundle.bundle import generator_of
from bedplate.bundle.session import OnnxPredict
from bedplate.bundle.write import write_bundle
from bedplate.core.files import read_json, write_json, write_text
from bedplate.core.machine import cpu_features, cpu_model, threads_granted, versions
from bedplate.evaluation import Report
from bedplate.recipe.load import save, to_dict
from bedplate.stages.compress import Compressed
from bedplate.stages.evaluate import judge, metric_lines, metrics_json
from bedplate.stages.evaluate_texts import codec_of
from bedplate.stages.masked_language import lineage_of
from bedplate.stages.report import model_card, write_report
from bedplate.stages.resolve import portable
from bedplate.stages.sealed_parts import golden_of, outputs_of, reference_of, served_codec
from bedplate.stages.train import WEIGHTS, settled_recipe
from bedplate.stages.work import Work

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Packed:
    """What a run ends with; without a bundle where the gate said no."""

    report: Report | None
    bundle: Bundle | None
    failures: list[str]


def gate_failures(work: Work, report: Report) -> list[str]:
    """Return why the gate says no; empty where it says yes."""
    failures = []
    for bounds, word, sign in ((work.recipe.gate.minimum, "at least", 1), (work.recipe.gate.maximum, "at most", -1)):
        for name, bound in bounds.items():
            if name not in report.metrics:
                failures.append(f"{name} is not defined on these test rows, the recipe asks for {word} {bound:g}")
                continue
            value = report.metrics[name].value
            if sign * value < sign * bound:
                failures.append(f"{name} is {value:.4g}, the recipe asks for {word} {bound:g}")
    return failures


def _lineage(work: Work) -> dict[str, Any]:
    dataset = work.dataset
    return {
        "recipe": to_dict(work.recipe),
        "recipe_fingerprint": work.recipe_fingerprint,
        "seed": work.recipe.seed,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "split_fingerprint": dataset.split_fingerprint,
            "rows": {"train": dataset.training_rows, "validation": len(dataset.validation), "test": len(dataset.test)},
        },
        "plugins": work.resolved.plugins,
        "started_from": work.started_from,
        "pretrained": lineage_of(work),
        "versions": versions(),
        "weights_sha256": read_json(work.folder.stage("train") / "stage.json")["weights_sha256"],
        "machine": {"cpu": cpu_model(), "features": sorted(cpu_features()), "threads": threads_granted()},
    }


def _write_predictions(work: Work, report: Report, path: Path) -> None:
    """Write the served graph's answer to every test row, as `bedplate predict` would."""
    assert report.outputs is not None
    if report.texts is not None:
        told = zip(work.dataset.test.ids, report.texts, strict=True)
        lines = (json.dumps({"input": row, "answer": text}, ensure_ascii=False) + "\n" for row, text in told)
        write_text(path, "".join(lines))
        return
    if work.dataset.answers.sizes:
        means = report.outputs.mean(axis=1, dtype=float).tolist()
        told = zip(work.dataset.test.ids, means, strict=True)
        write_text(path, "".join(json.dumps({"input": row, "loss": mean}) + "\n" for row, mean in told))
        return
    answers = work.dataset.answers.encode({work.dataset.answers.output: report.outputs}, work.dataset.test.inputs)
    lines = (
        json.dumps({"input": row, **answer}, ensure_ascii=False)
        for row, answer in zip(work.dataset.test.ids, answers, strict=True)
    )
    write_text(path, "\n".join(lines) + "\n")


def pack_stage(work: Work, compressed: Compressed) -> Packed:
    """Judge the default variant on the test split, and seal the bundle if the gate lets it through."""
    fingerprint = work.fingerprint("pack")
    folder = work.folder.stage("pack")
    done = work.folder.manifest("pack", fingerprint)
    if done is not None:
        work.console.stage("pack", "done before")
        report = Report.from_json(read_json(folder / "report.json"))
        return Packed(report, Bundle.open(work.folder.bundle) if done["bundle_id"] else None, done["failures"])
    work.folder.begin("pack")
    started = time.monotonic()
    work.console.stage("pack", f"judging what will be served: {compressed.default}")
    predictors = {
        name: OnnxPredict(graph, variant=name, prepare=work.dataset.codec.prepare)
        for name, graph in compressed.graphs.items()
    }
    test = work.dataset.test
    served = predictors[compressed.default]
    pairs = test.texts is not None
    report = judge(work, served, test.inputs, test, generator_of(codec_of(work), served) if pairs else None)
    lines = metric_lines(report)  # BLEU is undefined where all texts are short
    work.console.detail(next((line for line in lines if line.startswith(work.task.primary)), lines[0]))
    failures = gate_failures(work, report)
    _write_predictions(work, report, folder / PREDICTIONS)
    write_json(folder / "report.json", report.to_json())
    save(portable(replace(work.resolved, recipe=settled_recipe(work))), work.folder.path / "recipe.yaml")
    bundle = None if failures else _seal(work, compressed, predictors, report)
    facts = {
        "bundle_id": bundle.id if bundle else None,
        "failures": failures,
        "metrics": metrics_json(report),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_report(work, compressed, report, facts)
    work.folder.finish("pack", fingerprint, facts)
    for failure in failures:
        work.console.detail(f"gate: {failure}")
    if bundle:
        work.console.detail(f"bundle {bundle.path}")
        work.console.detail(f"id     {bundle.id}")
    work.console.detail(f"report {work.folder.path / 'report.html'}")
    return Packed(report, bundle, failures)


def _seal(work: Work, compressed: Compressed, predictors: dict[str, OnnxPredict], report: Report) -> Bundle:
    """Gather everything and seal the bundle."""
    recipe = work.recipe
    table = {entry["name"]: entry for entry in compressed.table}
    scale = 1.0 if work.outputs.labelled else work.outputs.spread
    info = {
        name: {
            "reason": table[name]["reason"],
            "isa": table[name]["isa"] or {},
            "tolerance": {"atol": (1e-4 if name == "f32" else 5e-3) * scale, "rtol": 1e-3 if name == "f32" else 1e-2},
            "latency_ms": table[name]["latency_ms"],
            "drop": table[name]["drop"],
        }
        for name in compressed.graphs
    }
    return write_bundle(
        work.folder.bundle,
        name=recipe.serving.name or recipe.name,
        task=recipe.task,
        codec=served_codec(work),
        answers=work.dataset.answers,
        graphs=compressed.graphs,
        default=compressed.default,
        variants_info=info,
        weights=load_file(work.folder.stage("train") / WEIGHTS),
        model=work.model_json,
        report=report.to_json(),
        golden=golden_of(work, predictors),
        reference=reference_of(work, predictors[compressed.default]),
        lineage=_lineage(work),
        card=model_card(work, compressed, report),
        outputs=outputs_of(work),
    )
