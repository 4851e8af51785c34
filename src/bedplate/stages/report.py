"""Tell the run's story: gather what the stages found into `report.html`, `report.json` and the model card."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from bedplate.core.files import write_json, write_text
from bedplate.core.machine import cpu_model, threads_granted, versions
from bedplate.evaluation import Report
from bedplate.evaluation.card import render_card
from bedplate.evaluation.html import render_html
from bedplate.recipe.load import to_yaml
from bedplate.stages.compress import Compressed
from bedplate.stages.evaluate import baselines_of, metrics_json
from bedplate.stages.folder import STAGES
from bedplate.stages.train import history
from bedplate.stages.work import Work

LOWER_IS_BETTER = {"log_loss", "brier", "ece", "rmse", "mae"}
PICTURE_PIXELS = 96


def verdict(report: Report, baselines: dict[str, dict[str, float]], primary: str) -> str:
    """Return the report's first line: how good the model is, and whether a baseline wins."""
    estimate = report.metrics[primary]
    sign = -1 if primary in LOWER_IS_BETTER else 1
    scores = {name: figures[primary] for name, figures in baselines.items() if primary in figures}
    text = f"{primary} {estimate.value:.4g} on {report.rows:,} test rows ({report.confidence:.0%} interval {estimate.low:.4g} to {estimate.high:.4g})"
    if not scores:
        return f"{text}."
    best = max(scores, key=lambda name: sign * scores[name])
    if sign * scores[best] > sign * estimate.value:
        inside = estimate.low <= scores[best] <= estimate.high
        tail = "; the difference lies within this model's interval" if inside else ""
        return f"A baseline wins: {best} reaches {primary} {scores[best]:.4g}, this model {estimate.value:.4g}{tail}. {text}."
    if scores[best] == estimate.value:
        return f"No better than a baseline: {best} reaches the same. {text}."
    return f"{text}, ahead of every baseline (the best, {best}: {scores[best]:.4g})."


def _pictures(work: Work, report: Report) -> dict[str, str]:
    """Return the worst mistakes' images, enlarged, as base64 PNG by row."""
    images = work.dataset.test.inputs.get("image")
    if images is None:
        return {}
    found = {}
    for mistake in report.worst:
        pixels = np.asarray(images[mistake["row"]])
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        scale = max(1, PICTURE_PIXELS // max(picture.size))
        buffer = io.BytesIO()
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
        found[str(mistake["row"])] = base64.b64encode(buffer.getvalue()).decode()
    return found


def build_story(work: Work, compressed: Compressed, report: Report, packed: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the report and the card tell, as JSON."""
    dataset, recipe = work.dataset, work.recipe
    baselines = baselines_of(work)
    train = work.folder.manifest("train") or {}
    default = next(entry for entry in compressed.table if entry["name"] == compressed.default)
    seconds = {stage: (work.folder.manifest(stage) or packed)["seconds"] for stage in STAGES}
    failures = packed.get("failures", [])
    line = verdict(report, baselines, work.task.primary)
    assert recipe.model is not None
    assert recipe.objective is not None
    return {
        "title": recipe.name, "task": recipe.task, "created": packed.get("created", ""),
        "verdict": f"The gate says no: {'; '.join(failures)}. {line}" if failures else line,
        "primary": work.task.primary, "metrics": metrics_json(report), "baselines": baselines, "history": history(work),
        "best_epoch": train.get("best_epoch"), "report": report.to_json(), "profile": dict(dataset.profile), "schema": dict(dataset.schema),
        "pictures": _pictures(work, report), "variants": compressed.table, "default_variant": compressed.default,
        "latency": {"variant": compressed.default, **(default["latency_ms"] or {}), "cpu": cpu_model(), "threads": 1},
        "labels": list(dataset.answers.labels) if dataset.answers.labels else None, "target": dataset.answers.target,
        "model": {"name": recipe.model.name, "arguments": recipe.model.arguments, "parameters": train.get("parameters"), "objective": recipe.objective.name},
        "rows": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        "provenance": {
            "bundle id": packed.get("bundle_id") or "not sealed", "recipe": work.recipe_fingerprint, "data": dataset.fingerprint,
            "split": dataset.split_fingerprint, "weights": train.get("weights_sha256", ""), "seed": recipe.seed, "cpu": cpu_model(),
            "threads": threads_granted(), "seconds": seconds, "versions": versions(),
        },
        "recipe_yaml": to_yaml(recipe), "notes": list(dataset.notes), "parity": compressed.parity,
        "drift": {"window": recipe.serving.window, "false_alarm_rate": recipe.serving.false_alarm_rate},
    }  # fmt: skip


def model_card(work: Work, compressed: Compressed, report: Report) -> str:
    """Return the model card that goes into the bundle; it holds no times, so equal runs give equal cards."""
    story = build_story(work, compressed, report, {"seconds": 0.0})
    story["provenance"] = {key: story["provenance"][key] for key in ("recipe", "data", "split", "weights", "seed", "versions")}
    return render_card(story)


def write_report(work: Work, compressed: Compressed, report: Report, packed: dict[str, Any]) -> None:
    """Write `report.html`, `report.json` and MODEL_CARD.md into the run's folder."""
    story = build_story(work, compressed, report, packed)
    write_json(work.folder.path / "report.json", {key: value for key, value in story.items() if key != "pictures"})
    write_text(work.folder.path / "report.html", render_html(story))
    card = work.folder.bundle / "MODEL_CARD.md"
    write_text(work.folder.path / "MODEL_CARD.md", card.read_text(encoding="utf-8") if card.exists() else model_card(work, compressed, report))
