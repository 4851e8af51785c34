"""The compression stage: export the network (parity-checked), try smaller variants, measure, keep or reject."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import onnx

from bedplate.bundle.bundle import generator_of
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TOKENS
from bedplate.compression.variants import FOUNDATION, Trial, Variant, choose, try_variants
from bedplate.core.arrays import take
from bedplate.core.console import human_bytes
from bedplate.core.files import read_json, write_bytes, write_json
from bedplate.evaluation import evaluate
from bedplate.export import check_parity, export_network, join
from bedplate.export.stepwise import check_steps
from bedplate.models import Network, predictor, shortened
from bedplate.packaging import spread
from bedplate.stages.evaluate_texts import codec_of, text_facts, write_answers
from bedplate.stages.work import Work

VARIANTS = "variants.json"


@dataclass(frozen=True)
class Compressed:
    """What the stage found: the table for people and machines, the kept graphs, and the one to serve."""

    table: list[dict[str, Any]]
    graphs: dict[str, bytes]
    default: str
    parity: dict[str, Any]


def compress_stage(work: Work, network: Network) -> Compressed:
    """Export and compress, or return what was found before."""
    fingerprint = work.fingerprint("compress")
    folder = work.folder.stage("compress")
    if work.folder.manifest("compress", fingerprint) is not None:
        work.console.stage("compress", "done before")
        return load_compressed(work)
    work.folder.begin("compress")
    started = time.monotonic()
    work.console.stage("compress", "exporting to ONNX")
    train, validation = work.features(work.dataset.train), work.features(work.dataset.validation)
    model = export_network(network, take(train, slice(0, 3)))
    exported = OnnxPredict(model.SerializeToString(), variant=FOUNDATION)
    parity = check_parity(network, predictor(network), exported, validation)
    if exported.past:
        check_steps(network, exported, validation[TOKENS][:3])
    work.console.detail(
        f"answers as the network does: largest difference {parity.max_difference:.1e} on {parity.rows} rows"
    )
    variants = _variants(work, model)
    table = [_entry(work, variant) for variant in variants]
    _show(work, table)
    for variant in variants:
        if variant.kept:
            write_bytes(folder / f"{variant.name}.onnx", variant.graph)
    default = choose(variants)
    work.console.detail(f"served by default: {default}")
    write_json(folder / VARIANTS, {"variants": table, "default": default, "parity": parity.to_json()})
    work.folder.finish("compress", fingerprint, {"seconds": round(time.monotonic() - started, 3)})
    return load_compressed(work)


def _variants(work: Work, model: onnx.ModelProto) -> list[Variant]:
    spec, dataset = work.recipe.compression, work.dataset
    pre_graph = dataset.codec.graph()
    rows = spread(dataset.train.targets, spec.calibration_rows, work.outputs.labels, work.recipe.seed)
    trial = Trial(
        shortened(work.inputs, take(work.features(dataset.train), rows)),
        dataset.validation.inputs,
        dataset.validation.targets,
        dataset.answers.output,
        spec.max_drop,
        work.recipe.seed,
        dataset.codec.prepare,
        dataset.answers,
    )
    return try_variants(
        model, lambda graph: join(pre_graph, graph).SerializeToString(), spec.methods, trial, work.console.detail
    )


def _entry(work: Work, variant: Variant) -> dict[str, Any]:
    """Return a variant's row of the table, with its metrics on the test split."""
    metrics: dict[str, float] = {}
    if variant.graph:
        test = work.dataset.test
        predict = OnnxPredict(variant.graph, variant=variant.name, prepare=work.dataset.codec.prepare)
        report = evaluate(
            predict,
            test.inputs,
            test.targets,
            work.dataset.answers,
            resamples=0,
        )
        metrics = {name: estimate.value for name, estimate in report.metrics.items()}
        if test.texts is not None:
            write = generator_of(codec_of(work), predict)
            metrics = text_facts(work, test, write_answers(work, test, write)).values() | metrics
    return {
        "name": variant.name,
        "kept": variant.kept,
        "reason": variant.reason,
        "size_bytes": variant.size,
        "latency_ms": variant.latency.to_json() if variant.graph else None,
        "metrics": metrics,
        "drop": {"value": variant.drop, "high": variant.drop_high},
        "isa": variant.isa,
    }


def _show(work: Work, table: list[dict[str, Any]]) -> None:
    primary = work.task.primary
    rows = [
        [
            entry["name"],
            "kept" if entry["kept"] else "rejected",
            human_bytes(entry["size_bytes"]) if entry["size_bytes"] else "–",
            f"{entry['latency_ms']['median']:.3f} ms" if entry["latency_ms"] else "–",
            f"{entry['metrics'][primary]:.4f}" if primary in entry["metrics"] else "–",
            entry["reason"],
        ]
        for entry in table
    ]
    work.console.table(["variant", "", "size", "1 row", primary, "why"], rows)


def load_compressed(work: Work) -> Compressed:
    """Return what the stage wrote."""
    folder = work.folder.stage("compress")
    found = read_json(folder / VARIANTS)
    graphs = {
        entry["name"]: (folder / f"{entry['name']}.onnx").read_bytes() for entry in found["variants"] if entry["kept"]
    }
    return Compressed(found["variants"], graphs, found["default"], found["parity"])
