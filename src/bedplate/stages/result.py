"""What `--json` says of a run or a stage."""

from __future__ import annotations

from typing import Any

from bedplate.stages.compress import Compressed
from bedplate.stages.evaluate import baselines_of, metrics_json
from bedplate.stages.pack import Packed
from bedplate.stages.work import Work


def result_json(work: Work, compressed: Compressed | None, packed: Packed, seconds: float) -> dict[str, Any]:
    """Return the figures of a run; what a single stage didn't do is empty or null.

    Paths are absolute; `metrics` are the test split's; `bundle` is null where the gate said no.
    """
    dataset, folder = work.dataset, work.folder
    report = folder.path / "report.html"
    bundle = packed.bundle
    found: dict[str, Any] = {
        "run": str(folder.path),
        "data": dataset.name,
        "bundle": str(bundle.path.resolve()) if bundle else None,
        "bundle_id": bundle.id if bundle else None,
        "report": str(report) if report.exists() else None,
        "seconds": round(seconds, 3),
        "rows": {"train": dataset.training_rows, "validation": len(dataset.validation), "test": len(dataset.test)},
        "metrics": metrics_json(packed.report) if packed.report else {},
        "baselines": baselines_of(work) if folder.manifest("evaluate") else {},
        "variants": [_variant(entry) for entry in compressed.table] if compressed else [],
        "gate": {"passed": not packed.failures, "failures": packed.failures},
    }
    train = folder.manifest("train")
    if train:
        found["training"] = {
            key: train[key] for key in ("epochs", "best_epoch", "parameters", "seconds", "weights_sha256")
        }
        # A run that an older release trained doesn't say who did it.
        found["training"] |= {key: train[key] for key in ("workers", "engine", "restarts") if key in train}
        found |= {key: train[key] for key in ("rows_per_second", "first_step_seconds", "choices")}
        found |= {key: train[key] for key in ("pretrain", "pseudo_labels") if key in train}
    return found


def _variant(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("name", "kept", "reason", "size_bytes", "latency_ms", "metrics")}
