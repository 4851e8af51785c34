"""Tell the run's story: gather what the stages found into `report.html`, `report.json` and the model card."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from bedplate.codecs.codec import STRINGS, TEXT, TOKENS
from bedplate.codecs.language import LanguageCodec
from bedplate.codecs.series import HISTORY
from bedplate.codecs.words import END
from bedplate.core.files import write_json, write_text
from bedplate.core.machine import cpu_model, threads_granted, versions
from bedplate.evaluation import Report
from bedplate.evaluation.card import model_card as render_card
from bedplate.evaluation.html import render
from bedplate.evaluation.story import missing_lead, verdict_of
from bedplate.recipe.load import to_yaml
from bedplate.stages import masked_language, pseudo_labels
from bedplate.stages.compress import Compressed
from bedplate.stages.evaluate import baselines_of, metrics_json
from bedplate.stages.folder import STAGES
from bedplate.stages.train import history, settled_recipe
from bedplate.stages.work import Work

PICTURE_PIXELS, MOST_LETTERS = 96, 400


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


def _texts(work: Work, report: Report) -> dict[str, str]:
    """Return the worst mistakes' texts, their first letters, by row."""
    texts, codec = work.dataset.test.inputs.get(TEXT) if work.task.payload in STRINGS else None, work.dataset.codec
    pairs = work.dataset.test.texts
    if pairs is not None:
        rows = {str(one["row"]): str(pairs[one["row"], 0]) for one in report.worst}
    elif isinstance(codec, LanguageCodec):
        tokens = work.dataset.test.inputs[TOKENS]
        rows = {str(window["row"]): codec.text(tokens[window["row"]].tolist()) for window in report.worst}
    elif texts is None:
        return {}
    else:
        rows = {str(mistake["row"]): str(texts[mistake["row"]]).replace(END, " ").strip() for mistake in report.worst}
    return {row: text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…" for row, text in rows.items()}


def _forecasts(work: Work, report: Report) -> list[dict[str, Any]]:
    """Return four windows of the target: the latest, and the worst, middle and best by their error."""
    answers = work.dataset.answers
    if answers.columns is None or report.outputs is None:
        return []
    outputs = report.outputs[..., answers.levels.index(0.5)] if answers.levels else report.outputs
    test, column = work.dataset.test, answers.columns.index(answers.target)
    order = np.argsort(report.row_errors, kind="stable")
    rows = {"latest": len(order) - 1, "worst": order[-1], "middle": order[len(order) // 2], "best": order[0]}
    found = []
    for name, row in rows.items():
        history = test.inputs[HISTORY][row, :, column]
        past = history[-min(len(history), 2 * answers.horizon) :].tolist()
        before = [[k - len(past) + 1, value] for k, value in enumerate(past)]
        lines = {"came": test.targets[row, :, column], "forecast": outputs[row, :, column]}
        for k in (0, len(answers.levels) - 1) if len(answers.levels) > 1 else ():
            lines[f"{100 * answers.levels[k]:g} %"] = report.outputs[row, :, column, k]
        drawn = {key: [[k, value] for k, value in enumerate(line.tolist(), 1)] for key, line in lines.items()}
        drawn["came"] = [*before, *drawn["came"]]
        found.append({"title": f"the {name} window, {test.ids[row]}", "column": answers.target, "lines": drawn})
    return found


def _latency(compressed: Compressed) -> list[dict[str, Any]]:
    """Return the latency table: one row at a time, one thread, taken in turns."""
    return [
        {
            "variant": entry["name"],
            "median ms": entry["latency_ms"]["median"],
            "p95 ms": entry["latency_ms"]["p95"],
            "against f32": entry["latency_ms"]["ratio"],
            "rounds": int(entry["latency_ms"]["rounds"]),
            "cpu": cpu_model(),
        }
        for entry in compressed.table
        if entry["latency_ms"]
    ]


def build_story(work: Work, compressed: Compressed, report: Report, packed: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the report and the card tell, as JSON."""
    dataset, recipe = work.dataset, work.recipe
    baselines = baselines_of(work)
    train = work.folder.manifest("train") or {}
    seconds = {stage: (work.folder.manifest(stage) or packed)["seconds"] for stage in STAGES}
    failures, labelled, pretrained = packed.get("failures", []), train.get("pseudo_labels"), train.get("pretrain")
    assert recipe.model is not None
    assert recipe.objective is not None
    story = {
        "title": recipe.name,
        "task": recipe.task,
        "created": packed.get("created", ""),
        "failures": failures,
        "primary": work.task.primary,
        "metrics": metrics_json(report),
        "baselines": baselines,
        "history": history(work),
        "best_epoch": train.get("best_epoch"),
        "report": report.to_json(),
        "profile": dict(dataset.profile),
        "schema": dict(dataset.schema),
        "pictures": _pictures(work, report),
        "texts": _texts(work, report),
        "forecasts": _forecasts(work, report),
        "variants": compressed.table,
        "default": compressed.default,
        "latency": _latency(compressed),
        "labels": list(dataset.answers.labels) if dataset.answers.labels else None,
        "target": dataset.answers.target,
        "model": {
            "name": recipe.model.name,
            "arguments": recipe.model.arguments,
            "parameters": train.get("parameters"),
            "objective": recipe.objective.name,
        },
        "rows": {"train": dataset.training_rows, "validation": len(dataset.validation), "test": len(dataset.test)},
        "provenance": {
            "bundle id": packed.get("bundle_id") or "not sealed",
            "recipe": work.recipe_fingerprint,
            "data": dataset.fingerprint,
            "split": dataset.split_fingerprint,
            "weights": train.get("weights_sha256", ""),
            "seed": recipe.seed,
            "cpu": cpu_model(),
            "threads": threads_granted(),
            "seconds": seconds,
            "versions": versions(),
        },
        "recipe_yaml": to_yaml(settled_recipe(work)),
        "notes": [
            *dataset.notes,
            *([pseudo_labels.sentence(labelled)] if labelled else []),
            *([masked_language.sentence(pretrained)] if pretrained else []),
        ],
        "pseudo_labels": labelled,
        "pretrain": pretrained,
        "choices": train.get("choices", {}),
        "parity": compressed.parity,
        "drift": {"window": recipe.serving.window, "false_alarm_rate": recipe.serving.false_alarm_rate},
    }
    missing = missing_lead(work.task.primary, report.metrics)
    line = " ".join([verdict_of(story).text, *([missing] if missing else [])])
    return {**story, "verdict": f"The gate says no: {'; '.join(failures)}. {line}" if failures else line}


def model_card(work: Work, compressed: Compressed, report: Report) -> str:
    """Return the model card that goes into the bundle; it holds no times, so equal runs give equal cards."""
    story = build_story(work, compressed, report, {"seconds": 0.0})
    story["provenance"] = {
        key: story["provenance"][key] for key in ("recipe", "data", "split", "weights", "seed", "versions")
    }
    return render_card(story)


def write_report(work: Work, compressed: Compressed, report: Report, packed: dict[str, Any]) -> None:
    """Write `report.html`, `report.json` and MODEL_CARD.md into the run's folder."""
    story = build_story(work, compressed, report, packed)
    told = {key: value for key, value in story.items() if key not in ("forecasts", "pictures", "texts")}
    write_json(work.folder.path / "report.json", told)
    write_text(work.folder.path / "report.html", render(story))
    card = work.folder.bundle / "MODEL_CARD.md"
    write_text(
        work.folder.path / "MODEL_CARD.md",
        card.read_text(encoding="utf-8") if card.exists() else model_card(work, compressed, report),
    )
