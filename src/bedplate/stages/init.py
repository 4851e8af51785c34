"""Write a commented recipe for data that nobody has looked at yet, and say why it says what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bedplate.core.console import human_seconds
from bedplate.core.errors import InputError
from bedplate.core.files import write_text
from bedplate.core.machine import threads_granted
from bedplate.data.pair_pool import is_parallel, parallel_name
from bedplate.data.suggest import Suggestion, suggest
from bedplate.recipe.load import parse
from bedplate.stages.resolve import check_parts
from bedplate.tasks import get_task

_GATES = {
    "forecasting": "{maximum: {mase: 0.9}}",
    "language-modelling": "{maximum: {bits_per_byte: 2.5}}",
    "multi-label-classification": "{minimum: {f1: 0.7}}",
    "text-embedding": "{minimum: {recall_at_1: 0.7}}",
    "text-to-text": "{minimum: {bleu: 20}}",
    "tabular-regression": "{minimum: {r2: 0.5}}",
    "token-classification": "{minimum: {f1: 0.7}}",
}


@dataclass(frozen=True)
class Written:
    """The recipe that was written, the schema that was inferred, and the reasons."""

    path: Path
    task: str
    schema: Any
    reasons: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON."""
        return {"recipe": str(self.path), "task": self.task, "schema": self.schema, "reasons": self.reasons}


def _image_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for images by their size, their number, and this machine."""
    rows, side = facts["rows"], max(facts["height"], facts["width"])
    threads = threads_granted()
    if side <= 40:
        model: dict[str, Any] = {"name": "cnn", "dropout": 0.25}
        why = (
            f"cnn: images of {side} pixels are small, and the classic network learns them in minutes on "
            f"{threads} threads"
        )
        per_second = 900 * threads * (28 / max(side, 8)) ** 2
    else:
        model = {"name": "cnn", "widths": [32, 64, 128, 128], "batch_norm": True, "dropout": 0.3}
        why = (
            f"cnn with four convolutions: images of {side} pixels need a wider view; resnet is stronger but several "
            f"times slower on {threads} threads"
        )
        per_second = 250 * threads * (64 / side) ** 2
    epochs = int(min(60, max(8, 240 * per_second / rows)))
    batch = 128 if rows >= 5000 else 64 if rows >= 1000 else 32
    shift = 1 if side < 20 else 2 if side <= 40 else 4
    training = {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": {"name": "adamw", "lr": 3e-3 if side <= 40 else 2e-3},
        "augment": {"name": "shift-flip", "shift": shift},
        "early_stopping": {"patience": max(8, epochs // 3)},
    }
    reasons = [
        why,
        f"{epochs} epochs: about four minutes at most on this machine's {threads} threads",
        f"images are shifted by up to {shift} pixels while training; set flip: true if mirrored images mean the same",
    ]
    return model, training, reasons


def _table_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for a table by its number of rows, and of columns for each row."""
    rows, columns = facts["rows"], facts.get("numeric", 0) + facts.get("categories", 0)
    crowded = columns * 10 > rows
    if rows < 3000:
        model: dict[str, Any] = {
            "name": "mlp",
            "hidden": [32] if rows < 400 else [64, 32],
            "dropout": 0.5 if crowded else 0.2,
            "bins": rows >= 1000 and not crowded,
            "wide": True,
        }
        training: dict[str, Any] = {
            "epochs": 200 if rows < 400 else 100,
            "batch_size": 32 if rows < 1000 else 64,
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.5 if crowded else 0.1},
            "early_stopping": {"patience": 30},
        }
        why = f"a small mlp with a linear path beside it: {rows:,} rows are few; look at the baselines in the report"
        if crowded:
            why += f"; strong dropout and weight decay for {columns} columns on so few rows"
        return model, training, [why]
    # Small batches: on a few thousand rows, larger ones take too few steps to learn as much.
    batch = 64 if rows < 20_000 else 256 if rows < 200_000 else 1024
    epochs = int(min(80, max(6, 1_000_000 / rows)))
    model = {"name": "mlp", "hidden": [256, 128], "dropout": 0.4 if crowded else 0.15}
    training = {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "early_stopping": {"patience": max(5, epochs // 4)},
    }
    why = f"mlp with embeddings and piecewise linear numbers: {rows:,} rows are enough for it; {epochs} epochs at most"
    return model, training, [why]


def _text_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for texts by their number."""
    rows = facts["rows"]
    epochs = int(min(40, max(6, 200_000 / rows)))
    model = {"name": "bag", "size": 32, "pairs": 50_000 if rows >= 2000 else 10_000, "dropout": 0.3}
    training = {
        "epochs": epochs,
        "batch_size": 64 if rows >= 5000 else 16,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "early_stopping": {"patience": max(4, epochs // 4)},
    }
    why = (
        "bag of words and pairs of words: it learns in minutes and is hard to beat on so many rows; text-cnn is slower"
    )
    return model, training, [why]


def _vector_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for vectors of texts by their number."""
    model, training, _ = _text_choices(facts)
    training["batch_size"] = 128 if facts["rows"] >= 5000 else 64
    reasons = [
        "bag of words and pairs of words: it learns in minutes; a checkpoint of a transformer (training.start) knows "
        "more, and needs no labels to be served",
        f"supervised-contrastive, {training['batch_size']} texts at a time: texts of one label are drawn together, and "
        "a batch should hold several of each",
    ]
    return model, training, reasons


def _series_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for a series by its number of windows."""
    rows = facts["train_rows"]
    batch = 64 if rows >= 2000 else 16
    epochs = int(min(1000, max(10, 6000 * batch / rows)))  # a linear map needs so many steps, be the rows few
    training = {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": {"name": "adam", "lr": 1e-3 if rows >= 300 else 1e-2},
        "early_stopping": {"patience": max(5, epochs // 4)},
    }
    why = "dlinear, one linear map: it learns in seconds and is hard to beat; tcn bends, and wants more windows"
    return {"name": "dlinear", "window": 1}, training, [why]


def _language_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for a text by its tokens, and this machine."""
    tokens, threads = facts["tokens"], threads_granted()
    large = tokens >= 300_000
    size, layers = (128, 4) if large else (64, 3)
    per_second = (5_000 if large else 15_000) * threads
    epochs = int(min(40, max(3, 600 * per_second / tokens)))
    model = {
        "name": "transformer-decoder", "size": size, "heads": 4, "layers": layers, "dropout": 0.0 if epochs < 8 else 0.1
    }  # fmt: skip
    training = {
        "epochs": epochs,
        "batch_size": int(max(1, min(64, 2048 / facts["length"]))),
        "optimizer": {"name": "muon", "lr": 4e-3, "beta2": 0.99},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "early_stopping": {"patience": max(3, epochs // 4)},
    }
    why = (
        f"a small transformer: {tokens:,} tokens, {epochs} times over, are about "
        f"{human_seconds(epochs * tokens / per_second)} of learning where {threads} threads learn {per_second:,} a "
        "second; `bedplate plan` measures this machine"
    )
    return model, training, [why]


def _pair_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for texts with answers by how much is written in all, and this machine."""
    tokens, rows, threads = facts["tokens"], facts["train_rows"], threads_granted()
    large = tokens >= 100_000
    size, layers = (256, 3) if large else (128, 2)
    per_second = (900 if large else 4_000) * threads
    epochs = int(min(60, max(8, 1_800 * per_second / max(1, tokens))))
    model = {
        "name": "seq2seq", "size": size, "heads": 8 if large else 4, "encoder": layers, "decoder": layers,
        "hidden": 2 * size, "dropout": 0.1 if rows >= 10_000 else 0.3,
    }  # fmt: skip
    training = {
        "epochs": epochs,
        "batch_size": 64 if rows >= 5_000 else 16,
        "optimizer": {"name": "adamw", "lr": 7e-4, "beta2": 0.98, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "gradient_clip": 1.0,
    }
    why = f"seq2seq: a transformer that reads with {layers} blocks and writes with {layers}; {tokens:,} tokens to learn"
    return model, training, [why]


def _sentence_choices(facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Choose a model and training for tagged sentences by their number."""
    rows = facts["train_rows"]
    epochs = int(min(60, max(10, 150_000 / rows)))
    training = {
        "epochs": epochs,
        "batch_size": 16 if rows >= 2000 else 8,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "gradient_clip": 5.0,
        "early_stopping": {"patience": max(5, epochs // 4)},
    }
    why = "bilstm-tagger: words, their shapes and letters, read both ways, with a CRF over the tags"
    return {"name": "bilstm-tagger", "size": 100, "filters": 50, "hidden": 128}, training, [why]


def _block(value: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return text.rstrip()


def compose(name: str, found: Suggestion) -> tuple[str, list[str]]:
    """Return the commented recipe and the reasons."""
    choose = {
        "forecasting": _series_choices, "image-classification": _image_choices,
        "language-modelling": _language_choices, "multi-label-classification": _text_choices,
        "text-classification": _text_choices,
        "text-embedding": _vector_choices,
        "text-to-text": _pair_choices, "token-classification": _sentence_choices,
    }.get(found.task, _table_choices)  # fmt: skip
    model, training, why = choose(dict(found.facts))
    reasons = [*found.reasons, *why]
    objective = ""
    if found.task == "tabular-classification" and found.facts["rows"] < 3000:
        objective = _block({"objective": {"name": "cross-entropy", "label_smoothing": 0.05}}) + "\n"
        reasons.append("label smoothing 0.05: on few rows it keeps the network from being too sure of itself")
    if found.task == "text-embedding":
        objective = _block({"objective": {"name": "supervised-contrastive"}}) + "\n"
    if found.task == "multi-label-classification":
        objective = _block({"objective": {"name": "binary-cross-entropy", "positive_weights": "balanced"}}) + "\n"
        reasons.append("balanced weights: a label that few texts have is answered from one half on, and counts as much")
    if found.task == "text-to-text":
        objective = _block({"objective": {"name": "next-token", "label_smoothing": 0.1}}) + "\n"
    comments = "\n".join(f"#   - {reason}" for reason in reasons)
    text = f"""# A recipe for {name}, written by `bedplate init`. Every choice can be changed; the reasons:
{comments}
# Next: `bedplate plan {name}.yaml` checks it and predicts its cost; `bedplate run {name}.yaml` does it all.
name: {name}
seed: 0
task: {found.task}

# Where the rows come from. Paths are relative to this file.
{_block({"data": found.data})}

# What computes, and how long it learns. `bedplate schema` lists every key.
{_block({"model": model})}
{objective}{_block({"training": training})}

# A smaller variant is kept only if it is measurably smaller or faster and loses at most this much.
compression: {{max_drop: 1.0}}

# To stop a run that is not good enough from being packed:
# gate: {_GATES.get(found.task, "{minimum: {accuracy: 0.9}}")}
"""
    return text, reasons


def _name_of(data: Path) -> str:
    stem = data.resolve().name
    while Path(stem).suffix in {
        ".gz",
        ".csv",
        ".tsv",
        ".zip",
        ".tar",
        ".xz",
        ".parquet",
        ".jsonl",
        ".bz2",
        ".tgz",
        ".json",
        ".txt",
        ".data",
        ".ndjson",
        ".bio",
        ".conll",
        ".iob",
        ".md",
        ".text",
    }:
        stem = Path(stem).stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60]
    return name or "data"


def _relocate(section: dict[str, Any], folder: Path) -> None:
    """Make the paths of a data section start from the recipe's folder: relative below it, absolute elsewhere."""

    def moved(text: str) -> str:
        path = Path(text).expanduser().resolve()
        if not path.exists() and not is_parallel(text):
            return text  # an embedded or named set
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

    if "source" in section:
        section["source"] = moved(section["source"])
    if "files" in section:
        section["files"] = {split: moved(text) for split, text in section["files"].items()}


def init(
    data: str,
    target: str | None = None,
    output: str | None = None,
    *,
    task: str | None = None,
    time: str | None = None,
    force: bool = False,
) -> Written:
    """Look at `data` and write a recipe for it.

    Raises:
        DataError: the data can't be read or learnt from.
        InputError: the recipe's file exists, or the data has no clear target.
    """
    if task is not None:
        get_task(task)
    source = Path(data).expanduser()
    name = Path(output).stem if output else _name_of(source)
    if is_parallel(data) and not output:
        name = parallel_name(data, Path())
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "data"
    path = Path(output).expanduser() if output else Path(f"{name}.yaml")
    if path.exists() and not force:
        raise InputError(
            "the file is there already", where=str(path), hint="choose another with -o, or replace it with --force"
        )
    found = suggest(source if source.exists() else data, target, task, time)
    _relocate(found.data, path.resolve().parent)
    text, reasons = compose(name, found)
    parse(text, name=str(path), check=(check_parts,))
    write_text(path, text)
    return Written(path.resolve(), found.task, found.schema, reasons)
